package guest

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
)

// unpackMain reads a tar stream of regular files from stdin into a folder,
// replacing what is there. os.Root keeps every write below it, whatever links
// an earlier command planted.
func unpackMain(args []string) error {
	if len(args) != 1 {
		return errors.New("unpack takes one folder")
	}
	root, err := os.OpenRoot(args[0])
	if err != nil {
		return err
	}
	defer root.Close()
	in := tar.NewReader(os.Stdin)
	for {
		header, err := in.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the upload: %w", err)
		}
		if err := unpackFile(root, header, in); err != nil {
			return err
		}
	}
}

func unpackFile(root *os.Root, header *tar.Header, in io.Reader) error {
	name := header.Name
	if folder := path.Dir(name); folder != "." {
		if err := root.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
	}
	// A file there is replaced, not written through.
	if err := root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	mode := os.FileMode(header.Mode).Perm()
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	_, err = io.Copy(file, in)
	if err == nil {
		err = file.Chmod(mode)
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
