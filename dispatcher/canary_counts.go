package dispatcher

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/slipwayhq/slipway/models"
)

// Counts takes what visitors were answered during rollouts. models.Store is one.
type Counts interface {
	// AddReleaseCounts adds to what was counted before. Releases that are gone
	// are left out.
	AddReleaseCounts(ctx context.Context, counts []models.ReleaseCount) error
}

const (
	flushEvery   = time.Second
	flushTimeout = 5 * time.Second
)

// releaseCounts counts requests and errors of releases in rollouts and hands
// them on every second. What cannot be handed on is lost: a share of errors is
// as good without it.
type releaseCounts struct {
	to  Counts
	log logrus.FieldLogger

	mu     sync.Mutex
	counts map[string]*models.ReleaseCount
}

func newReleaseCounts(to Counts, log logrus.FieldLogger) *releaseCounts {
	return &releaseCounts{to: to, log: log, counts: map[string]*models.ReleaseCount{}}
}

// request counts a request when it begins, because one may last for hours.
func (c *releaseCounts) request(releaseID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of(releaseID).Requests++
}

// answered counts an error if the answer is one. A client that left without an
// answer is nobody's error.
func (c *releaseCounts) answered(x *exchange) {
	r := x.rollout
	if r == nil || (x.status < http.StatusInternalServerError && !r.broke) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of(r.releaseID).Errors++
}

func (c *releaseCounts) of(releaseID string) *models.ReleaseCount {
	count := c.counts[releaseID]
	if count == nil {
		count = &models.ReleaseCount{ReleaseID: releaseID}
		c.counts[releaseID] = count
	}
	return count
}

// run hands counts on until ctx ends, and those that are left then.
func (c *releaseCounts) run(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.flush(ctx)
		case <-ctx.Done():
			c.flush(context.WithoutCancel(ctx))
			return
		}
	}
}

// take gives what was counted, which nobody else changes any more.
func (c *releaseCounts) take() map[string]*models.ReleaseCount {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.counts) == 0 {
		return nil
	}
	taken := c.counts
	c.counts = make(map[string]*models.ReleaseCount, len(taken))
	return taken
}

func (c *releaseCounts) flush(ctx context.Context) {
	taken := c.take()
	if len(taken) == 0 || c.to == nil {
		return
	}
	counts := make([]models.ReleaseCount, 0, len(taken))
	for count := range maps.Values(taken) {
		counts = append(counts, *count)
	}
	// In one order everywhere, or two dispatchers could wait for each other's rows.
	slices.SortFunc(counts, func(a, b models.ReleaseCount) int { return cmp.Compare(a.ReleaseID, b.ReleaseID) })
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	if err := c.to.AddReleaseCounts(ctx, counts); err != nil && ctx.Err() == nil {
		c.log.WithError(err).Warn("what visitors of a rollout were answered in the last second is not counted")
	}
}
