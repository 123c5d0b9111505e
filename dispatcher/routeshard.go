package dispatcher

import (
	"sync"
	"sync/atomic"

	"github.com/slipwayhq/slipway/models"
)

// routeShard is a hash table with open addressing of which reading takes no
// lock: a slot goes from nothing to an entry, from one entry to another, or to
// gone, and a table that is too full is replaced by a larger one. The methods but
// find are called with mu held.
type routeShard struct {
	mu    sync.Mutex
	slots atomic.Pointer[[]atomic.Pointer[routeEntry]]
	// filled counts slots that are not nothing, live those with an entry.
	filled, live int
	// limit bounds live: the one not used for longest goes, as far as the hand
	// that goes round can tell.
	limit, hand int

	// open are the entries whose route is kept open, of at most maxOpen.
	open     []*routeEntry
	openHand int

	// epoch counts the announcements for this shard. A load that began before
	// the latest one may have read what was there before it.
	epoch atomic.Uint64
}

const (
	firstSlots = 16
	// maxOpen times routeShards routes are open at once, of half a kilobyte each.
	maxOpen = 64
)

// gone is in the slot of an entry that was removed: what was put further on
// because the slot was taken must still be found.
var gone = &routeEntry{}

func newRouteShard(limit int) *routeShard {
	s := &routeShard{limit: limit}
	slots := make([]atomic.Pointer[routeEntry], firstSlots)
	s.slots.Store(&slots)
	return s
}

func (s *routeShard) find(hash uint64, key string) *routeEntry {
	slots := *s.slots.Load()
	mask := uint64(len(slots) - 1)
	for i := hash; ; i++ {
		switch e := slots[i&mask].Load(); {
		case e == nil:
			return nil
		case e != gone && e.key() == key:
			return e
		}
	}
}

// put keeps an entry in the place of the one with its key, or of one that nobody
// asks for when there is no room.
func (s *routeShard) put(hash uint64, e *routeEntry, hashOf func(key string) uint64) {
	s.grow(hashOf)
	slots := *s.slots.Load()
	mask := uint64(len(slots) - 1)
	free := -1
	for i := hash; ; i++ {
		at := int(i & mask)
		switch old := slots[at].Load(); {
		case old == nil:
			if free < 0 {
				free = at
				s.filled++
			}
			slots[free].Store(e)
			if s.live++; s.live > s.limit {
				s.evict(e)
			}
			return
		case old == gone:
			if free < 0 {
				free = at
			}
		case old.key() == e.key():
			slots[at].Store(e)
			return
		}
	}
}

// grow makes a larger table, or one without what is gone, when three quarters
// are filled.
func (s *routeShard) grow(hashOf func(key string) uint64) {
	slots := *s.slots.Load()
	if (s.filled+1)*4 <= len(slots)*3 {
		return
	}
	size := firstSlots
	for size < 2*(s.live+1) {
		size *= 2
	}
	next := make([]atomic.Pointer[routeEntry], size)
	mask := uint64(size - 1)
	for i := range slots {
		e := slots[i].Load()
		if e == nil || e == gone {
			continue
		}
		at := hashOf(e.key()) & mask
		for next[at].Load() != nil {
			at = (at + 1) & mask
		}
		next[at].Store(e)
	}
	s.filled = s.live
	s.slots.Store(&next)
}

func (s *routeShard) remove(hash uint64, key string) {
	slots := *s.slots.Load()
	mask := uint64(len(slots) - 1)
	for i := hash; ; i++ {
		switch e := slots[i&mask].Load(); {
		case e == nil:
			return
		case e != gone && e.key() == key:
			slots[i&mask].Store(gone)
			s.live--
			return
		}
	}
}

// evict removes the first entry the hand meets that was not used since its last
// round, but for the newest.
func (s *routeShard) evict(newest *routeEntry) {
	slots := *s.slots.Load()
	for step := 0; ; step++ {
		s.hand = (s.hand + 1) & (len(slots) - 1)
		e := slots[s.hand].Load()
		if e == nil || e == gone || e == newest {
			continue
		}
		// Readers may set bits as fast as they are cleared: two rounds will do.
		if e.used.And(^usedRoute)&usedRoute != 0 && step < 2*len(slots) {
			continue
		}
		slots[s.hand].Store(gone)
		s.live--
		return
	}
}

// each calls do with every entry.
func (s *routeShard) each(do func(*routeEntry)) {
	slots := *s.slots.Load()
	for i := range slots {
		if e := slots[i].Load(); e != nil && e != gone {
			do(e)
		}
	}
}

// route gives an entry's route. It takes mu itself.
func (s *routeShard) route(e *routeEntry) *models.Route {
	if e.used.Load() != usedRoute|usedOpen {
		e.used.Store(usedRoute | usedOpen)
	}
	if r := e.opened.Load(); r != nil {
		return r
	}
	r := e.open()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepOpen(e, r)
	return r
}

// keepOpen keeps an entry's route open until others are used more.
func (s *routeShard) keepOpen(e *routeEntry, r *models.Route) {
	if e.opened.Swap(r) != nil {
		return
	}
	if len(s.open) < maxOpen {
		s.open = append(s.open, e)
		return
	}
	for step := 0; ; step++ {
		s.openHand = (s.openHand + 1) % maxOpen
		old := s.open[s.openHand]
		if old.used.And(^usedOpen)&usedOpen != 0 && step < 2*maxOpen {
			continue
		}
		old.opened.Store(nil)
		s.open[s.openHand] = e
		return
	}
}
