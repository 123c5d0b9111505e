package collect

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

const (
	// reads bounds the lists that are read at once.
	reads = 4
	// maxList bounds a list of files or a manifest, as those who write them do.
	maxList = 64 << 20
)

// mark gathers everything that rows refer to: what they name, and what is named in
// those of them that are lists. A list that cannot be read ends the look, because
// what it names would be taken for unreferred.
func (l *look) mark(ctx context.Context, roots []models.BlobRoot) error {
	lists, err := l.lists(roots)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	read := 0
	group, reading := errgroup.WithContext(ctx)
	group.SetLimit(reads)
	for _, root := range lists {
		group.Go(func() error {
			if err := l.pace.Wait(reading); err != nil {
				return err
			}
			named, err := l.read(reading, root)
			if err != nil {
				return fmt.Errorf("read what %s refers to: %w", blob.Key{Scope: l.organization, Digest: root.Digest}, err)
			}
			mu.Lock()
			defer mu.Unlock()
			read++
			if err := l.extend(reading); err != nil {
				return err
			}
			return l.marked.add(named...)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if read != len(lists) {
		return models.Errorf(models.CodeInternal, "%d of %d lists were read", read, len(lists))
	}
	l.marked.sort()
	return nil
}

// lists marks what rows name, and gives those of it that name others.
func (l *look) lists(roots []models.BlobRoot) ([]models.BlobRoot, error) {
	kinds := map[models.BlobRoot]bool{}
	for _, root := range roots {
		if err := l.marked.add(root.Digest); err != nil {
			return nil, err
		}
		kinds[root] = true
	}
	var lists []models.BlobRoot
	for root := range kinds {
		switch root.Kind {
		case models.BlobLeaf:
		case models.BlobResult:
			// Mostly another row says what it is, too.
			if !kinds[models.BlobRoot{Digest: root.Digest, Kind: models.BlobFiles}] && !kinds[models.BlobRoot{Digest: root.Digest, Kind: models.BlobManifest}] {
				lists = append(lists, root)
			}
		default:
			lists = append(lists, root)
		}
	}
	return lists, nil
}

// read gives the digests that an object names.
func (l *look) read(ctx context.Context, root models.BlobRoot) ([]string, error) {
	data, err := blob.ReadAll(ctx, l.Blobs, blob.Key{Scope: l.organization, Digest: root.Digest}, maxList)
	if root.Kind == models.BlobResult && models.CodeOf(err) == models.CodeBlobNotFound {
		return nil, nil // whoever would use it looks first, and builds again
	}
	if err != nil {
		return nil, err
	}
	switch root.Kind {
	case models.BlobFiles:
		return filesOf(data)
	case models.BlobManifest:
		return manifestOf(data)
	case models.BlobWorker:
		worker, err := models.DecodeWorkerBundle(data)
		if err != nil {
			return nil, err
		}
		return worker.Digests(), nil
	case models.BlobResult:
		// A manifest is read strictly, so that nothing else passes for one.
		if named, err := manifestOf(data); err == nil {
			return named, nil
		}
		return filesOf(data)
	}
	return nil, models.Errorf(models.CodeInternal, "objects of the kind %q cannot be read", root.Kind)
}

func filesOf(data []byte) ([]string, error) {
	set, err := models.DecodeFileSet(data)
	if err != nil {
		return nil, err
	}
	named := set.Digests()
	if set.HistoryDigest != "" {
		named = append(named, set.HistoryDigest)
	}
	return named, nil
}

func manifestOf(data []byte) ([]string, error) {
	manifest, err := assets.ParseManifest(data)
	if err != nil {
		return nil, err
	}
	return manifest.Digests(), nil
}
