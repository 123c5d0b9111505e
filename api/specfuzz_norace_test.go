//go:build !race

package api_test

// specRequests is about how many requests the document is turned into.
const specRequests = 8000
