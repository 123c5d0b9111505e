// Package collect deletes the objects in blob storage that nothing refers to any
// more: those of deleted projects, of sources that were replaced before they became
// a release, of uploads that nobody deployed.
//
// It looks at one organization at a time and at each of its objects twice. The
// first look condemns what no row names, directly or through a list that is itself
// an object. The second, a grace later and with the rows read anew, deletes what is
// still condemned and still unreferred. Everybody who is told that an object is
// there takes it off the list of the condemned first (blob.Hold), so it stays for a
// whole grace from then on. docs/decisions/0220 says why that loses nothing.
package collect

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

const (
	// lease is how long a worker that died keeps an organization from the others.
	lease = 10 * time.Minute
	// failedLease is how long an organization is left alone after a failure.
	failedLease = time.Hour
	// failuresInRow is when the fault is taken to be nobody's own.
	failuresInRow = 3
	// perSecond bounds the objects that are read or deleted in a second.
	perSecond = 500
	// strangersNamed bounds the names in one log line.
	strangersNamed = 5
)

// Options is what collecting needs.
type Options struct {
	Store *models.Store
	// Blobs is the store itself: through blob.Hold, looking would hold.
	Blobs blob.Store
	// Every is how often each organization is looked at. Grace is how long an object
	// is unreferred before it is deleted, and twice as long as anybody may take from
	// finding an object to writing the row that refers to it.
	Every, Grace time.Duration
	// DryRun says what would be condemned and changes nothing.
	DryRun bool
	// Metrics, when there is one, takes what is measured.
	Metrics prometheus.Registerer
	Log     logrus.FieldLogger
}

// Collector collects. Several may run at once, in one process or many.
type Collector struct {
	Options
	measures *measures
	pace     *rate.Limiter
}

// New makes a collector.
func New(opts Options) *Collector {
	return &Collector{Options: opts, measures: newMeasures(opts.Metrics), pace: rate.NewLimiter(perSecond, perSecond)}
}

// Result is what one look at an organization came to.
type Result struct {
	// Objects are all there are, Bytes their sizes.
	Objects, Bytes int64
	// Unreferred are those that nothing refers to and that are older than the grace.
	Unreferred, UnreferredBytes int64
	// Condemned are those of them that were not condemned before, Spared the
	// condemned that turned out to be referred to or gone.
	Condemned, Spared int64
	Deleted           int64
	DeletedBytes      int64
	// Strangers are things in the folder that are none of ours; they stay.
	Strangers int64
	// Waiting says that nothing was looked at: deployments under way since before
	// an upgrade may need what no row names. They end, or are parked no longer than
	// SLIPWAY_PARK_TIMEOUT.
	Waiting bool
}

// Due looks at every organization whose time has come and that no other worker
// has. What fails is logged and tried again an hour later.
func (c *Collector) Due(ctx context.Context) error {
	for failures := 0; failures < failuresInRow; {
		organization, ok, err := c.Store.LeaseCollection(ctx, c.Every, lease)
		if err != nil || !ok {
			return err
		}
		err = c.due(ctx, organization)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			failures = 0
			continue
		}
		failures++
		c.Log.WithError(err).WithField("organization", organization).Warn("unreferred blobs not collected; trying again in an hour")
		if err := c.Store.ExtendCollection(ctx, organization, failedLease); err != nil {
			return err
		}
	}
	return nil
}

func (c *Collector) due(ctx context.Context, organization string) error {
	_, err := c.Collect(ctx, organization)
	c.measures.looked(err)
	if err != nil {
		return err
	}
	return c.Store.EndCollection(ctx, organization)
}

// Collect looks at one organization, or one that was. CodeStorage, and nothing is
// deleted, when something that rows name is missing or damaged: what that refers to
// cannot be known.
func (c *Collector) Collect(ctx context.Context, organization string) (Result, error) {
	began := time.Now()
	l := &look{Collector: c, organization: organization, extended: began}
	err := l.run(ctx)
	l.report(time.Since(began), err)
	return l.result, err
}

// look is one look at one organization.
type look struct {
	*Collector
	organization string
	// at is when the rows were read, by the database's clock.
	at       time.Time
	marked   digests
	extended time.Time
	result   Result
}

func (l *look) run(ctx context.Context) error {
	if !l.DryRun {
		if err := l.Store.ForgetOutputs(ctx, l.organization, l.Grace); err != nil {
			return err
		}
	}
	rows, err := l.Store.BlobRoots(ctx, l.organization, l.Grace, l.DryRun)
	if err != nil {
		return err
	}
	if rows.Unknown {
		l.result.Waiting = true
		return nil
	}
	l.at = rows.At
	if err := l.mark(ctx, rows.Roots); err != nil {
		return err
	}
	if err := l.sweep(ctx); err != nil {
		return err
	}
	if err := l.strangers(ctx); err != nil {
		return err
	}
	if rows.Gone && l.result.Objects == 0 && !l.DryRun {
		return l.Store.ForgetCollection(ctx, l.organization)
	}
	return nil
}

// strangers names what is in the organization's folder and none of ours.
func (l *look) strangers(ctx context.Context) error {
	var names []string
	err := l.Blobs.Strangers(ctx, l.organization, func(name string) error {
		if l.result.Strangers++; len(names) < strangersNamed {
			names = append(names, name)
		}
		return nil
	})
	if err == nil && len(names) > 0 {
		l.log().WithField("count", l.result.Strangers).WithField("names", fmt.Sprintf("%q", names)).
			Warn("blob storage has things that are not ours; they are left alone")
	}
	return err
}

// extend keeps the organization from other workers while there is progress.
func (l *look) extend(ctx context.Context) error {
	if time.Since(l.extended) < lease/4 {
		return nil
	}
	l.extended = time.Now()
	return l.Store.ExtendCollection(ctx, l.organization, lease)
}

func (l *look) log() logrus.FieldLogger { return l.Log.WithField("organization", l.organization) }

// report writes the line about a look.
func (l *look) report(took time.Duration, err error) {
	r := l.result
	log := l.log().WithFields(logrus.Fields{
		"objects": r.Objects, "bytes": r.Bytes, "unreferred": r.Unreferred, "unreferredBytes": r.UnreferredBytes,
		"condemned": r.Condemned, "spared": r.Spared, "deleted": r.Deleted, "deletedBytes": r.DeletedBytes,
		"took": took.Round(time.Millisecond).String(),
	})
	switch {
	case r.Deleted > 0 || err == nil && (r.Condemned > 0 || l.DryRun && r.Unreferred > 0):
		log.WithField("dryRun", l.DryRun).Info("looked for unreferred blobs")
	case r.Waiting:
		log.Info("unreferred blobs are not collected before the deployments from before the upgrade have ended")
	default:
		log.Debug("looked for unreferred blobs")
	}
}
