package collect_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/collect"
	"github.com/slipwayhq/slipway/models"
)

// TestCollect_losesNothingWhateverHappensMeanwhile has many clients ask what is
// missing, upload it, refer to it and let go of it again, over few contents that they
// share, while looks follow one another, some of which are killed. The grace is
// nothing; what it stands for, that everybody refers to what they found before it
// is over, is a gate: a look begins when all who had asked before the last one ended
// have written their rows.
func TestCollect_losesNothingWhateverHappensMeanwhile(t *testing.T) {
	const clients, contents, looks = 6, 24, 40
	s := newScene(t)
	project := s.project("site")
	org := s.id.OrganizationID
	unlimited := int64(1 << 40)
	require.NoError(t, s.store.SetQuotas(t.Context(), org, models.QuotaChange{Deployments: &unlimited}))

	var gate sync.RWMutex
	var done atomic.Bool
	var deleted, refound atomic.Int64
	group, ctx := errgroup.WithContext(t.Context())
	s.raw.onDelete = func(context.Context, blob.Key) error {
		if deleted.Add(1)%40 == 7 {
			return errors.New("killed")
		}
		return nil
	}
	quick := collect.New(collect.Options{Store: s.store, Blobs: s.raw, Every: time.Hour, Grace: 0, Log: s.log})
	group.Go(func() error {
		defer done.Store(true)
		// More when the clients were so slow that nothing has come to pass yet.
		for look := 0; look < looks || deleted.Load() == 0 || refound.Load() == 0; look++ {
			if _, err := quick.Collect(ctx, org); err != nil {
				// Some minutes go by before anybody asks for what was being deleted.
				if _, err := s.conn.Exec(ctx, "UPDATE condemned_blobs SET deleting_at = deleting_at - interval '3 minutes'"); err != nil {
					return err
				}
			}
			gate.Lock()
			gate.Unlock() //nolint:staticcheck // waits for those inside
		}
		return nil
	})
	for client := range clients {
		group.Go(func() error {
			random := rand.New(rand.NewPCG(uint64(client), 1))
			var live []reference
			for round := 0; !done.Load(); round++ {
				var set models.FileSet
				files := map[string][]byte{}
				for range 1 + random.IntN(5) {
					content := fmt.Appendf(nil, "content %d", random.IntN(contents))
					digest := blob.Digest(content)
					if files[digest] == nil {
						files[digest] = content
						set.Files = append(set.Files, models.File{Path: digest, Digest: digest, Size: int64(len(content))})
					}
				}
				gate.RLock()
				found, id, err := refer(ctx, s, project, set, files)
				gate.RUnlock()
				if err != nil {
					return err
				}
				refound.Add(found)
				live = append(live, reference{id, set})
				for _, r := range live {
					if err := whole(ctx, s, r.set); err != nil {
						return fmt.Errorf("client %d, round %d: %w", client, round, err)
					}
				}
				// Some are let go at once, some live through several looks.
				for len(live) > random.IntN(5) {
					i := random.IntN(len(live))
					if err := letGo(ctx, s, live[i].deployment); err != nil {
						return err
					}
					live = slices.Delete(live, i, i+1)
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	t.Logf("%d deletions, %d objects found there", deleted.Load(), refound.Load())
	require.Positive(t, deleted.Load())
	require.Positive(t, refound.Load())
}

// reference is a deployment that has not begun, and what it is to begin with.
type reference struct {
	deployment string
	set        models.FileSet
}

// letGo ends a deployment, so that nothing needs its request any more.
func letGo(ctx context.Context, s *scene, deployment string) error {
	return s.store.RecordStatus(ctx, models.Status{
		DeploymentID: deployment, Version: 1, Outcome: models.OutcomeCanceled, Status: models.StatusFailed, Progress: models.ProgressDone,
		Steps: models.NewSteps(), Logs: []string{}, Timestamp: time.Now().UTC(),
	})
}

// refer does what a client and the gateway do: ask, upload, write the row.
func refer(ctx context.Context, s *scene, project models.Project, set models.FileSet, files map[string][]byte) (found int64, id string, err error) {
	org := s.id.OrganizationID
	digests := make([]string, 0, len(files))
	for _, f := range set.Files {
		digests = append(digests, f.Digest)
	}
	missing, err := blob.Missing(ctx, s.blobs, org, digests)
	if err != nil {
		return 0, "", err
	}
	for _, digest := range missing {
		if _, err := blob.PutBytes(ctx, s.blobs, org, files[digest]); err != nil {
			return 0, "", err
		}
	}
	data, err := set.Encode()
	if err != nil {
		return 0, "", err
	}
	key, err := blob.PutBytes(ctx, s.blobs, org, data)
	if err != nil {
		return 0, "", err
	}
	id = models.NewID(models.PrefixDeployment)
	_, _, err = s.store.CreateDeployment(ctx, models.NewDeployment{Input: models.DeploymentInput{
		DeploymentID: id, ProjectID: project.ID, OrgID: org, UserID: s.id.UserID, RequestDigest: key.Digest,
	}})
	return int64(len(digests) - len(missing)), id, err
}

// whole reads what was referred to.
func whole(ctx context.Context, s *scene, set models.FileSet) error {
	data, err := set.Encode()
	if err != nil {
		return err
	}
	for _, digest := range append(set.Digests(), blob.Digest(data)) {
		if _, err := blob.ReadAll(ctx, s.raw, blob.Key{Scope: s.id.OrganizationID, Digest: digest}, 1<<20); err != nil {
			return err
		}
	}
	return nil
}
