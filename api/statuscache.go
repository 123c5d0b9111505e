package api

import (
	"sync"
	"time"

	"github.com/slipwayhq/slipway/models"
)

const (
	// statusAge is for how long a status is answered again without asking: short
	// beside a step, long beside what a crowd of watchers does.
	statusAge = 500 * time.Millisecond
	// maxStatuses bounds what is kept, which is some kilobytes each.
	maxStatuses = 4096
)

// statuses are the answers given last. Safe for concurrent use; the zero value
// is empty.
type statuses struct {
	mu    sync.Mutex
	known map[string]knownStatus
}

type knownStatus struct {
	status models.Status
	at     time.Time
}

// get gives the status of a deployment when it is fresh.
func (s *statuses) get(id string) (models.Status, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.known[id]
	return known.status, ok && time.Since(known.at) < statusAge
}

// put keeps a status, unless a newer one is fresh: who was first to ask may be the
// last to have the answer. A parked deployment's is never kept: it waits for an
// operator, who looks as soon as it was retried, wherever and however.
func (s *statuses) put(id string, status models.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if status.Outcome == models.OutcomeDeadLetter {
		delete(s.known, id)
		return
	}
	now := time.Now()
	if known, ok := s.known[id]; ok && known.status.Version > status.Version && now.Sub(known.at) < statusAge {
		return
	}
	if s.known == nil || len(s.known) >= maxStatuses {
		s.forget(now)
	}
	s.known[id] = knownStatus{status, now}
}

// forget drops what is not fresh, or everything when all is.
func (s *statuses) forget(now time.Time) {
	fresh := map[string]knownStatus{}
	for id, known := range s.known {
		if now.Sub(known.at) < statusAge {
			fresh[id] = known
		}
	}
	if len(fresh) >= maxStatuses {
		clear(fresh)
	}
	s.known = fresh
}
