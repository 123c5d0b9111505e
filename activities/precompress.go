package activities

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"runtime"
	"sync"

	"github.com/andybalholm/brotli"
	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

const (
	// brotliFast is for large files, where the higher level takes seconds.
	brotliGood, brotliFast = 9, 5
	largeText              = 1 << 20
	// sniffBytes is how much of a file decides its type when its name does not.
	sniffBytes = 512
)

// describeFiles makes the manifest's entry of each output file, with the
// precompressed variants of text stored beside it.
func (a *Activities) describeFiles(ctx context.Context, org string, files []models.File) (map[string]assets.File, error) {
	described := make(map[string]assets.File, len(files))
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.NumCPU())
	for _, f := range files {
		path := "/" + f.Path
		if assets.IsControlFile(path) {
			continue
		}
		group.Go(func() error {
			entry, err := a.describe(ctx, org, path, f)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			described[path] = entry
			return nil
		})
	}
	return described, group.Wait()
}

func (a *Activities) describe(ctx context.Context, org, path string, f models.File) (assets.File, error) {
	entry := assets.File{Digest: f.Digest, Size: f.Size}
	key := blob.Key{Scope: org, Digest: f.Digest}
	head, err := a.head(ctx, key)
	if err != nil {
		return entry, err
	}
	entry.ContentType = assets.ContentType(path, head)
	if !assets.Compressible(entry.ContentType, f.Size) {
		return entry, nil
	}
	data, err := blob.ReadAll(ctx, a.Blobs, key, f.Size)
	if err != nil {
		return entry, storageFault(err)
	}
	for _, encoding := range []string{"br", "gzip"} {
		packed, err := compress(encoding, data)
		if err != nil {
			return entry, err
		}
		// Less than a tenth saved is not worth a second object.
		if len(packed)*10 > len(data)*9 {
			continue
		}
		key, err := blob.PutBytes(ctx, a.Blobs, org, packed)
		if err != nil {
			return entry, err
		}
		if entry.Encodings == nil {
			entry.Encodings = map[string]assets.Encoded{}
		}
		entry.Encodings[encoding] = assets.Encoded{Digest: key.Digest, Size: int64(len(packed))}
	}
	return entry, nil
}

func (a *Activities) head(ctx context.Context, key blob.Key) ([]byte, error) {
	r, err := a.Blobs.GetRange(ctx, key, 0, sniffBytes)
	if err != nil {
		return nil, storageFault(err)
	}
	defer r.Close()
	var head bytes.Buffer
	_, err = head.ReadFrom(r)
	return head.Bytes(), err
}

// compress is deterministic: the same bytes give the same object.
func compress(encoding string, data []byte) ([]byte, error) {
	var packed bytes.Buffer
	var w io.WriteCloser
	if encoding == "br" {
		level := brotliGood
		if len(data) > largeText {
			level = brotliFast
		}
		w = brotli.NewWriterLevel(&packed, level)
	} else {
		zip, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		if err != nil {
			return nil, err
		}
		w = zip
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}
