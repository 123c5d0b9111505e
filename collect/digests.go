package collect

import (
	"bytes"
	"encoding/hex"
	"slices"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

type digest [blob.DigestLength / 2]byte

// digests is a set that takes 32 bytes for each of millions: a list that is sorted
// when it has grown to twice its size.
type digests struct {
	all    []digest
	sorted int // so many at the front are in order, each once
}

const leastSort = 1 << 12

// add puts digests in. What is no digest is CodeStorage: rows and lists of ours
// hold nothing else, so who reads them must not go on.
func (s *digests) add(names ...string) error {
	for _, name := range names {
		var d digest
		if blob.ValidateDigest(name) != nil {
			return models.Errorf(models.CodeStorage, "%q is stored as the name of an object, and is none.", name)
		}
		if _, err := hex.Decode(d[:], []byte(name)); err != nil {
			return err
		}
		s.all = append(s.all, d)
	}
	if len(s.all) > 2*max(s.sorted, leastSort) {
		s.sort()
	}
	return nil
}

// sort has to come between the last add and the first has.
func (s *digests) sort() {
	slices.SortFunc(s.all, compare)
	s.all = slices.Compact(s.all)
	s.sorted = len(s.all)
}

func (s *digests) has(name string) bool {
	var d digest
	if n, err := hex.Decode(d[:], []byte(name)); err != nil || n != len(d) {
		return false
	}
	_, found := slices.BinarySearchFunc(s.all, d, compare)
	return found
}

func compare(a, b digest) int { return bytes.Compare(a[:], b[:]) }
