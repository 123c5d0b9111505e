package assets

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNegotiate_followsWeights(t *testing.T) {
	both := [ranks]bool{true, true, true}
	onlyGzip := [ranks]bool{false, true, true}
	for _, c := range []struct {
		accept    string
		available [ranks]bool
		want      int
	}{
		{"", both, rankIdentity},
		{"br", both, rankBrotli},
		{"BR", both, rankBrotli},
		{"gzip, deflate, br, zstd", both, rankBrotli},
		{"gzip, deflate, br, zstd", onlyGzip, rankGzip},
		{"gzip;q=1.0, br;q=0.8", both, rankGzip},
		{"gzip ; q=0.5 , br ; q=0.5", both, rankBrotli},
		{"br;q=0, gzip", both, rankGzip},
		{"br;q=0", both, rankIdentity},
		{"*", both, rankBrotli},
		{"*;q=0", both, rankIdentity},
		{"gzip;q=0, *", both, rankBrotli},
		{"br;q=0, *", both, rankGzip},
		{"identity, gzip;q=0.5", both, rankIdentity},
		{"identity;q=0.5, gzip;q=0.9", both, rankGzip},
		{"identity;q=0", both, rankIdentity},
		{"x-gzip", both, rankGzip},
		{"deflate", both, rankIdentity},
		{"br;q=2, gzip;q=x, identity", both, rankIdentity},
		{"br;q=0.0001", both, rankIdentity},
		{"br;level=3;q=0.7,gzip;q=0.6", both, rankBrotli},
		{",,;q=1,", both, rankIdentity},
	} {
		require.Equal(t, c.want, negotiate(c.accept, &c.available), "%q", c.accept)
	}
}

func FuzzNegotiate(f *testing.F) {
	f.Add("gzip, br;q=0.5, *;q=0")
	f.Fuzz(func(t *testing.T, accept string) {
		available := [ranks]bool{true, false, true}
		require.NotEqual(t, rankGzip, negotiate(accept, &available), "what is not there is not chosen")
	})
}

func FuzzParseRange(f *testing.F) {
	f.Add("bytes=0-1", int64(10))
	f.Add("bytes=-9223372036854775808", int64(1))
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		part, verdict := parseRange(header, size)
		if verdict != rangeSatisfied {
			return
		}
		require.GreaterOrEqual(t, part.offset, int64(0))
		require.Greater(t, part.length, int64(0))
		require.LessOrEqual(t, part.offset+part.length, size)
	})
}
