package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/slipwayhq/slipway/models"
)

// failure is a certificate that could not be got; nobody tries before until.
type failure struct {
	count int
	until time.Time
	// lookAt is when storage is read again meanwhile: another dispatcher may have
	// got it.
	lookAt time.Time
}

var (
	errDenied   = errors.New("the host may have no certificate")
	errUnusable = errors.New("the stored certificate and key do not belong together")
	errClosed   = errors.New("the dispatcher is stopping")
)

const (
	// issuePatience bounds getting a certificate, however long the handshake that
	// asked first has waited.
	issuePatience = 3 * time.Minute
	// The pause after a failure doubles. Certificate authorities count failures:
	// Let's Encrypt allows five an hour for a name.
	firstPause, maxPause = time.Minute, time.Hour
	lookPause            = 5 * time.Second
	// handshakePatience bounds what a visitor waits.
	handshakePatience = 30 * time.Second
	tellEvery         = 10 * time.Second
)

// fetch gets a certificate that is not in memory. Handshakes for the same name
// share the work, which goes on when they have gone.
func (c *Certs) fetch(ctx context.Context, name string, kind hostKind, source netip.Addr) (*tls.Certificate, error) {
	// What this machine has served before is not held against those who ask.
	if kind == hostCustom && c.decide.refused(name, source) && !c.keptLocally(name) {
		return nil, nil
	}
	done := c.flights.DoChan(name, func() (any, error) {
		if !c.begin() {
			return nil, errClosed
		}
		defer c.jobs.Done()
		background, cancel := context.WithTimeout(c.background, issuePatience)
		defer cancel()
		e, err := c.get(background, name, kind)
		c.tell(name, err)
		return e, err
	})
	ctx, cancel := context.WithTimeout(ctx, handshakePatience)
	defer cancel()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case result := <-done:
		if errors.Is(result.Err, errDenied) {
			c.decide.strike(source)
			return nil, nil
		}
		if result.Err != nil {
			return nil, result.Err
		}
		return c.expand(result.Val.(*entry))
	}
}

// get decides, then loads or gets a certificate and keeps it in memory.
func (c *Certs) get(ctx context.Context, name string, kind hostKind) (*entry, error) {
	// A handshake that found memory empty may come after the one that filled it.
	if e, ok := c.memory.get(name); ok && time.Now().Before(e.notAfter) {
		return e, nil
	}
	if err := c.paused(name); err != nil {
		return nil, err
	}
	switch c.mayHave(ctx, name, kind) {
	case verdictNo:
		return nil, errDenied
	case verdictUnknown:
		// Whoever had a certificate when that was known keeps it meanwhile.
		c.storage.outage.note()
		e, err := c.read(name, func(key string) ([]byte, error) { return c.storage.loadLocal(key) })
		if err != nil {
			return nil, models.Errorf(models.CodeCertificate, "Whether %s may have a certificate cannot be found out now.", name)
		}
		return c.keep(name, e), nil
	}
	e, err := c.load(ctx, name)
	if err == nil && time.Now().Before(e.notAfter) {
		return c.keep(name, e), nil
	}
	if err != nil && !isNotExist(err) && !errors.Is(err, errUnusable) {
		return nil, err
	}
	if err := c.issue(ctx, name, err); err != nil {
		return nil, err
	}
	if e, err = c.load(ctx, name); err != nil {
		return nil, err
	}
	return c.keep(name, e), nil
}

func (c *Certs) mayHave(ctx context.Context, name string, kind hostKind) verdict {
	known := c.keptLocally(name)
	switch {
	case kind != hostCustom:
		return verdictYes
	case known && c.storage.outage.recent():
		return verdictUnknown
	case known:
		return c.decide.ask(ctx, name, askKnownPatience)
	default:
		return c.decide.ask(ctx, name, askPatience)
	}
}

// keep puts a certificate into memory and says when to look at it.
func (c *Certs) keep(name string, e *entry) *entry {
	e.checkAt = c.nextCheck(e)
	c.memory.put(name, e)
	if !time.Now().Before(e.checkAt) {
		select {
		case c.due <- struct{}{}:
		default:
		}
	}
	return e
}

// load reads a certificate from storage. One that is being replaced is read
// again: its parts are not written together.
func (c *Certs) load(ctx context.Context, name string) (*entry, error) {
	for pause := 50 * time.Millisecond; ; pause *= 3 {
		e, err := c.read(name, func(key string) ([]byte, error) { return c.storage.Load(ctx, key) })
		if !errors.Is(err, errUnusable) || pause > 500*time.Millisecond {
			return e, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
}

func (c *Certs) read(name string, load func(key string) ([]byte, error)) (*entry, error) {
	issuer := c.engine.issuerKey
	key, err := load(certmagic.StorageKeys.SitePrivateKey(issuer, name))
	if err != nil {
		return nil, err
	}
	chain, err := load(certmagic.StorageKeys.SiteCert(issuer, name))
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	return c.compact(pair)
}

// keptLocally says that this machine has served a name before.
func (c *Certs) keptLocally(name string) bool {
	return c.storage.local != nil && c.storage.local.has(certmagic.StorageKeys.SiteCert(c.engine.issuerKey, name))
}

// issue gets a certificate from the authority, for the reason that load gave:
// there is none, its parts do not fit, or nil when it ran out.
func (c *Certs) issue(ctx context.Context, name string, reason error) error {
	if f, ok := c.failed.get(name); ok && time.Now().Before(f.until) {
		return &pausedError{name, f.until}
	}
	select {
	case c.issuing <- struct{}{}:
		defer func() { <-c.issuing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	began := time.Now()
	config := c.engine.config(name)
	var err error
	switch {
	case isNotExist(reason):
		err = config.ObtainCertSync(ctx, name)
	default:
		err = config.RenewCertSync(ctx, name, errors.Is(reason, errUnusable))
	}
	log := c.opts.Log.WithField("host", name)
	if err == nil {
		c.failed.remove(name)
		log.WithField("took", time.Since(began).Round(time.Millisecond).String()).Info("got a certificate")
		return nil
	}
	if c.background.Err() != nil {
		return errClosed
	}
	var until time.Time
	c.failed.update(name, func(f failure) failure {
		if c.storage.outage.recent() {
			// Nobody was asked: the database failed us, not the authority.
			until = time.Now()
			return f
		}
		f.until = time.Now().Add(min(firstPause<<min(f.count, 10), maxPause))
		f.count++
		f.lookAt = time.Now().Add(lookPause)
		until = f.until
		return f
	})
	log.WithError(err).WithField("next", until.UTC().Format(time.RFC3339)).Warn("could not get a certificate")
	return &pausedError{name, until}
}

// pausedError is an attempt that failed, was logged, and is not repeated yet.
type pausedError struct {
	name  string
	until time.Time
}

func (p *pausedError) Error() string {
	return fmt.Sprintf("a certificate for %s could not be got; the next attempt is at %s", p.name, p.until.UTC().Format(time.TimeOnly))
}

// paused says that an attempt failed a moment ago, without asking anybody, most
// of the time.
func (c *Certs) paused(name string) error {
	f, ok := c.failed.get(name)
	now := time.Now()
	switch {
	case !ok || now.After(f.until):
		return nil
	case now.Before(f.lookAt):
		return &pausedError{name, f.until}
	}
	f.lookAt = now.Add(lookPause)
	c.failed.put(name, f)
	return nil
}

// tell logs what keeps a visitor from a certificate, now and then: in an outage
// every handshake could.
func (c *Certs) tell(name string, err error) {
	var paused *pausedError
	if err == nil || errors.Is(err, errDenied) || errors.Is(err, errClosed) || errors.As(err, &paused) || c.background.Err() != nil {
		return
	}
	last, now := c.told.Load(), time.Now().UnixNano()
	if now-last > int64(tellEvery) && c.told.CompareAndSwap(last, now) {
		c.opts.Log.WithError(err).WithField("host", name).Warn("no certificate could be had for a visitor")
	}
}
