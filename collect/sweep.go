package collect

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

const (
	// pageSize is how many objects are in memory at a time.
	pageSize = 1000
	// deletedAtOnce are claimed together, and deletions of them under way at a time.
	deletedAtOnce = 64
	deletions     = 8
	// settleTimeout bounds saying what was deleted when the process is being stopped.
	settleTimeout = 5 * time.Second
)

// lastDigest comes after every other.
var lastDigest = strings.Repeat("f", blob.DigestLength)

// sweep goes through the objects in the order of their digests, a page at a time,
// beside the list of the condemned.
func (l *look) sweep(ctx context.Context) error {
	for after := ""; after != lastDigest; {
		if err := l.extend(ctx); err != nil {
			return err
		}
		page, err := l.page(ctx, after)
		if err != nil {
			return err
		}
		through := lastDigest
		if len(page) == pageSize {
			through = page[pageSize-1].Key.Digest
		}
		if err := l.judge(ctx, page, after, through); err != nil {
			return err
		}
		after = through
	}
	return nil
}

func (l *look) page(ctx context.Context, after string) ([]blob.Object, error) {
	full := errors.New("the page is full")
	var page []blob.Object
	err := l.Blobs.List(ctx, l.organization, after, func(object blob.Object) error {
		if page = append(page, object); len(page) == pageSize {
			return full
		}
		return nil
	})
	if errors.Is(err, full) {
		err = nil
	}
	return page, err
}

// judge decides about each object of a page.
func (l *look) judge(ctx context.Context, page []blob.Object, after, through string) error {
	listed, err := l.Store.CondemnedBlobs(ctx, l.organization, after, through)
	if err != nil {
		return err
	}
	condemned := make(map[string]time.Time, len(listed))
	for _, c := range listed {
		condemned[c.Digest] = c.At
	}
	before := l.at.Add(-l.Grace)
	var condemn, spare []string
	var doomed []blob.Object
	for _, object := range page {
		l.result.Objects++
		l.result.Bytes += object.Size
		name := object.Key.Digest
		since, isCondemned := condemned[name]
		delete(condemned, name)
		switch {
		// A new object may be on its way to being referred to. Its writer holds it as
		// well; that the time says so too costs nothing.
		case l.marked.has(name) || object.ModTime.After(before):
			if isCondemned {
				spare = append(spare, name)
			}
			continue
		case !isCondemned:
			condemn = append(condemn, name)
		case since.Before(before):
			doomed = append(doomed, object)
		}
		l.result.Unreferred++
		l.result.UnreferredBytes += object.Size
	}
	if l.DryRun {
		return nil
	}
	// What is left is gone from the store: a worker died before it said so.
	for name := range condemned {
		spare = append(spare, name)
	}
	if err := l.Store.SpareBlobs(ctx, l.organization, spare); err != nil {
		return err
	}
	l.result.Spared += int64(len(spare))
	if err := l.Store.CondemnBlobs(ctx, l.organization, condemn); err != nil {
		return err
	}
	l.result.Condemned += int64(len(condemn))
	for len(doomed) > 0 {
		some := doomed[:min(len(doomed), deletedAtOnce)]
		doomed = doomed[len(some):]
		if err := l.delete(ctx, some, before); err != nil {
			return err
		}
	}
	return nil
}

// elapsed counts also what a suspended machine slept through.
func elapsed(since time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}

// delete deletes those of the objects that are condemned still. It begins none
// when half of the time that the claim gives is over.
func (l *look) delete(ctx context.Context, objects []blob.Object, before time.Time) error {
	if err := l.pace.WaitN(ctx, len(objects)); err != nil {
		return err
	}
	sizes := make(map[string]int64, len(objects))
	names := make([]string, 0, len(objects))
	for _, object := range objects {
		sizes[object.Key.Digest] = object.Size
		names = append(names, object.Key.Digest)
	}
	began := time.Now()
	limited, cancel := context.WithDeadline(ctx, began.Add(models.BlobDeletion))
	defer cancel()
	claim, err := l.Store.ClaimBlobs(limited, l.organization, names, before)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var deleted []string
	var group errgroup.Group
	group.SetLimit(deletions)
	for _, name := range claim.Digests {
		group.Go(func() error {
			if elapsed(began) > models.BlobDeletion/2 {
				return nil // the next look does it
			}
			if err := l.Blobs.Delete(limited, blob.Key{Scope: l.organization, Digest: name}); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			deleted = append(deleted, name)
			return nil
		})
	}
	err = group.Wait()
	for _, name := range deleted {
		l.result.Deleted++
		l.result.DeletedBytes += sizes[name]
		l.measures.deleted(sizes[name])
	}
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	return errors.Join(err, l.Store.SettleBlobs(settle, l.organization, claim, deleted))
}
