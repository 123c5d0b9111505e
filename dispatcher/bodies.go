package dispatcher

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/sync/singleflight"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

// bodies gives the bytes of files: small ones from memory, large ones from
// blob storage.
type bodies struct {
	blobs Blobs
	files fileBlobs
	kept  *cache[[]byte]
	loads singleflight.Group
	// small is the size up to which a file is kept.
	small int64
}

func newBodies(blobs Blobs, limit, small int64) *bodies {
	files, _ := blobs.(fileBlobs)
	return &bodies{blobs: blobs, files: files, kept: newCache[[]byte](limit), small: min(small, limit/cacheShards)}
}

// content is an opened body: bytes in memory, or a reader to copy from.
type content struct {
	bytes  []byte
	reader io.ReadCloser
}

// open gets the bytes of a body ready, so that a failure can still be answered.
func (b *bodies) open(ctx context.Context, scope string, body assets.Body) (content, error) {
	key := blob.Key{Scope: scope, Digest: body.Digest}
	if body.Size <= b.small {
		data, err := b.fromMemory(ctx, key, body.Size)
		if err != nil {
			return content{}, err
		}
		return content{bytes: data[body.Offset : body.Offset+body.Length]}, nil
	}
	if b.files == nil {
		reader, err := b.blobs.GetRange(ctx, key, body.Offset, body.Length)
		return content{reader: reader}, err
	}
	file, err := b.files.Open(ctx, key)
	if err != nil {
		return content{}, err
	}
	if body.Offset > 0 {
		if _, err := file.Seek(body.Offset, io.SeekStart); err != nil {
			_ = file.Close()
			return content{}, err
		}
	}
	return content{reader: file}, nil
}

func (b *bodies) fromMemory(ctx context.Context, key blob.Key, size int64) ([]byte, error) {
	if data, ok := b.kept.get(key); ok {
		return data, nil
	}
	return once(ctx, &b.loads, key, func(ctx context.Context) ([]byte, error) {
		if data, ok := b.kept.get(key); ok {
			return data, nil // was read for others meanwhile
		}
		b.kept.missed(key)
		data, err := fetch(ctx, b.blobs, key, b.small)
		if err != nil {
			return nil, fmt.Errorf("read file %s: %w", key, err)
		}
		if int64(len(data)) != size {
			return nil, models.Errorf(models.CodeReleaseInvalid, "The manifest says that file %s has %d bytes, it has %d", key, size, len(data))
		}
		b.kept.add(key, data, size+itemOverhead)
		return data, nil
	})
}

// itemOverhead is roughly what keeping one item costs besides its bytes.
const itemOverhead = 256
