package ratelimit

import (
	"net/http"
	"strconv"
)

// The fields that tell a client of its limits, as in revisions 0 to 6 of
// draft-ietf-httpapi-ratelimit-headers, which clients know most.
const (
	LimitHeader     = "RateLimit-Limit"
	RemainingHeader = "RateLimit-Remaining"
	ResetHeader     = "RateLimit-Reset"
	PolicyHeader    = "RateLimit-Policy"
)

// Show tells a client of the limit, in the place of one that was told of before.
func (d Decision) Show(h http.Header) {
	limit := strconv.Itoa(d.Limit.Count)
	h.Set(LimitHeader, limit)
	h.Set(RemainingHeader, strconv.Itoa(d.Remaining))
	h.Set(ResetHeader, strconv.Itoa(Seconds(d.ResetAfter)))
	h.Set(PolicyHeader, limit+";w="+strconv.Itoa(Seconds(d.Limit.Period)))
}
