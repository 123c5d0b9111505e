package certs

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/caddyserver/certmagic"
)

const (
	// lookAgain is how often a certificate is compared with what is stored, and
	// its OCSP answer and renewal information are asked for if they are due.
	lookAgain = 6 * time.Hour
	// filesEvery is how often the files of the wildcard certificate are looked at.
	filesEvery = 10 * time.Second
	// firstSweep is when, about, a dispatcher that started removes what is of no
	// more use; then it does so every day.
	firstSweep, sweepEvery = time.Hour, 24 * time.Hour
	// concurrentUpkeep bounds what is looked at, and renewed, at once.
	concurrentUpkeep = 4
	// keepExpired is how long a certificate stays stored after it ran out.
	keepExpired = 30 * 24 * time.Hour
)

func (c *Certs) run(ctx context.Context) {
	check, files := time.NewTicker(c.checkEvery()), time.NewTicker(min(c.checkEvery(), filesEvery))
	// Not at once: dispatchers are often started together.
	sweep := time.NewTimer(firstSweep/2 + rand.N(firstSweep))
	defer check.Stop()
	defer files.Stop()
	defer sweep.Stop()
	c.sweepLocal()
	c.getOwn(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-files.C:
			if c.files != nil {
				c.files.reload()
			}
		case <-c.due:
			c.checkDue(ctx)
		case <-check.C:
			c.getOwn(ctx)
			c.checkDue(ctx)
		case <-sweep.C:
			c.sweep(ctx)
			sweep.Reset(sweepEvery)
		}
	}
}

func (c *Certs) checkEvery() time.Duration {
	if c.opts.CheckEvery == 0 {
		return defaultCheckEvery
	}
	return c.opts.CheckEvery
}

// getOwn has the platform's own certificate ready before somebody asks. What
// goes wrong is logged where it does, and tried again.
func (c *Certs) getOwn(ctx context.Context) {
	if c.files != nil || !c.opts.DNS01.enabled() {
		return
	}
	for _, name := range []string{c.own.wildcard, c.own.domain} {
		if _, ok := c.memory.get(name); !ok && ctx.Err() == nil {
			_, _ = c.fetch(ctx, name, hostWildcard, netip.Addr{})
		}
	}
}

// checkDue looks after the certificates whose time has come.
func (c *Certs) checkDue(ctx context.Context) {
	now := time.Now()
	var group errgroup.Group
	group.SetLimit(concurrentUpkeep)
	for _, name := range c.memory.keys(func(e *entry) bool { return !now.Before(e.checkAt) }) {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			c.checkOne(ctx, name)
			return nil
		})
	}
	_ = group.Wait()
}

// checkOne takes up what others stored, renews if it is time, refreshes the OCSP
// answer and the authority's renewal information, and drops what nobody may have
// any more.
func (c *Certs) checkOne(ctx context.Context, name string) {
	old, ok := c.memory.get(name)
	if !ok {
		return
	}
	if _, kind := c.own.classify(name); kind == hostCustom {
		switch c.decide.ask(ctx, name, askPatience) {
		case verdictNo:
			c.drop(name)
			return
		case verdictUnknown:
			c.checkLater(name, old)
			return
		}
	}
	ctx, cancel := context.WithTimeout(ctx, issuePatience)
	defer cancel()
	fresh, err := c.managed(ctx, name)
	log := c.opts.Log.WithField("host", name)
	if err != nil {
		c.checkLater(name, old)
		if ctx.Err() == nil {
			log.WithError(err).WithField("expires", old.notAfter.UTC().Format(time.RFC3339)).Warn("could not look after a certificate; what there is is served on")
		}
		return
	}
	// What is due although it was just looked at has a renewal under way elsewhere.
	fresh.checkAt = later(c.nextCheck(fresh), time.Now().Add(c.checkEvery()))
	if !bytes.Equal(fresh.leaf, old.leaf) {
		log.WithField("expires", fresh.notAfter.UTC().Format(time.RFC3339)).Info("serving a renewed certificate")
	}
	c.memory.put(name, fresh)
}

// managed lets certmagic do what a certificate needs, and repairs one whose
// parts were stored by a process that was killed in between.
func (c *Certs) managed(ctx context.Context, name string) (*entry, error) {
	certificate, err := c.engine.manage(ctx, name)
	if err == nil {
		return c.compact(certificate)
	}
	if _, loadErr := c.load(ctx, name); !errors.Is(loadErr, errUnusable) {
		return nil, err
	}
	if err := c.issue(ctx, name, errUnusable); err != nil {
		return nil, err
	}
	return c.load(ctx, name)
}

// checkLater keeps an entry and tries again, less often each time.
func (c *Certs) checkLater(name string, e *entry) {
	again := *e
	again.failures++
	pause := min(c.checkEvery()<<min(again.failures, 6), lookAgain)
	again.checkAt = time.Now().Add(pause/2 + rand.N(pause))
	c.memory.put(name, &again)
}

// drop forgets a certificate that nobody may have any more. What is stored
// expires there: the domain may come back.
func (c *Certs) drop(name string) {
	c.memory.remove(name)
	c.storage.forgetLocally(certmagic.StorageKeys.SiteCert(c.engine.issuerKey, name))
	c.storage.forgetLocally(certmagic.StorageKeys.SitePrivateKey(c.engine.issuerKey, name))
}

// nextCheck is when the renewal window begins, or earlier.
func (c *Certs) nextCheck(e *entry) time.Time {
	life := e.notAfter.Sub(e.notBefore)
	renew := e.notAfter.Add(-time.Duration(float64(life) * c.opts.RenewalWindow))
	// Spread what was loaded together, after a start.
	look := time.Now().Add(lookAgain/2 + rand.N(lookAgain/2))
	if renew.Before(look) {
		return renew
	}
	return look
}

// sweep removes what has not been of use for long, here and, once a day for all
// dispatchers, in storage.
func (c *Certs) sweep(ctx context.Context) {
	c.sweepLocal()
	err := certmagic.CleanStorage(ctx, c.storage.remote(), certmagic.CleanStorageOptions{
		Logger: c.engine.log, InstanceID: c.engine.instance, Interval: sweepEvery / 2,
		OCSPStaples: true, ExpiredCerts: true, ExpiredCertGracePeriod: keepExpired,
	})
	if err != nil && ctx.Err() == nil {
		c.opts.Log.WithError(err).Warn("could not remove expired certificates")
	}
}

func (c *Certs) sweepLocal() {
	if c.storage.local == nil {
		return
	}
	if err := c.storage.local.sweep(); err != nil {
		c.opts.Log.WithError(err).Warn("could not look through the certificates on this machine's disk")
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
