package certs

import (
	"context"
	"net/netip"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// decisions say for which hosts there may be certificates. Strangers choose the
// names they ask for, so a refusal is remembered, and so is who asks for many
// names that are refused.
type decisions struct {
	allowed func(ctx context.Context, host string) error
	denied  *lru[string, time.Time]     // until when
	strikes *lru[netip.Addr, strikeRow] // by source
	// turns bounds how many questions are open at once.
	turns chan struct{}
}

type strikeRow struct {
	count int
	until time.Time
}

// verdict is the answer to whether a host may have a certificate.
type verdict int

const (
	verdictUnknown verdict = iota
	verdictYes
	verdictNo
)

const (
	// deniedFor is short: it is what a visitor may wait for after a domain became
	// active, unless Forget is told.
	deniedFor   = 10 * time.Second
	deniedNames = 20_000
	// A source with this many refused names in strikeWindow is not looked up for
	// until the window ends.
	strikeLimit   = 20
	strikeWindow  = time.Minute
	strikeSources = 10_000
	openQuestions = 16
)

// How long the answer may take: less for a host that can be served without it.
const (
	askPatience      = 3 * time.Second
	askKnownPatience = time.Second
)

func newDecisions(allowed func(context.Context, string) error) *decisions {
	return &decisions{
		allowed: allowed, denied: newLRU[string, time.Time](deniedNames),
		strikes: newLRU[netip.Addr, strikeRow](strikeSources), turns: make(chan struct{}, openQuestions),
	}
}

// refused says no without asking anybody.
func (d *decisions) refused(host string, source netip.Addr) bool {
	now := time.Now()
	if until, ok := d.denied.get(host); ok && now.Before(until) {
		return true
	}
	row, ok := d.strikes.get(source)
	return ok && row.count >= strikeLimit && now.Before(row.until)
}

// ask asks, for as long as patience, and remembers a no.
func (d *decisions) ask(ctx context.Context, host string, patience time.Duration) verdict {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case d.turns <- struct{}{}:
		defer func() { <-d.turns }()
	case <-ctx.Done():
		return verdictUnknown
	}
	err := d.allowed(ctx, host)
	switch {
	case err == nil:
		d.denied.remove(host)
		return verdictYes
	case !isDenial(err):
		return verdictUnknown
	}
	d.denied.put(host, time.Now().Add(deniedFor))
	return verdictNo
}

// strike notes that a source asked for a name that nobody has.
func (d *decisions) strike(source netip.Addr) {
	if !source.IsValid() {
		return
	}
	now := time.Now()
	d.strikes.update(source, func(row strikeRow) strikeRow {
		if now.After(row.until) {
			row = strikeRow{until: now.Add(strikeWindow)}
		}
		row.count++
		return row
	})
}

// isDenial tells a no from not knowing.
func isDenial(err error) bool {
	switch models.CodeOf(err) {
	case models.CodeNotFound, models.CodeDomainNotFound, models.CodeProjectNotFound, models.CodeForbidden, models.CodeDomainUnavailable, models.CodeValidation:
		return true
	default:
		return false
	}
}
