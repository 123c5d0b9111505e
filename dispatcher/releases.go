package dispatcher

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

const (
	// maxManifestBytes bounds a stored manifest.
	maxManifestBytes = 64 << 20
	// fetchTimeout bounds one read of a manifest or of a file to be cached.
	fetchTimeout = 30 * time.Second
)

// release is a manifest ready to serve, with the scope its blobs are in.
type release struct {
	scope string
	site  *assets.Site
}

// noFiles is the site of a release that is a worker alone.
var noFiles = func() *assets.Site {
	site, err := assets.NewSite(&assets.Manifest{Version: assets.ManifestVersion})
	if err != nil {
		panic(err)
	}
	return site
}()

// releases keeps prepared manifests in memory, and of releases with server code
// how files and worker share the paths.
type releases struct {
	blobs  Blobs
	kept   *cache[*release]
	shared *cache[*sharing]
	loads  singleflight.Group
}

func newReleases(blobs Blobs, limit int64) *releases {
	return &releases{blobs: blobs, kept: newCache[*release](limit - limit/8), shared: newCache[*sharing](limit / 8)}
}

// get finds the release a route points at.
func (c *releases) get(ctx context.Context, route *models.Route) (*release, error) {
	key := blob.Key{Scope: route.OrganizationID, Digest: route.ManifestDigest}
	if key.Digest == "" {
		return &release{scope: key.Scope, site: noFiles}, nil
	}
	if kept, ok := c.kept.get(key); ok {
		return kept, nil
	}
	return once(ctx, &c.loads, key, func(ctx context.Context) (*release, error) {
		if kept, ok := c.kept.get(key); ok {
			return kept, nil // was read for others meanwhile
		}
		c.kept.missed(key)
		data, err := fetch(ctx, c.blobs, key, maxManifestBytes)
		if err != nil {
			return nil, fmt.Errorf("read manifest %s: %w", key, err)
		}
		manifest, err := assets.ParseManifest(data)
		if err != nil {
			return nil, fmt.Errorf("manifest %s: %w", key, err)
		}
		site, err := assets.NewSite(manifest)
		if err != nil {
			return nil, fmt.Errorf("manifest %s: %w", key, err)
		}
		loaded := &release{scope: key.Scope, site: site}
		c.kept.add(key, loaded, site.Weight())
		return loaded, nil
	})
}

// once runs load for the first that asks and gives its result to all who ask
// meanwhile. load is not cancelled when one of them leaves.
func once[V any](ctx context.Context, group *singleflight.Group, key blob.Key, load func(context.Context) (V, error)) (V, error) {
	var none V
	done := group.DoChan(key.String(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		return load(ctx)
	})
	select {
	case result := <-done:
		if result.Err != nil {
			return none, result.Err
		}
		return result.Val.(V), nil
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// fetch reads a whole blob of at most limit bytes and checks its digest, so
// that what is kept and served many times is what was released.
func fetch(ctx context.Context, blobs Blobs, key blob.Key, limit int64) ([]byte, error) {
	body, err := blobs.GetRange(ctx, key, 0, -1)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, models.Errorf(models.CodeStorage, "The stored object is larger than %d bytes", limit)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != key.Digest {
		return nil, models.Errorf(models.CodeStorage, "The stored object does not have its digest; its disk or bucket is damaged")
	}
	return data, nil
}
