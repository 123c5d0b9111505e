package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestScan_takesInNothingFromOutside(t *testing.T) {
	top := t.TempDir()
	folder := filepath.Join(top, "site")
	writeFile(t, filepath.Join(top, "secret"), "secret")
	writeFile(t, filepath.Join(folder, "real", "a.txt"), "a")
	for link, target := range map[string]string{
		"inside": "real/a.txt", "outside": "../secret", "absolute": filepath.Join(top, "secret"), "folder": "real", "nowhere": "gone", "loop": "loop",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(folder, link)))
	}
	source, err := Scan(t.Context(), folder, DefaultLimits())
	require.NoError(t, err)
	defer source.Close()
	var paths []string
	for _, f := range source.Files {
		paths = append(paths, f.Path)
	}
	require.Equal(t, []string{"inside", "real/a.txt"}, paths)
	require.Equal(t, source.Files[0].Digest, source.Files[1].Digest)
	require.Len(t, source.Skipped, 5)
}

func TestScan_refusesWhatIsTooBigAndNamesIt(t *testing.T) {
	folder := t.TempDir()
	writeFile(t, filepath.Join(folder, "big.bin"), strings.Repeat("x", 101))
	writeFile(t, filepath.Join(folder, strings.Repeat("d", 40), "f"), "x")
	_, err := Scan(t.Context(), folder, Limits{Files: 10, FileBytes: 100, PathBytes: 40})
	require.ErrorContains(t, err, "big.bin: 101 B is more than the 100 B a file may have")
	require.ErrorContains(t, err, "must be 40 bytes or less")
	require.ErrorContains(t, err, ".gitignore")

	many := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		writeFile(t, filepath.Join(many, name), name)
	}
	_, err = Scan(t.Context(), many, Limits{Files: 2, FileBytes: 100, PathBytes: 40})
	require.ErrorContains(t, err, "more than 2 files")
}

func TestScan_followsTheRulesOfTheRepositoryAround(t *testing.T) {
	top := t.TempDir()
	makeRepository(t, top)
	writeFile(t, filepath.Join(top, ".gitignore"), "*.log\n/apps/web/tmp\ndist/\n")
	writeFile(t, filepath.Join(top, "apps", ".gitignore"), "!keep.log\n")
	for _, name := range []string{"index.html", "a.log", "keep.log", "tmp/x", "dist/y.js"} {
		writeFile(t, filepath.Join(top, "apps", "web", name), name)
	}
	require.Equal(t, []string{"index.html", "keep.log"}, listed(t, filepath.Join(top, "apps", "web")))
	// A folder that is itself excluded was named on purpose.
	require.Equal(t, []string{"y.js"}, listed(t, filepath.Join(top, "apps", "web", "dist")))
}

func TestSource_noticesAFileThatChanged(t *testing.T) {
	folder := t.TempDir()
	writeFile(t, filepath.Join(folder, "a"), "one")
	source, err := Scan(t.Context(), folder, DefaultLimits())
	require.NoError(t, err)
	defer source.Close()
	writeFile(t, filepath.Join(folder, "a"), "two")
	_, err = source.Read(source.Files[0])
	require.ErrorContains(t, err, "changed while it was being sent")
}
