package dispatcher

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/blob"
)

func TestCache_staysWithinItsBytesAndKeepsWhatIsUsed(t *testing.T) {
	c := newCache[int](cacheShards * 100)
	key := func(i int) blob.Key { return blob.Key{Scope: fmt.Sprint(i), Digest: "a"} }
	c.add(key(0), 0, 10)
	for i := 1; i < 1000; i++ {
		_, ok := c.get(key(0))
		require.True(t, ok, "what is asked for between additions stays, at %d", i)
		c.add(key(i), i, 10)
		require.LessOrEqual(t, c.shard(key(0)).bytes, int64(100))
	}
	require.Len(t, c.shard(key(0)).items, 10)
	c.add(key(5000), 1, 101)
	_, ok := c.get(key(5000))
	require.False(t, ok, "what is too large for the cache does not empty it")
	require.Len(t, c.shard(key(0)).items, 10)
}

func TestCache_shardsByEveryHexDigit(t *testing.T) {
	c := newCache[int](1 << 20)
	shards := make(map[*cacheShard[int]]bool)
	for _, digit := range "0123456789abcdef" {
		shards[c.shard(blob.Key{Digest: string(digit)})] = true
	}
	require.Len(t, shards, cacheShards)
}
