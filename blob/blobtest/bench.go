package blobtest

import (
	"encoding/binary"
	"io"
	"testing"

	"github.com/slipwayhq/slipway/blob"
)

// benchSize is that of a usual source file.
const benchSize = 4 << 10

// BenchmarkPut stores new objects of 4 KiB, several at a time as deployments do.
func BenchmarkPut(b *testing.B, store blob.Store) {
	b.SetBytes(benchSize)
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		content := random(benchSize)
		for i := uint64(0); pb.Next(); i++ {
			binary.LittleEndian.PutUint64(content, i)
			if _, err := blob.PutBytes(b.Context(), store, scope, content); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkGet reads one object of 4 KiB, unverified.
func BenchmarkGet(b *testing.B, store blob.Store) {
	key, err := blob.PutBytes(b.Context(), store, scope, random(benchSize))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(benchSize)
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, err := store.Get(b.Context(), key)
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := io.Copy(io.Discard, r); err != nil {
				b.Error(err)
			}
			r.Close()
		}
	})
}
