package api_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/blob"
)

// An object that nothing refers to is deleted some time after it was condemned,
// unless somebody is told meanwhile that it is there.
func TestBlobs_whatSomebodyIsToldIsThereIsNotCondemned(t *testing.T) {
	g := newGateway(t)
	org := g.owner.OrganizationID
	key, err := blob.PutBytes(t.Context(), g.blobs, org, []byte("page"))
	require.NoError(t, err)
	for name, tell := range map[string]func(){
		"asked what is missing": func() {
			g.do("POST", "/blobs/missing", map[string]any{"sha256": []string{key.Digest}}).into(200, new(map[string]any))
		},
		"uploaded again": func() { g.do("PUT", "/blobs/"+key.Digest, []byte("page")).into(200, new(map[string]any)) },
		"deployed": func() {
			g.deploy(map[string]any{"initFiles": nil, "files": []any{map[string]any{"path": "index.html", "sha256": key.Digest}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, g.store.CondemnBlobs(t.Context(), org, []string{key.Digest}))
			tell()
			condemned, err := g.store.CondemnedBlobs(t.Context(), org, "", strings.Repeat("f", blob.DigestLength))
			require.NoError(t, err)
			require.Empty(t, condemned)
		})
	}
}
