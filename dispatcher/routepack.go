package dispatcher

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"sync/atomic"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// A million routes are kept as short as they can be told: one string each, with
// identifiers and digests as the bytes they stand for. Routes that are asked for
// are kept open besides, see routeShard.
//
//	key · generation, 8 bytes · flags · project · organization · worker name ·
//	release, manifest, worker · with flagCanary: percent and the same three again
type routeEntry struct {
	text string
	// opened is the route when it is kept open.
	opened atomic.Pointer[models.Route]
	// trusted is until when the route is believed although nothing says that it
	// is current, in Unix nanoseconds: a moment after it was read, and after it
	// could not be read again.
	trusted atomic.Int64
	// stale says that the route changed after it was read.
	stale atomic.Bool
	// used has a bit for each hand that looks for what is not used.
	used atomic.Uint32
	size uint16 // of the key
}

const (
	usedRoute uint32 = 1 << iota
	usedOpen
)

const (
	flagPreview = 1 << iota
	flagCanary
)

// The forms of a field, in its first byte.
const (
	formEmpty = iota
	// formRaw is the bytes that the text stands for.
	formRaw
	// formName is the name that the key ends with.
	formName
	// formText is the text, after its length.
	formText
)

const (
	rawIDBytes     = 16
	rawDigestBytes = 32
	digestBytes    = 2 * rawDigestBytes
	// packBytes is enough for most routes.
	packBytes = 256
)

// newRouteEntry keeps what the dispatcher needs of a route; UpdatedAt is not.
func newRouteEntry(r *models.Route, now time.Time) *routeEntry {
	b := make([]byte, 0, packBytes)
	b = append(b, r.Key...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Generation))
	flags := byte(0)
	if r.Preview {
		flags |= flagPreview
	}
	canary := r.CanaryPercent > 0
	if canary {
		flags |= flagCanary
	}
	b = append(b, flags)
	b = packID(b, models.PrefixProject, r.ProjectID)
	b = packID(b, models.PrefixOrganization, r.OrganizationID)
	if _, name, _ := strings.Cut(r.Key, ":"); name == r.WorkerName {
		b = append(b, formName)
	} else {
		b = packText(b, r.WorkerName)
	}
	b = packRelease(b, r.ReleaseID, r.ManifestDigest, r.WorkerDigest)
	if canary {
		b = append(b, byte(r.CanaryPercent))
		b = packRelease(b, r.CanaryReleaseID, r.CanaryManifestDigest, r.CanaryWorkerDigest)
	}
	e := &routeEntry{text: string(b), size: uint16(len(r.Key))}
	e.trusted.Store(now.Add(unheardTTL).UnixNano())
	return e
}

func (e *routeEntry) key() string { return e.text[:e.size] }

func (e *routeEntry) generation() int64 {
	var raw [8]byte
	copy(raw[:], e.text[e.size:])
	return int64(binary.BigEndian.Uint64(raw[:]))
}

// open makes the route anew. Its texts share one allocation.
func (e *routeEntry) open() *models.Route {
	u := unpacker{rest: e.text[int(e.size)+8:]}
	u.out.Grow(2 * len(u.rest)) // no field is told in less than half of its text
	flags := u.byte()
	r := &models.Route{Key: e.key(), Generation: e.generation(), Preview: flags&flagPreview != 0}
	_, u.name, _ = strings.Cut(r.Key, ":")
	r.ProjectID = u.id(models.PrefixProject)
	r.OrganizationID = u.id(models.PrefixOrganization)
	r.WorkerName = u.text()
	r.ReleaseID, r.ManifestDigest, r.WorkerDigest = u.id(models.PrefixRelease), u.digest(), u.digest()
	if flags&flagCanary != 0 {
		r.CanaryPercent = int(u.byte())
		r.CanaryReleaseID, r.CanaryManifestDigest, r.CanaryWorkerDigest = u.id(models.PrefixRelease), u.digest(), u.digest()
	}
	return r
}

func (e *routeEntry) markStale() {
	e.trusted.Store(0)
	e.stale.Store(true)
}

func packRelease(b []byte, id, manifest, worker string) []byte {
	return packDigest(packDigest(packID(b, models.PrefixRelease, id), manifest), worker)
}

func packID(b []byte, prefix, id string) []byte {
	if raw, ok := models.RawID(prefix, id); ok {
		return append(append(b, formRaw), raw[:]...)
	}
	return packText(b, id)
}

func packDigest(b []byte, digest string) []byte {
	var raw [rawDigestBytes]byte
	if len(digest) == digestBytes && strings.ToLower(digest) == digest {
		if _, err := hex.Decode(raw[:], []byte(digest)); err == nil {
			return append(append(b, formRaw), raw[:]...)
		}
	}
	return packText(b, digest)
}

func packText(b []byte, text string) []byte {
	if text == "" {
		return append(b, formEmpty)
	}
	b = append(b, formText)
	b = binary.AppendUvarint(b, uint64(len(text)))
	return append(b, text...)
}

// unpacker reads what the functions above wrote, in their order.
type unpacker struct {
	rest, name string
	out        strings.Builder
}

func (u *unpacker) byte() byte {
	c := u.rest[0]
	u.rest = u.rest[1:]
	return c
}

func (u *unpacker) id(prefix string) string {
	if u.rest[0] != formRaw {
		return u.text()
	}
	var room [64]byte
	var raw [rawIDBytes]byte
	copy(raw[:], u.rest[1:])
	u.rest = u.rest[1+rawIDBytes:]
	return u.written(models.AppendID(room[:0], prefix, raw))
}

func (u *unpacker) digest() string {
	if u.rest[0] != formRaw {
		return u.text()
	}
	var room [digestBytes]byte
	var raw [rawDigestBytes]byte
	copy(raw[:], u.rest[1:])
	u.rest = u.rest[1+rawDigestBytes:]
	hex.Encode(room[:], raw[:])
	return u.written(room[:])
}

func (u *unpacker) written(text []byte) string {
	from := u.out.Len()
	_, _ = u.out.Write(text)
	return u.out.String()[from:]
}

func (u *unpacker) text() string {
	switch form := u.byte(); form {
	case formName:
		return u.name
	case formText:
		size, shift := 0, 0
		for {
			c := u.byte()
			size |= int(c&0x7f) << shift
			if shift += 7; c < 0x80 {
				break
			}
		}
		text := u.rest[:size]
		u.rest = u.rest[size:]
		return text
	default:
		return ""
	}
}
