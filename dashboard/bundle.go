//go:build ignore

// Command bundle makes the dashboard's program of the sources in src and puts it,
// compressed, where the package embeds it. Run by `go generate ./dashboard`.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/evanw/esbuild/pkg/api"
)

const (
	target = "bundle"
	index  = "files.json"
)

// list is what files.json holds. The package reads it as well.
type list struct {
	// Inputs is the digest of what the files were made of.
	Inputs string `json:"inputs"`
	Script string `json:"script"`
	Style  string `json:"style"`
	// Files are all names, each there as .gz and .br.
	Files []string `json:"files"`
}

func main() {
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal("dashboard bundle: ", err)
	}
}

func run() error {
	inputs, err := digestOf("src", "bundle.go", "package.json", "package-lock.json", "tsconfig.json")
	if err != nil {
		return err
	}
	if have(inputs) {
		return nil
	}
	if err := install(); err != nil {
		return err
	}
	made, err := bundle()
	if err != nil {
		return err
	}
	licenses, err := licenses("preact", "@preact/signals", "@preact/signals-core")
	if err != nil {
		return err
	}
	made["licenses.txt"] = licenses
	return write(inputs, made)
}

// digestOf is one digest of files and folders, by name and content.
func digestOf(roots ...string) (string, error) {
	hash := sha256.New()
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			fmt.Fprintf(hash, "%s %d\n", filepath.ToSlash(path), len(data))
			hash.Write(data)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// have says whether what is there was made of these inputs.
func have(inputs string) bool {
	data, err := os.ReadFile(filepath.Join(target, index))
	var l list
	if err != nil || json.Unmarshal(data, &l) != nil || l.Inputs != inputs {
		return false
	}
	for _, name := range l.Files {
		for _, ending := range []string{".gz", ".br"} {
			if _, err := os.Stat(filepath.Join(target, name+ending)); err != nil {
				return false
			}
		}
	}
	return true
}

// install has npm put what the lockfile says into node_modules, unless it is there.
func install() error {
	lock, err := os.ReadFile("package-lock.json")
	if err != nil {
		return err
	}
	stamp := filepath.Join("node_modules", ".slipway-lock")
	if have, err := os.ReadFile(stamp); err == nil && bytes.Equal(have, lock) {
		return nil
	}
	npm := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
	npm.Stderr = os.Stderr
	if err := npm.Run(); err != nil {
		return fmt.Errorf("npm ci: %w", err)
	}
	return os.WriteFile(stamp, lock, 0o644)
}

// bundle gives the script and the style sheet by the names they are served under.
func bundle() (map[string][]byte, error) {
	result := api.Build(api.BuildOptions{
		EntryPoints: []string{"src/main.tsx", "src/style/main.css"},
		EntryNames:  "[name]-[hash]",
		Outdir:      target,
		Bundle:      true,
		// One file holds all pages; a few kilobytes more are cheaper than another round trip.
		Format:            api.FormatESModule,
		Target:            api.ES2022,
		JSX:               api.JSXAutomatic,
		JSXImportSource:   "preact",
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		Charset:           api.CharsetUTF8,
		LegalComments:     api.LegalCommentsNone,
		LogLevel:          api.LogLevelWarning,
	})
	if len(result.Errors) > 0 {
		return nil, errors.New("esbuild refuses the sources")
	}
	made := make(map[string][]byte, len(result.OutputFiles))
	for _, file := range result.OutputFiles {
		made[filepath.Base(file.Path)] = file.Contents
	}
	return made, nil
}

func licenses(packages ...string) ([]byte, error) {
	var out bytes.Buffer
	for _, name := range packages {
		text, err := os.ReadFile(filepath.Join("node_modules", name, "LICENSE"))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, "%s\n\n%s\n\n", name, bytes.TrimSpace(text))
	}
	return out.Bytes(), nil
}

// write puts the files in place and the list of them last, so that a build beside
// this one embeds a whole program, of before or of now.
func write(inputs string, made map[string][]byte) error {
	l := list{Inputs: inputs}
	for name, content := range made {
		l.Files = append(l.Files, name)
		switch filepath.Ext(name) {
		case ".js":
			l.Script = name
		case ".css":
			l.Style = name
		}
		if err := compress(filepath.Join(target, name), content); err != nil {
			return err
		}
	}
	slices.Sort(l.Files)
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	if err := replace(filepath.Join(target, index), append(data, '\n')); err != nil {
		return err
	}
	return removeOthers(l.Files)
}

func compress(path string, content []byte) error {
	var zipped, br bytes.Buffer
	gz, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		w      io.WriteCloser
		out    *bytes.Buffer
		ending string
	}{{gz, &zipped, ".gz"}, {brotli.NewWriterLevel(&br, brotli.BestCompression), &br, ".br"}} {
		if _, err := c.w.Write(content); err != nil {
			return err
		}
		if err := c.w.Close(); err != nil {
			return err
		}
		if err := replace(path+c.ending, c.out.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

func replace(path string, content []byte) error {
	if err := os.WriteFile(path+".next", content, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".next", path)
}

// removeOthers removes what earlier versions left.
func removeOthers(files []string) error {
	entries, err := os.ReadDir(target)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		if name == index || name == ".gitignore" || name == "README.md" {
			continue
		}
		plain := strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".br")
		if plain != name && slices.Contains(files, plain) {
			continue
		}
		if err := os.Remove(filepath.Join(target, name)); err != nil {
			return err
		}
	}
	return nil
}
