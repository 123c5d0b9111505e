//go:build !race

package dispatcher_test

const requestsPerFlip = 10_000
