package ratelimit

// Keys is how many keys a Local holds.
func (l *Local) Keys() int {
	n := 0
	for i := range l.shards {
		n += len(l.shards[i].full)
	}
	return n
}
