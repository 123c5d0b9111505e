package dispatcher

import (
	"strings"
	"sync"
	"time"

	"github.com/slipwayhq/slipway/models"
)

const (
	// missRate is how many reads a second may find nothing, and missBurst how many
	// at once, for each source of misses. PostgreSQL does that many in milliseconds.
	missRate  = 50
	missBurst = 200
	// maxMissSources bounds the memory for them.
	maxMissSources = 8192
)

// misses bounds the reads that find nothing, which strangers could cause without
// end where routeNames cannot tell: by previews of a worker that there is, and
// by any name until all names are known. Reads that find a route are free. A
// stranger who tries previews of one worker exhausts that worker's alone.
type misses struct {
	mu      sync.Mutex
	sources map[string]missSource
}

// missSource is a token bucket: left is what it held at a time.
type missSource struct {
	left  float64
	since time.Time
}

// allows says whether a key that is not in memory may be read.
func (m *misses) allows(key string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, seen := m.sources[missSourceOf(key)]
	return !seen || s.at(now) >= 1
}

// count counts a read that found nothing.
func (m *misses) count(key string, now time.Time) {
	source := missSourceOf(key)
	m.mu.Lock()
	defer m.mu.Unlock()
	s, seen := m.sources[source]
	if !seen {
		if len(m.sources) >= maxMissSources || m.sources == nil {
			// Whoever is forgotten may start over, which costs a burst.
			m.sources = make(map[string]missSource)
		}
		s.left, source = missBurst, strings.Clone(source)
	}
	m.sources[source] = missSource{left: s.at(now) - 1, since: now}
}

func (s missSource) at(now time.Time) float64 {
	return min(missBurst, s.left+missRate*now.Sub(s.since).Seconds())
}

// missSourceOf is the worker whose preview a name may be, or "" for all others.
func missSourceOf(key string) string {
	name, isWorker := strings.CutPrefix(key, models.WorkerRouteKey(""))
	if _, worker, ok := strings.Cut(name, "--"); isWorker && ok {
		return worker
	}
	return ""
}
