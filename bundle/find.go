package bundle

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// redirectFile is how build tools (the Vite plugin, Nitro, Astro) say where the
// settings are that they generated
// (https://developers.cloudflare.com/workers/wrangler/configuration/#generated-wrangler-configuration).
const redirectFile = ".wrangler/deploy/config.json"

// plan is what will be bundled and served, with paths of this machine.
type plan struct {
	workspace, root string
	*Settings
	// dir is the folder that paths in the settings are relative to.
	dir string
	// main is a file, or a folder of modules with an index.js; "" for no worker.
	main   string
	assets string
	// pages says that the output is laid out as for Cloudflare Pages.
	pages bool
}

// find reads the settings that count after the build.
func find(workspace string, req Request) (*plan, error) {
	p := &plan{workspace: workspace, root: filepath.Join(workspace, filepath.FromSlash(req.Root))}
	if err := p.readSettings(req.Settings); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *plan) readSettings(own string) error {
	file, generated, err := p.redirect()
	if err != nil {
		return err
	}
	if file == "" && own != "" {
		file = filepath.Join(p.root, filepath.FromSlash(own))
	}
	if file == "" {
		p.Settings, p.dir = newSettings("The build's output"), p.root
		p.Generated = true
		return nil
	}
	content, err := os.ReadFile(file)
	switch {
	case err != nil && generated:
		return models.Errorf(models.CodeBuildFailed, "%s names %s, which is not there after the build.", redirectFile, p.show(file))
	case err != nil:
		return models.Errorf(models.CodeBuildFailed, "%s is not there any more after the build.", p.show(file))
	}
	p.Settings, err = parseSettings(p.show(file), content, generated)
	p.dir = filepath.Dir(file)
	return err
}

// redirect gives the settings file that a build tool generated; "" for none.
func (p *plan) redirect() (file string, generated bool, err error) {
	where := filepath.Join(p.root, filepath.FromSlash(redirectFile))
	content, err := os.ReadFile(where)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	var redirect struct {
		ConfigPath       string            `json:"configPath"`
		AuxiliaryWorkers []json.RawMessage `json:"auxiliaryWorkers"`
	}
	if err := json.Unmarshal(content, &redirect); err != nil || redirect.ConfigPath == "" {
		return "", false, models.Errorf(models.CodeBuildFailed, "%s must be a JSON object with a configPath.", redirectFile)
	}
	if len(redirect.AuxiliaryWorkers) > 0 {
		return "", false, models.Errorf(models.CodeBuildFailed,
			"The build made %d workers beside the main one (auxiliaryWorkers), and a project has one. Deploy the others as projects of their own.", len(redirect.AuxiliaryWorkers))
	}
	file = filepath.FromSlash(redirect.ConfigPath)
	if !filepath.IsAbs(file) {
		file = filepath.Join(filepath.Dir(where), file)
	}
	return file, true, nil
}

// locate finds the worker and the assets, after the settings' own build command.
func (p *plan) locate(outputs []Output) error {
	if p.Assets != nil && p.Assets.Directory != "" {
		p.assets = p.path(p.Assets.Directory)
	}
	if err := p.locateMain(outputs); err != nil {
		return err
	}
	if p.Assets != nil && p.assets == "" {
		return p.errorf("\"assets\" names no directory. Set assets.directory to the folder with the files")
	}
	if err := p.checkAssets(); err != nil {
		return err
	}
	if p.main == "" && p.assets == "" {
		return ErrNoWorker
	}
	return nil
}

func (p *plan) locateMain(outputs []Output) error {
	if p.Main == "" {
		return p.takeOutput(outputs)
	}
	p.main = p.path(p.Main)
	switch {
	case filepath.Ext(p.main) == ".py":
		return p.errorf("main is a Python file; workers are written in JavaScript or TypeScript here")
	case isFile(p.main):
		return nil
	case filepath.Base(p.main) == pagesWorker && isFile(filepath.Join(p.main, "index.js")):
		return nil
	}
	return p.errorf("main is %q, which is not there after the build. Set it to the worker's first file", p.Main)
}

// takeOutput takes the first worker that a framework, or a build for Pages, left.
func (p *plan) takeOutput(outputs []Output) error {
	if p.PagesOutput != "" {
		dir := p.path(p.PagesOutput)
		if exists(filepath.Join(p.root, "functions")) {
			return p.errorf("the folder functions is for Pages Functions, which are not supported. Write a worker instead: %s/_worker.js, or a file that main names", strings.Trim(p.PagesOutput, "./"))
		}
		if p.assets == "" {
			p.assets, p.pages = dir, true
		}
		if main := filepath.Join(dir, pagesWorker); exists(main) {
			p.main, p.pages = main, true
		}
		return nil
	}
	for _, out := range outputs {
		main := filepath.Join(p.root, filepath.FromSlash(out.Main))
		if !isFile(main) && !isFile(filepath.Join(main, "index.js")) {
			continue
		}
		// Frameworks give the file; a folder of that name is known as one module.
		if dir := filepath.Dir(main); filepath.Base(dir) == pagesWorker && filepath.Base(main) == "index.js" {
			main = dir
		}
		p.main, p.pages = main, true
		if p.assets == "" && out.Assets != "" {
			if dir := filepath.Join(p.root, filepath.FromSlash(out.Assets)); exists(dir) {
				p.assets = dir
			}
		}
		return nil
	}
	return nil
}

func (p *plan) checkAssets() error {
	if p.assets == "" {
		return nil
	}
	inside, err := filepath.Rel(p.workspace, p.assets)
	if err != nil || !filepath.IsLocal(inside) {
		return p.errorf("the folder of the assets, %s, is outside the project", p.show(p.assets))
	}
	if stat, err := os.Stat(p.assets); err == nil && stat.IsDir() {
		return nil
	}
	if p.main == "" || !p.Generated {
		return p.errorf("the folder of the assets, %s, is not there after the build; set assets.directory to the one with the files, or remove it", p.show(p.assets))
	}
	// No mistake: Vite makes the folder only when there is something to put in.
	p.note("the folder of the assets, %s, is not there after the build", p.show(p.assets))
	p.assets = ""
	return nil
}

// path resolves a path of the settings.
func (p *plan) path(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(p.dir, filepath.FromSlash(name))
}

// show gives a path as the project's owner knows it.
func (p *plan) show(file string) string {
	if short, err := filepath.Rel(p.root, file); err == nil {
		return filepath.ToSlash(short)
	}
	return file
}

func isFile(name string) bool {
	stat, err := os.Stat(name)
	return err == nil && stat.Mode().IsRegular()
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
