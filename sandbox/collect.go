package sandbox

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox/guest"
)

// withDefaults fills what is zero.
func (l CollectLimits) withDefaults() CollectLimits {
	fill := func(value *int, fallback int) {
		if *value <= 0 {
			*value = fallback
		}
	}
	fill(&l.MaxFiles, 20_000)
	fill(&l.MaxDepth, 32)
	fill(&l.MaxPathBytes, 512)
	if l.MaxBytes <= 0 {
		l.MaxBytes = 512 << 20
	}
	if l.MaxFileBytes <= 0 {
		l.MaxFileBytes = 64 << 20
	}
	return l
}

// ReadCollected reads what a guest packed and hands over its files. The stream
// is hostile: whatever wrote it may have been taken over by the build. See
// Sandbox.Collect for what is refused.
func ReadCollected(from io.Reader, limits CollectLimits, fn func(Collected) error) error {
	limits = limits.withDefaults()
	in := tar.NewReader(from)
	seen := map[string]bool{}
	var total int64
	for {
		header, err := in.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return streamError(err)
		}
		if err := checkCollected(header, limits); err != nil {
			return err
		}
		if seen[header.Name] {
			return refuse(header.Name, "is there twice")
		}
		seen[header.Name] = true
		if len(seen) > limits.MaxFiles {
			return models.Errorf(models.CodeBuildFailed, "the output has more than %d files", limits.MaxFiles)
		}
		if total += header.Size; total > limits.MaxBytes {
			return models.Errorf(models.CodeBuildFailed, "the output is larger than %d bytes", limits.MaxBytes)
		}
		mode := fs.FileMode(0o644)
		if header.Mode&0o100 != 0 {
			mode = 0o755
		}
		// Size is what a consumer will trust, so a short file is an error.
		content := &exactReader{from: in, left: header.Size}
		if err := fn(Collected{Path: header.Name, Mode: mode, Size: header.Size, Reader: content}); err != nil {
			return err
		}
	}
}

// streamError keeps a coded error that came through the pipe (the packer's
// own refusal); anything else is a stream that makes no sense.
func streamError(err error) error {
	var coded *models.Error
	if errors.As(err, &coded) {
		return err
	}
	return models.Wrap(models.CodeBuildFailed, err, "the output could not be read out of the sandbox whole")
}

func checkCollected(header *tar.Header, limits CollectLimits) error {
	name := header.Name
	switch header.Typeflag {
	case tar.TypeReg:
	case tar.TypeSymlink:
		return refuse(name, fmt.Sprintf("is a symbolic link (to %q); copy the file instead", clip(header.Linkname)))
	case tar.TypeFifo:
		return refuse(name, "is a named pipe")
	case tar.TypeChar, tar.TypeBlock:
		return refuse(name, "is a device")
	default:
		return refuse(name, "is no regular file")
	}
	if err := checkName(name, limits.MaxDepth, limits.MaxPathBytes); err != nil {
		return err
	}
	switch {
	case header.Mode&(0o4000|0o2000) != 0:
		return refuse(name, "has the setuid or setgid bit")
	case header.PAXRecords[guest.SparseRecord] != "":
		return refuse(name, fmt.Sprintf("is a sparse file of %d bytes", header.Size))
	case header.Size < 0 || header.Size > limits.MaxFileBytes:
		return refuse(name, fmt.Sprintf("has %d bytes, more than the %d one file may have", header.Size, limits.MaxFileBytes))
	}
	return nil
}

// checkName accepts names that mean the same everywhere they will be used:
// in a URL, in a log, on another file system.
func checkName(name string, maxDepth, maxBytes int) error {
	switch {
	case !utf8.ValidString(name):
		return refuse(name, "has a name that is not valid UTF-8")
	case len(name) > maxBytes:
		return refuse(name, fmt.Sprintf("has a path longer than %d bytes", maxBytes))
	case strings.ContainsFunc(name, unicode.IsControl):
		return refuse(name, "has a control character in its name")
	case strings.Contains(name, "\\"):
		return refuse(name, "has a backslash in its name")
	case !fs.ValidPath(name) || name == ".":
		return refuse(name, "has a path that leaves the folder")
	case strings.Count(name, "/") > maxDepth:
		return refuse(name, fmt.Sprintf("is more than %d folders deep", maxDepth))
	}
	return nil
}

func refuse(name, why string) error {
	return models.Errorf(models.CodeBuildFailed, "the output file %q %s", clip(name), why)
}

func clip(text string) string {
	const limit = 200
	if len(text) <= limit {
		return text
	}
	return text[:limit] + "…"
}

// exactReader gives exactly left bytes, or a coded error.
type exactReader struct {
	from io.Reader
	left int64
}

func (r *exactReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	n, err := r.from.Read(p)
	r.left -= int64(n)
	switch {
	case errors.Is(err, io.EOF) && r.left == 0:
		err = nil
	case errors.Is(err, io.EOF):
		err = streamError(io.ErrUnexpectedEOF)
	case err != nil:
		err = streamError(err)
	}
	return n, err
}
