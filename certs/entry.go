package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"sync"
	"time"
)

// entry is a certificate in memory, as small as it goes: a collector that runs
// seldom multiplies every byte that stays. A handshake gets what crypto/tls wants
// of it from Certs.expand.
type entry struct {
	leaf []byte
	// rest are the authority's certificates, shared.
	rest   [][]byte
	staple []byte
	// scalar is a P-256 key, which ours are; other keys are kept as they are.
	scalar              [32]byte
	key                 crypto.PrivateKey
	notBefore, notAfter time.Time
	// checkAt is when upkeep looks at it again, failures how often in a row that
	// went wrong.
	checkAt  time.Time
	failures int
}

// hotCertificates are kept as crypto/tls wants them: making a key of its bytes
// costs a handshake some ten microseconds.
const hotCertificates = 512

// expand gives what a handshake needs.
func (c *Certs) expand(e *entry) (*tls.Certificate, error) {
	if certificate, ok := c.hot.get(e); ok {
		return certificate, nil
	}
	key := e.key
	if key == nil {
		var err error
		if key, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), e.scalar[:]); err != nil {
			return nil, err
		}
	}
	certificate := &tls.Certificate{Certificate: append([][]byte{e.leaf}, e.rest...), PrivateKey: key, OCSPStaple: e.staple}
	c.hot.put(e, certificate)
	return certificate, nil
}

// compact is the way back. It drops what handshakes do not need, and shares the
// authority's own certificates among all that it signed.
func (c *Certs) compact(pair tls.Certificate) (*entry, error) {
	e := &entry{
		leaf: pair.Certificate[0], rest: c.chains.share(pair.Certificate[1:]), staple: pair.OCSPStaple,
		notBefore: pair.Leaf.NotBefore, notAfter: pair.Leaf.NotAfter,
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		e.key = pair.PrivateKey
		return e, nil
	}
	scalar, err := key.Bytes()
	copy(e.scalar[:], scalar)
	return e, err
}

// chains are what stands above leaves, once each.
type chains struct {
	mu    sync.Mutex
	known map[string][][]byte
}

// maxChains is far more than an authority uses at a time.
const maxChains = 100

func (c *chains) share(rest [][]byte) [][]byte {
	var name []byte
	for _, der := range rest {
		name = append(name, der...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.known[string(name)]; ok {
		return known
	}
	if c.known == nil || len(c.known) >= maxChains {
		c.known = map[string][][]byte{}
	}
	c.known[string(name)] = rest
	return rest
}
