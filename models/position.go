package models

import "time"

// Position is where a page of a list ended: what its last item is sorted by. It
// is no reference to that item, so that a list goes on after one that is gone by
// the time the next page is asked for.
type Position struct {
	// Key is what the list is sorted by first: a time in microseconds since 1970,
	// or a sequence.
	Key int64
	// ID tells items with the same key apart. It is "" at the beginning of a list.
	ID string
}

// MaxPositionKey is the last microsecond of the year 9999, beyond which
// PostgreSQL has no times soon.
const MaxPositionKey = 253_402_300_799_999_999

// PositionAt is the position of an item in a list that is sorted by time.
func PositionAt(at time.Time, id string) Position { return Position{Key: at.UnixMicro(), ID: id} }

// Begins says whether the list is asked for from its beginning.
func (p Position) Begins() bool { return p.ID == "" }

// At is the key of a list that is sorted by time.
func (p Position) At() time.Time { return time.UnixMicro(p.Key).UTC() }
