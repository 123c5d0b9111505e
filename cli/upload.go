package cli

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/models"
)

const (
	// uploadsAtOnce is how many files are sent side by side.
	uploadsAtOnce = 6
	// digestsAtOnce is how many digests one question for missing blobs holds.
	digestsAtOnce = 1000
)

// uploadState is how far an upload is.
type uploadState struct {
	sent, total           int
	sentBytes, totalBytes int64
}

// upload sends the files whose bytes the API does not have yet, each content
// once, and says how much that was. progress is called from one goroutine at a time.
func upload(ctx context.Context, client *Client, source *Source, progress func(uploadState)) (uploadState, error) {
	missing, err := missingFiles(ctx, client, source.Files)
	if err != nil {
		return uploadState{}, err
	}
	state := uploadState{total: len(missing)}
	for _, file := range missing {
		state.totalBytes += file.Size
	}
	progress(state)

	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(uploadsAtOnce)
	for _, file := range missing {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			content, err := source.Read(file)
			if err != nil {
				return err
			}
			if err := client.PutBlob(ctx, file.Digest, content); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			state.sent++
			state.sentBytes += file.Size
			progress(state)
			return nil
		})
	}
	err = group.Wait()
	return state, err
}

// missingFiles picks, for each digest the API lacks, one file that has it.
func missingFiles(ctx context.Context, client *Client, files []models.File) ([]models.File, error) {
	byDigest := make(map[string]models.File, len(files))
	var digests []string
	for _, file := range files {
		if _, known := byDigest[file.Digest]; !known {
			byDigest[file.Digest] = file
			digests = append(digests, file.Digest)
		}
	}
	var missing []models.File
	for len(digests) > 0 {
		some := digests[:min(digestsAtOnce, len(digests))]
		digests = digests[len(some):]
		lacking, err := client.MissingBlobs(ctx, some)
		if err != nil {
			return nil, err
		}
		for _, digest := range lacking {
			if file, ours := byDigest[digest]; ours {
				missing = append(missing, file)
			}
		}
	}
	return missing, nil
}
