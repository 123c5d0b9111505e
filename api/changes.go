package api

import (
	"context"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/slipwayhq/slipway/models"
)

const (
	// maxPendingChanges bounds what waits for a slow client; one that is further
	// behind is told to read everything anew instead.
	maxPendingChanges = 256
	// A lost connection to the database is sought again after relistenFirst, then
	// more and more slowly.
	relistenFirst = 250 * time.Millisecond
	relistenLast  = 10 * time.Second
)

// changeHub has one connection to the database listen for changes while anybody
// watches, and gives each watcher those of its organization. Safe for concurrent use.
type changeHub struct {
	listen func(ctx context.Context, connected func(), notify func(models.Change)) error
	log    logrus.FieldLogger

	mu       sync.Mutex
	watchers map[*changeWatcher]struct{}
	// run is the listening under way, nil while nobody watches.
	run *listening
}

// listening is one run of the listener; an earlier one may still be ending.
type listening struct {
	stop      context.CancelFunc
	connected bool
}

// changeWatcher is what one client is yet to be told.
type changeWatcher struct {
	organizationID, projectID string
	// woken has something in it when there is news.
	woken   chan struct{}
	pending []models.Change
	// resync says that changes may have been missed.
	resync bool
	// rights says that somebody of the organization may do more or less than before.
	rights bool
}

func newChangeHub(store *models.Store, log logrus.FieldLogger) *changeHub {
	return &changeHub{listen: store.ListenChanges, log: log, watchers: map[*changeWatcher]struct{}{}}
}

// watch gives the changes of an organization, or of one project of it, from now
// on. leave ends it; the listener ends with the last watcher.
func (h *changeHub) watch(organizationID, projectID string) (w *changeWatcher, leave func()) {
	w = &changeWatcher{organizationID: organizationID, projectID: projectID, woken: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers[w] = struct{}{}
	if h.run == nil {
		ctx, stop := context.WithCancel(context.Background())
		h.run = &listening{stop: stop}
		go h.keepListening(ctx, h.run)
	} else if h.run.connected {
		w.missed()
	}
	return w, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, w)
		if len(h.watchers) == 0 && h.run != nil {
			h.run.stop()
			h.run = nil
		}
	}
}

// news takes what has come since the last call.
func (h *changeHub) news(w *changeWatcher) (changes []models.Change, resync, rights bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	changes, resync, rights = w.pending, w.resync, w.rights
	w.pending, w.resync, w.rights = nil, false, false
	return changes, resync, rights
}

func (h *changeHub) keepListening(ctx context.Context, run *listening) {
	wait := relistenFirst
	for ctx.Err() == nil {
		began := time.Now()
		err := h.listen(ctx, func() { h.connected(run) }, h.tell)
		h.mu.Lock()
		run.connected = false
		h.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		h.log.WithError(err).Warn("no changes are told to those who watch; connecting to the database again")
		if time.Since(began) > relistenLast {
			wait = relistenFirst
		}
		select {
		case <-time.After(wait):
			wait = min(wait*2, relistenLast)
		case <-ctx.Done():
		}
	}
}

// connected tells everybody to look: what changed meanwhile was not heard.
func (h *changeHub) connected(run *listening) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run != run {
		return
	}
	run.connected = true
	for w := range h.watchers {
		w.missed()
	}
}

func (h *changeHub) tell(change models.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		if w.organizationID != change.OrganizationID {
			continue
		}
		if changesRights(change) {
			// Also of those who are not told, or too much to be told all.
			w.rights = true
			w.wake()
		}
		if w.projectID != "" && w.projectID != change.ProjectID {
			continue
		}
		if len(w.pending) == maxPendingChanges {
			w.missed()
			continue
		}
		if !w.resync {
			w.pending = append(w.pending, change)
		}
		w.wake()
	}
}

// changesRights says whether somebody may do more or less after a change.
func changesRights(c models.Change) bool { return c.Type == "member" || c.Type == "token" }

// missed has the client read everything anew, in which all that waits is contained.
func (w *changeWatcher) missed() {
	w.pending, w.resync = nil, true
	w.wake()
}

func (w *changeWatcher) wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}
