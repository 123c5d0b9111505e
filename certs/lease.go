package certs

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// leases are certmagic's locks. A lock is a lease that its holder prolongs for
// as long as it lives, so that one that was killed blocks nobody for longer
// than the lease lasts.
type leases struct {
	rows Rows
	// lasts is how long a lease is good for without being prolonged.
	lasts  time.Duration
	outage *outage
	log    logrus.FieldLogger

	mu   sync.Mutex
	held map[string][]*lease
}

// lease is one lock that is held.
type lease struct {
	owner string
	// end stops the prolonging, ended says that it stopped.
	end   context.CancelFunc
	ended chan struct{}
}

const (
	defaultLease = 20 * time.Second
	// The pause between looks at a lock that another holds.
	firstLook, maxLook = 50 * time.Millisecond, time.Second
)

// Lock implements certmagic.Locker. It waits until the lock is free, ctx ends
// or the database fails.
func (l *leases) Lock(ctx context.Context, name string) error {
	pause := firstLook
	for {
		taken, err := l.TryLock(ctx, name)
		if err != nil || taken {
			return err
		}
		// Spread those who wait.
		timer := time.NewTimer(pause/2 + mathrand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		pause = min(pause*2, maxLook)
	}
}

// TryLock implements certmagic.TryLocker.
func (l *leases) TryLock(ctx context.Context, name string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	// Every lock has an owner of its own, so that two in one process exclude
	// each other as those of two processes do.
	owner := rand.Text()
	bounded, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	taken, err := l.rows.TakeCertificateLease(bounded, name, owner, l.lasts)
	if err != nil && ctx.Err() == nil {
		l.outage.note()
	}
	if err != nil || !taken {
		return false, err
	}
	// The holder's context may end before it unlocks.
	prolonging, end := context.WithCancel(context.WithoutCancel(ctx))
	held := &lease{owner: owner, end: end, ended: make(chan struct{})}
	go l.prolong(prolonging, name, held)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = map[string][]*lease{}
	}
	l.held[name] = append(l.held[name], held)
	return true, nil
}

// prolong renews a lease until it is told to stop or the lease is lost.
func (l *leases) prolong(ctx context.Context, name string, held *lease) {
	defer close(held.ended)
	every := time.NewTicker(l.lasts / 4)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		bounded, cancel := context.WithTimeout(ctx, l.lasts/4)
		mine, err := l.rows.RenewCertificateLease(bounded, name, held.owner, l.lasts)
		cancel()
		if err == nil && !mine {
			l.log.WithField("lock", name).Warn("a lock on certificates ran out while it was held")
			return
		}
		// A database that does not answer may answer before the lease ends.
	}
}

// Unlock implements certmagic.Locker.
func (l *leases) Unlock(ctx context.Context, name string) error {
	l.mu.Lock()
	if len(l.held[name]) == 0 {
		l.mu.Unlock()
		return fmt.Errorf("the lock %q is not held here", name)
	}
	// More than one is held only if the first ran out: then it is the first to
	// be given back.
	held := l.held[name][0]
	l.held[name] = slices.Delete(l.held[name], 0, 1)
	if len(l.held[name]) == 0 {
		delete(l.held, name)
	}
	l.mu.Unlock()
	held.end()
	<-held.ended
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	return l.rows.GiveCertificateLeaseBack(ctx, name, held.owner)
}

// RenewLockLease implements certmagic.LockLeaseRenewer: leases are prolonged
// without being asked.
func (l *leases) RenewLockLease(context.Context, string, time.Duration) error { return nil }
