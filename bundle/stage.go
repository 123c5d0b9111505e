package bundle

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	routesFile  = "_routes.json"
	pagesWorker = "_worker.js"
)

// stageAssets puts the files to serve into dir. Links cost nothing, and what is
// no regular file goes along for the host to refuse by its name.
func (p *plan) stageAssets(dir string) error {
	ignored := p.ignoredAssets()
	if p.assets == p.root {
		p.note("the folder of the assets is the project itself, so its sources are served too; name a folder of their own, or list what to leave out in %s", IgnoreFile)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return filepath.WalkDir(p.assets, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if file == p.assets {
			return nil
		}
		name, err := filepath.Rel(p.assets, file)
		if err != nil {
			return err
		}
		if p.notServed(file, name) || (!isRules(name) && ignored.match(name, entry.IsDir())) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.IsDir() {
			return os.Mkdir(filepath.Join(dir, name), 0o755)
		}
		return link(file, filepath.Join(dir, name), entry)
	})
}

func (p *plan) ignoredAssets() ignoreList {
	content, err := os.ReadFile(filepath.Join(p.assets, IgnoreFile))
	if err != nil || len(content) > MaxIgnoreBytes {
		return nil
	}
	return parseIgnore(string(content))
}

// notServed says what is never an asset, whatever .assetsignore says: it would
// show the server's code, its settings or a secret.
func (p *plan) notServed(file, name string) bool {
	base := filepath.Base(name)
	switch {
	case file == p.main, name == pagesWorker, name == IgnoreFile:
		return true
	case name == routesFile && p.pages:
		return true
	case base == ".dev.vars", strings.HasPrefix(base, ".dev.vars."), base == ".env", strings.HasPrefix(base, ".env."):
		return true
	}
	if p.assets == p.root {
		switch {
		case strings.HasPrefix(base, ".") && base != ".well-known":
			return true
		case name == "slipway.json", name == "package.json", name == "tsconfig.json", strings.Contains(base, "-lock.") && name == base, name == "yarn.lock", name == "bun.lock":
			return true
		}
	}
	switch base {
	case "wrangler.json", "wrangler.jsonc", "wrangler.toml", "node_modules", ".git", ".wrangler", ".slipway", ".DS_Store":
		return true
	}
	return false
}

// link makes file appear at to.
func link(file, to string, entry fs.DirEntry) error {
	if os.Link(file, to) == nil {
		return nil
	}
	// Another file system, or one without links.
	if entry.Type()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(file)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	}
	from, err := os.Open(file)
	if err != nil {
		return err
	}
	defer from.Close()
	copied, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(copied, from)
	if closeErr := copied.Close(); err == nil {
		err = closeErr
	}
	return err
}
