package sandbox

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox/guest"
)

// stream writes headers as a guest that was taken over might.
func stream(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	to := tar.NewWriter(&out)
	for _, header := range headers {
		require.NoError(t, to.WriteHeader(&header))
		_, err := to.Write(bytes.Repeat([]byte("x"), int(header.Size)))
		require.NoError(t, err)
	}
	require.NoError(t, to.Close())
	return out.Bytes()
}

func file(name string, size int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, Format: tar.FormatPAX}
}

func discard(file Collected) error {
	_, err := io.Copy(io.Discard, file.Reader)
	return err
}

func TestReadCollected_refusesAStreamThatLies(t *testing.T) {
	link := tar.Header{Typeflag: tar.TypeLink, Name: "hard", Linkname: "/etc/passwd"}
	sparse := file("s", 1)
	sparse.PAXRecords = map[string]string{guest.SparseRecord: "1"}
	for name, lie := range map[string][]byte{
		"an absolute path":   stream(t, file("/etc/x", 1)),
		"a path upwards":     stream(t, file("a/../../x", 1)),
		"the same path":      stream(t, file("a", 1), file("a", 1)),
		"a hard link":        stream(t, link),
		"a sparse file":      stream(t, sparse),
		"a cut stream":       stream(t, file("a", 4000))[:2000],
		"no tar at all":      bytes.Repeat([]byte("no tar "), 1000),
		"a folder as file":   stream(t, tar.Header{Typeflag: tar.TypeDir, Name: "d/"}),
		"an empty path part": stream(t, file("a//b", 1)),
	} {
		t.Run(name, func(t *testing.T) {
			err := ReadCollected(bytes.NewReader(lie), CollectLimits{}, discard)
			require.Equal(t, models.CodeBuildFailed, models.CodeOf(err), "%v", err)
		})
	}
}

func TestReadCollected_letsAConsumerSkipContent(t *testing.T) {
	var seen []string
	err := ReadCollected(bytes.NewReader(stream(t, file("a", 5000), file("b", 1))), CollectLimits{}, func(f Collected) error {
		seen = append(seen, f.Path)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, seen)
}

func TestPublishTree_staysBelowItsFolderWhateverTheStreamSays(t *testing.T) {
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	require.NoError(t, os.WriteFile(victim, []byte("unharmed"), 0o600))
	toOutside := tar.Header{Typeflag: tar.TypeSymlink, Name: "out", Linkname: outside}
	toVictim := tar.Header{Typeflag: tar.TypeSymlink, Name: "file", Linkname: victim}
	for name, hostile := range map[string][]byte{
		"a file through a link":    stream(t, toOutside, file("out/planted", 1)),
		"a folder through a link":  stream(t, toOutside, tar.Header{Typeflag: tar.TypeDir, Name: "out/planted/"}),
		"a link through a link":    stream(t, toOutside, tar.Header{Typeflag: tar.TypeSymlink, Name: "out/planted", Linkname: "x"}),
		"over a link":              stream(t, toVictim, file("file", 8)),
		"a folder over a link":     stream(t, toOutside, tar.Header{Typeflag: tar.TypeDir, Name: "out/", Mode: 0o777}),
		"a path upwards":           stream(t, file("../planted", 1)),
		"an absolute path":         stream(t, file(filepath.Join(outside, "planted"), 1)),
		"a hard link":              stream(t, tar.Header{Typeflag: tar.TypeLink, Name: "hard", Linkname: victim}),
		"a device":                 stream(t, tar.Header{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}),
		"a named pipe":             stream(t, tar.Header{Typeflag: tar.TypeFifo, Name: "pipe"}),
		"more bytes than the disk": stream(t, file("a", 600), file("b", 600)),
		"a cut stream":             stream(t, file("a", 900))[:1000],
		"the folder itself":        stream(t, tar.Header{Typeflag: tar.TypeDir, Name: "./"}),
	} {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			err := publish(bytes.NewReader(hostile), filepath.Join(parent, "snapshot"), Owner{-1, -1}, 1000)
			require.Error(t, err)
			left, err := os.ReadDir(parent)
			require.NoError(t, err)
			require.Empty(t, left, "nothing half-made")
			entries, err := os.ReadDir(outside)
			require.NoError(t, err)
			require.Len(t, entries, 1)
			content, err := os.ReadFile(victim)
			require.NoError(t, err)
			require.Equal(t, "unharmed", string(content))
		})
	}
}

func TestPublishTree_keepsPermissionBitsOnly(t *testing.T) {
	suid := file("suid", 3)
	suid.Mode = 0o6755
	dest := filepath.Join(t.TempDir(), "deep", "snapshot")
	tree := stream(t, tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o1555}, file("d/f", 2), suid,
		tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "d/f"})
	require.NoError(t, publish(bytes.NewReader(tree), dest, Owner{-1, -1}, 1000))
	for name, mode := range map[string]fs.FileMode{"suid": 0o755, "d": fs.ModeDir | 0o755, "d/f": 0o644} {
		stat, err := os.Lstat(filepath.Join(dest, name))
		require.NoError(t, err)
		require.Equal(t, mode, stat.Mode(), name)
	}
	target, err := os.Readlink(filepath.Join(dest, "l"))
	require.NoError(t, err)
	require.Equal(t, "d/f", target)
	// A second publisher of the same snapshot changes nothing.
	require.NoError(t, publish(bytes.NewReader(stream(t, file("other", 1))), dest, Owner{-1, -1}, 1000))
	require.NoFileExists(t, filepath.Join(dest, "other"))
}

func TestPublishTree_removesWhatKilledPublishersLeft(t *testing.T) {
	parent := t.TempDir()
	stale, fresh := filepath.Join(parent, ".publishing-1"), filepath.Join(parent, ".publishing-2")
	require.NoError(t, os.MkdirAll(filepath.Join(stale, "vite"), 0o755))
	require.NoError(t, os.Mkdir(fresh, 0o755))
	yesterday := time.Now().Add(-24 * time.Hour)
	require.NoError(t, os.Chtimes(stale, yesterday, yesterday))
	require.NoError(t, publish(bytes.NewReader(stream(t, file("a", 1))), filepath.Join(parent, "snapshot"), Owner{-1, -1}, 1000))
	require.NoDirExists(t, stale)
	require.DirExists(t, fresh)
}

func TestWriteUpload_endsWithTheSourcesError(t *testing.T) {
	broken := errors.New("away")
	err := WriteUpload(io.Discard, func(yield func(File, error) bool) {
		yield(File{Path: "a", Size: 1, Open: func() (io.ReadCloser, error) { return nil, broken }}, nil)
	})
	require.ErrorIs(t, err, broken)
}

func FuzzReadCollected(f *testing.F) {
	for _, seed := range fuzzSeeds(f) {
		f.Add(seed)
	}
	limits := CollectLimits{MaxFiles: 10, MaxBytes: 10_000, MaxFileBytes: 5_000, MaxDepth: 3, MaxPathBytes: 100}
	f.Fuzz(func(t *testing.T, hostile []byte) {
		var total int64
		count := 0
		_ = ReadCollected(bytes.NewReader(hostile), limits, func(file Collected) error {
			n, err := io.Copy(io.Discard, file.Reader)
			total += n
			count++
			if !fs.ValidPath(file.Path) || len(file.Path) > 100 || strings.Count(file.Path, "/") > 3 {
				t.Fatalf("path %q", file.Path)
			}
			if err == nil && n != file.Size {
				t.Fatalf("%d bytes of %d", n, file.Size)
			}
			if file.Mode != 0o644 && file.Mode != 0o755 {
				t.Fatalf("mode %v", file.Mode)
			}
			return err
		})
		if total > 10_000 || count > 10 {
			t.Fatalf("%d bytes in %d files", total, count)
		}
	})
}

// publish writes a tree and commits it.
func publish(from io.Reader, dest string, owner Owner, maxBytes int64) error {
	commit, err := PublishTree(from, dest, owner, maxBytes)
	if err != nil {
		return err
	}
	return commit()
}

func FuzzPublishTree(f *testing.F) {
	for _, seed := range fuzzSeeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, hostile []byte) {
		parent := t.TempDir()
		dest := filepath.Join(parent, "in", "snapshot")
		_ = publish(bytes.NewReader(hostile), dest, Owner{-1, -1}, 10_000)
		entries, err := os.ReadDir(parent)
		if err != nil || len(entries) != 1 {
			t.Fatalf("outside: %v, %v", entries, err)
		}
		_ = filepath.WalkDir(filepath.Join(parent, "in"), func(name string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type()&^(fs.ModeDir|fs.ModeSymlink) != 0 {
				t.Fatalf("%s is %v", name, entry.Type())
			}
			var stat unix.Stat_t
			if unix.Lstat(name, &stat) == nil && stat.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 {
				t.Fatalf("%s has mode %o", name, stat.Mode)
			}
			return nil
		})
	})
}

func fuzzSeeds(f *testing.F) [][]byte {
	return [][]byte{
		stream(f, file("a/b", 600), file("c", 1)),
		stream(f, tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o4777}, file("d/x", 3)),
		stream(f, tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: ".."}, file("l/x", 3)),
		stream(f, file("../x", 1)),
	}
}
