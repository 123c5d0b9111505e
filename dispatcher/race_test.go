//go:build race

package dispatcher_test

// requestsPerFlip is smaller where the race detector makes each ten times as slow.
const requestsPerFlip = 200
