package models_test

import (
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestCheckPath_refusesWhatCouldLeaveTheWorkspaceOrConfuse(t *testing.T) {
	for _, bad := range []string{
		"", "/etc/passwd", "..", "../x", "a/../b", "a/./b", ".", "a//b", "a/", `a\b`, "a\x00b", "a\nb", "a\x7fb", "\xff",
		strings.Repeat("a", 256), "a/..",
	} {
		require.NotEmpty(t, models.CheckPath(bad, 0), "%q", bad)
	}
	for _, good := range []string{"index.html", "src/App.tsx", "...", "a..b", ".env", "[slug].astro", "über/ß.txt", "日本/語.md", strings.Repeat("a", 255), "a b/c d"} {
		require.Empty(t, models.CheckPath(good, 0), "%q", good)
	}
}

func FuzzCheckPath(f *testing.F) {
	for _, seed := range []string{"a/b", "../x", `a\b`, "a\x00", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if models.CheckPath(p, 0) != "" {
			return
		}
		if path.Clean("/"+p) != "/"+p || strings.ContainsAny(p, "\x00\\\n") {
			t.Fatalf("accepted %q", p)
		}
	})
}

func TestOverlay_laterFilesWinAndNothingIsLost(t *testing.T) {
	merged := models.Overlay(
		[]models.File{{Path: "a", Digest: "1"}, {Path: "b", Digest: "2"}},
		[]models.File{{Path: "b", Digest: "3"}, {Path: "c", Digest: "4"}})
	require.Equal(t, []models.File{{Path: "a", Digest: "1"}, {Path: "b", Digest: "3"}, {Path: "c", Digest: "4"}}, merged)
}

func TestFileSet_encodesTheSameHoweverItIsOrdered(t *testing.T) {
	one, err := models.FileSet{Files: []models.File{{Path: "b"}, {Path: "a"}}}.Encode()
	require.NoError(t, err)
	two, err := models.FileSet{Files: []models.File{{Path: "a", Mode: 0o644}, {Path: "b"}}}.Encode()
	require.NoError(t, err)
	require.Equal(t, string(one), string(two))
	back, err := models.DecodeFileSet(one)
	require.NoError(t, err)
	require.Len(t, back.Files, 2)
}

func TestDecodeFileSet_damagedOrNewerIsThePlatforms(t *testing.T) {
	for _, data := range []string{"", "{", `{"version":2}`, `[]`} {
		_, err := models.DecodeFileSet([]byte(data))
		requireCode(t, models.CodeStorage, err)
	}
}

func TestNewID_isKnownByItsFormAndNeverTheSame(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := models.NewID(models.PrefixDeployment)
		require.True(t, models.ValidID(models.PrefixDeployment, id), id)
		require.False(t, seen[id])
		seen[id] = true
	}
	for _, bad := range []string{"", "dep_", "dep_short", "prj_aaaaaaaaaaaaaaaaaaaaaaaaaa", "dep_AAAAAAAAAAAAAAAAAAAAAAAAAA", "dep_aaaaaaaaaaaaaaaaaaaaaaaaa1"} {
		require.False(t, models.ValidID(models.PrefixDeployment, bad), bad)
	}
}

func TestCodes_eachHasAStatusAndAClass(t *testing.T) {
	require.Equal(t, 403, models.CodeQuotaExceeded.HTTPStatus())
	require.Equal(t, models.ClassUser, models.CodeQuotaExceeded.Class())
	require.Equal(t, models.ClassPlatform, models.CodeStorage.Class())
	require.Equal(t, 500, models.Code("UNHEARD_OF").HTTPStatus())
	require.Equal(t, models.ClassPlatform, models.Code("UNHEARD_OF").Class())
}
