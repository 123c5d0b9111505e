package sandbox

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// WriteUpload writes files as the tar stream a guest unpacks. A file with a
// path that is not local to the workspace is models.CodeValidation; an error
// of the iterator is returned as it is.
func WriteUpload(to io.Writer, files iter.Seq2[File, error]) error {
	out := tar.NewWriter(to)
	for file, err := range files {
		if err != nil {
			return err
		}
		if err := writeFile(out, file); err != nil {
			return err
		}
	}
	return out.Close()
}

func writeFile(out *tar.Writer, file File) error {
	if !fs.ValidPath(file.Path) || file.Path == "." || strings.ContainsAny(file.Path, "\\\x00") {
		return models.Errorf(models.CodeValidation, "the path %q is not inside the project", file.Path)
	}
	mode := file.Mode.Perm()
	if mode == 0 {
		mode = 0o644
	}
	content, err := file.Open()
	if err != nil {
		return fmt.Errorf("open %s: %w", file.Path, err)
	}
	defer content.Close()
	header := tar.Header{Typeflag: tar.TypeReg, Name: file.Path, Mode: int64(mode), Size: file.Size, Format: tar.FormatPAX}
	if err := out.WriteHeader(&header); err != nil {
		return err
	}
	// CopyN, not Copy: the size is part of the header already.
	if _, err := io.CopyN(out, content, file.Size); err != nil {
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s is shorter than its %d bytes: %w", file.Path, file.Size, io.ErrUnexpectedEOF)
		}
		return err
	}
	return nil
}
