package dispatcher

import "strings"

// invalidatePreviews is called when the previews of a worker name changed: it
// was given up, taken, or its project moved. That is rare enough to look at
// every route there is.
func (t *routeTable) invalidatePreviews(worker string) {
	ending := "--" + worker
	t.round.Add(1)
	for _, shard := range t.shards {
		shard.mu.Lock()
		shard.epoch.Add(1)
		shard.each(func(e *routeEntry) {
			if strings.HasSuffix(e.key(), ending) {
				e.markStale()
			}
		})
		shard.mu.Unlock()
	}
	t.negativeMu.Lock()
	clear(t.negatives)
	t.negativeMu.Unlock()
}
