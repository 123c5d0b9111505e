//go:build ignore

// Command bundle fetches the program of the documentation page from npm
// and puts it, compressed, where the package embeds it. Run by `go generate ./apidocs`.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
)

const (
	module  = "@scalar/api-reference"
	version = "1.72.1"
	// integrity is the registry's sha512 of the tarball, as a lockfile has it.
	integrity = "XpEJ0rfc/cXbCrR+iC4kK0o/WwX2dTtGQbT049OlPKAHD6IMIFdTeGz2r+M27P2EDWKyUITRm/NzlP8z2pw/Ow=="
	member    = "package/dist/browser/standalone.js"
	target    = "bundle/scalar.js.gz"
)

func main() {
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal("documentation bundle: ", err)
	}
}

func run() error {
	if have(target) {
		return nil
	}
	dir, err := os.MkdirTemp("", "slipway-docs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// Packing fetches the one tarball; installing would fetch the several
	// hundred packages that went into the standalone build already.
	npm := exec.Command("npm", "pack", "--silent", "--ignore-scripts", module+"@"+version, "--pack-destination", dir)
	npm.Stderr = os.Stderr
	if err := npm.Run(); err != nil {
		return fmt.Errorf("npm pack: %w", err)
	}
	found, _ := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if len(found) != 1 {
		return errors.New("npm pack left no tarball")
	}
	tarball, err := os.ReadFile(found[0])
	if err != nil {
		return err
	}
	sum := sha512.Sum512(tarball)
	if got := base64.StdEncoding.EncodeToString(sum[:]); got != integrity {
		return fmt.Errorf("%s@%s has sha512 %s, not the pinned one", module, version, got)
	}
	script, err := extract(tarball)
	if err != nil {
		return err
	}
	return write(script)
}

// have says whether target was made from the pinned version.
func have(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	r, err := gzip.NewReader(file)
	return err == nil && r.Comment == module+"@"+version
}

func extract(tarball []byte) ([]byte, error) {
	zipped, err := gzip.NewReader(bytes.NewReader(tarball))
	if err != nil {
		return nil, err
	}
	files := tar.NewReader(zipped)
	for {
		header, err := files.Next()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", member, err)
		}
		if header.Name == member {
			return io.ReadAll(files)
		}
	}
}

// write replaces target in one step, so that a build beside this one embeds the
// whole of it or nothing.
func write(script []byte) error {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return err
	}
	w.Comment = module + "@" + version
	if _, err := w.Write(script); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	next := target + ".next"
	if err := os.WriteFile(next, out.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(next, target)
}
