//go:build race

package api_test

// specRequests is smaller where the race detector makes each many times as slow.
const specRequests = 2000
