package dispatcher

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestRouteEntry_isTheRouteItWasMadeOf(t *testing.T) {
	plain := models.Route{
		Key: "w:my-app", ProjectID: models.NewID("prj"), OrganizationID: models.NewID("org"), WorkerName: "my-app",
		ReleaseID: models.NewID("rel"), ManifestDigest: strings.Repeat("0f", 32), Generation: 1 << 40,
	}
	worker, canary, host, preview, odd := plain, plain, plain, plain, plain
	worker.WorkerDigest = strings.Repeat("a1", 32)
	canary.CanaryReleaseID, canary.CanaryManifestDigest, canary.CanaryWorkerDigest, canary.CanaryPercent = models.NewID("rel"), strings.Repeat("1e", 32), strings.Repeat("b2", 32), 99
	host.Key = "h:" + strings.Repeat("long-", 50) + ".example.com"
	preview.Key, preview.Preview, preview.Generation = "w:abcdefgh--my-app", true, 0
	odd.ProjectID, odd.OrganizationID, odd.ReleaseID = "prj_"+strings.Repeat("z", 26), "org1", "rel-"+strings.Repeat("x", 300)
	odd.ManifestDigest, odd.WorkerDigest = strings.Repeat("0F", 32), strings.Repeat("zz", 32)
	for name, want := range map[string]models.Route{
		"plain": plain, "worker": worker, "canary": canary, "host": host, "preview": preview, "odd": odd, "empty": {},
	} {
		entry := newRouteEntry(&want, time.Now())
		require.Equal(t, want, *entry.open(), name)
		require.Equal(t, want.Key, entry.key(), name)
		require.Equal(t, want.Generation, entry.generation(), name)
	}
	require.LessOrEqual(t, len(newRouteEntry(&plain, time.Now()).text), 112, "the size class of a site's route")
	require.LessOrEqual(t, len(newRouteEntry(&worker, time.Now()).text), 144, "the size class of a worker's route")
}

func FuzzRouteEntry(f *testing.F) {
	f.Add("w:my-app", "my-app", "rel_aaaaaaaaaaaaaaaaaaaaaaaaaa", strings.Repeat("0f", 32), "", byte(0))
	f.Add("h:a.example", "other", "x", "y", strings.Repeat("A", 64), byte(3))
	f.Add("", ":", "rel_aaaaaaaaaaaaaaaaaaaaaaaaab", "", "\x00", byte(200))
	f.Fuzz(func(t *testing.T, key, name, id, digest, other string, percent byte) {
		if len(key) > 1<<16-1 {
			t.Skip("no host name is that long")
		}
		want := models.Route{Key: key, WorkerName: name, ProjectID: id, OrganizationID: other, ReleaseID: id, ManifestDigest: digest, WorkerDigest: other, Generation: int64(percent) << 50}
		if percent > 0 {
			want.CanaryPercent, want.CanaryReleaseID, want.CanaryManifestDigest, want.CanaryWorkerDigest = int(percent), other, digest, id
		}
		require.Equal(t, want, *newRouteEntry(&want, time.Now()).open())
	})
}
