package dispatcher

// hashSet is a set of hashes, in half the room of a map: open addressing, at most
// three quarters full, nothing ever removed. The zero set is empty.
type hashSet struct {
	slots []uint64
	count int
}

// firstHashes is the first number of slots, a power of two.
const firstHashes = 64

func (s *hashSet) add(hash uint64) {
	if (s.count+1)*4 > len(s.slots)*3 {
		old := s.slots
		s.slots = make([]uint64, max(firstHashes, 2*len(old)))
		for _, hash := range old {
			if hash != 0 {
				s.slots[s.find(hash)] = hash
			}
		}
	}
	hash = nonzero(hash)
	if at := s.find(hash); s.slots[at] == 0 {
		s.slots[at] = hash
		s.count++
	}
}

func (s *hashSet) has(hash uint64) bool {
	return s.count > 0 && s.slots[s.find(nonzero(hash))] != 0
}

// find gives the slot of a hash, or where it would be.
func (s *hashSet) find(hash uint64) int {
	mask := uint64(len(s.slots) - 1)
	at := hash & mask
	for s.slots[at] != 0 && s.slots[at] != hash {
		at = (at + 1) & mask
	}
	return int(at)
}

// nonzero frees 0 to mean that a slot is empty.
func nonzero(hash uint64) uint64 {
	if hash == 0 {
		return 1
	}
	return hash
}
