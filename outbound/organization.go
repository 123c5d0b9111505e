package outbound

import (
	"net/http"
	"sync"
	"sync/atomic"
)

// organization is what an organization's workers share: connections, limits and
// counters.
type organization struct {
	id        string
	transport *http.Transport

	requests, refused atomic.Int64
	sent, received    atomic.Int64
	sockets           atomic.Int64

	mu       sync.Mutex
	active   int
	releases map[string]int
}

// enter takes a place for a request or tunnel; "" is yes, otherwise it says
// whose limit is reached.
func (o *organization) enter(release string, options Options) (limit string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.releases[release] >= options.MaxPerRelease:
		return "this worker"
	case o.active >= options.MaxPerOrganization:
		return "this organization's workers"
	}
	o.active++
	o.releases[release]++
	return ""
}

func (o *organization) leave(release string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.active--
	if o.releases[release]--; o.releases[release] == 0 {
		delete(o.releases, release)
	}
}

func (o *organization) usage() Usage {
	o.mu.Lock()
	defer o.mu.Unlock()
	return Usage{
		Requests: o.requests.Load(), Refused: o.refused.Load(),
		SentBytes: o.sent.Load(), ReceivedBytes: o.received.Load(),
		Active: int64(o.active), Sockets: o.sockets.Load(),
	}
}
