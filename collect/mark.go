package collect

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

const (
	// reads bounds the lists that are read at once.
	reads = 4
	// maxList bounds a list, as those who write them do.
	maxList = 64 << 20
	// listVersion is that of the lists this release knows: all are JSON with plain
	// digests in it.
	listVersion = 1
)

// mark gathers everything that rows refer to: what they name, and what is named in
// those of it that are lists. A list that cannot be read ends the look, because
// what it names would be taken for unreferred.
func (l *look) mark(ctx context.Context, roots []models.BlobRoot) error {
	needed := map[string]bool{} // of lists: whether it has to be there
	for _, root := range roots {
		if err := l.marked.add(root.Digest); err != nil {
			return err
		}
		if root.Kind != models.BlobLeaf {
			needed[root.Digest] = needed[root.Digest] || root.Kind != models.BlobResult
		}
	}
	var mu sync.Mutex
	read := 0
	group, reading := errgroup.WithContext(ctx)
	group.SetLimit(reads)
	for digest, must := range needed {
		group.Go(func() error {
			if err := l.pace.Wait(reading); err != nil {
				return err
			}
			names, err := l.list(reading, digest, must)
			if err != nil {
				return fmt.Errorf("read what %s refers to: %w", blob.Key{Scope: l.organization, Digest: digest}, err)
			}
			mu.Lock()
			defer mu.Unlock()
			read++
			if err := l.extend(reading); err != nil {
				return err
			}
			return l.marked.add(names...)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if read != len(needed) {
		return models.Errorf(models.CodeInternal, "%d of %d lists were read", read, len(needed))
	}
	l.marked.sort()
	return nil
}

// list gives the digests that an object names. One that need not be there names
// nothing when it is not.
func (l *look) list(ctx context.Context, digest string, must bool) ([]string, error) {
	data, err := blob.ReadAll(ctx, l.Blobs, blob.Key{Scope: l.organization, Digest: digest}, maxList)
	if err != nil {
		if !must && models.CodeOf(err) == models.CodeBlobNotFound {
			return nil, nil
		}
		return nil, err
	}
	var list struct{ Version int }
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, models.Wrap(models.CodeStorage, err, "A stored list is damaged.")
	}
	if list.Version != listVersion {
		return nil, models.Errorf(models.CodeStorage, "A stored list has version %d; this release of Slipway reads version %d.", list.Version, listVersion)
	}
	return named(data), nil
}

// named finds every string in JSON that may be a digest, whatever it stands for: a
// field that a later release adds counts, too.
func named(list []byte) []string {
	var names []string
	for {
		_, after, found := bytes.Cut(list, []byte{'"'})
		if !found {
			return names
		}
		list = after
		if len(list) <= blob.DigestLength || list[blob.DigestLength] != '"' {
			continue
		}
		if name := string(list[:blob.DigestLength]); blob.ValidateDigest(name) == nil {
			names = append(names, name)
		}
	}
}
