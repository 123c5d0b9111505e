package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"
	"golang.org/x/text/unicode/norm"
)

const (
	minPassword = 8
	maxPassword = 128
	// waitingPasswords bounds the requests that wait for their turn to hash, and
	// hashWait how long; beyond them a caller is told to come again.
	waitingPasswords = 64
	hashWait         = 5 * time.Second
)

// defaultCost is the second choice of OWASP's Password Storage Cheat Sheet: 19
// MiB and two passes, in one thread, so that as many can run as there are
// processors.
func defaultCost() *argon2id.Params {
	return &argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}
}

// passwords hashes and compares with argon2id (RFC 9106), a few at a time: a
// flood of sign-ins takes neither the memory nor all processors.
type passwords struct {
	cost *argon2id.Params
	// unknown is compared against where there is no account, so that it costs the
	// same.
	unknown string
	turns   chan struct{}
	waiting atomic.Int64
	// runs counts the hashes made, for tests of what an answer cost.
	runs atomic.Int64
}

func newPasswords(cost *argon2id.Params) (*passwords, error) {
	if cost == nil {
		cost = defaultCost()
	}
	unknown, err := argon2id.CreateHash("nobody has this password", cost)
	if err != nil {
		return nil, fmt.Errorf("hash a password: %w", err)
	}
	return &passwords{cost: cost, unknown: unknown, turns: make(chan struct{}, max(runtime.GOMAXPROCS(0), 2))}, nil
}

// check says whether a password may be chosen.
func (p *passwords) check(password string) error {
	n := utf8.RuneCountInString(password)
	switch {
	case n < minPassword:
		return refuse(http.StatusBadRequest, "PASSWORD_TOO_SHORT", "Password too short")
	case n > maxPassword:
		return tooLong()
	}
	return nil
}

func tooLong() error {
	return refuse(http.StatusBadRequest, "PASSWORD_TOO_LONG", "Password too long")
}

// hash gives what is kept of a password.
func (p *passwords) hash(ctx context.Context, password string) (hash string, err error) {
	err = p.turn(ctx, func() error {
		hash, err = argon2id.CreateHash(norm.NFKC.String(password), p.cost)
		return err
	})
	return hash, err
}

// verify compares a password with a hash, "" for that of nobody, which costs the
// same. stale says that it matches a hash of another cost than today's.
func (p *passwords) verify(ctx context.Context, password, hash string) (match, stale bool, err error) {
	nobody := hash == ""
	if nobody {
		hash = p.unknown
	}
	err = p.turn(ctx, func() error {
		ok, params, err := argon2id.CheckHash(norm.NFKC.String(password), hash)
		match = ok && !nobody
		stale = match && (params.Memory != p.cost.Memory || params.Iterations != p.cost.Iterations || params.Parallelism != p.cost.Parallelism)
		return err
	})
	return match, stale, err
}

// turn runs work when it is this caller's turn, or says that there are too many.
func (p *passwords) turn(ctx context.Context, work func() error) error {
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > waitingPasswords {
		return busy()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, hashWait, errTooBusy)
	defer cancel()
	select {
	case p.turns <- struct{}{}:
	case <-ctx.Done():
		if errors.Is(context.Cause(ctx), errTooBusy) {
			return busy()
		}
		return ctx.Err()
	}
	defer func() { <-p.turns }()
	p.runs.Add(1)
	return work()
}

var errTooBusy = errors.New("no turn in time")

// GivePassword sets a password for a user that nobody could guess, and returns it.
func (a *Auth) GivePassword(ctx context.Context, userID string) (string, error) {
	password := rand.Text()
	hash, err := a.passwords.hash(ctx, password)
	if err != nil {
		return "", err
	}
	return password, a.store.SetPassword(ctx, userID, hash)
}
