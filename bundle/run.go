package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// Run finds the worker of a built project, bundles it and writes the result to
// Dir and AssetsDir below the workspace, an absolute path. What the owner may
// want to know goes to log, a line each. It belongs inside the sandbox: it
// reads what the project's build wrote, through links too, and runs the build
// command of the settings. Errors: ErrNoWorker; models.CodeBuildFailed with
// ErrNotBundled in the chain when log has the messages; models.CodeBuildFailed
// with all there is to say.
func Run(workspace string, req Request, log io.Writer) error {
	for _, dir := range []string{Dir, AssetsDir} {
		if err := os.RemoveAll(filepath.Join(workspace, dir)); err != nil {
			return err
		}
	}
	p, err := find(workspace, req)
	if err != nil {
		return err
	}
	if err := p.runBuild(log); err != nil {
		return err
	}
	if err := p.locate(req.Outputs); err != nil {
		return err
	}
	out := Description{Version: descriptionVersion}
	if p.main != "" {
		if err := p.settleDate(req.LatestDate); err != nil {
			return err
		}
		code, err := p.code(log)
		if err != nil {
			return err
		}
		if out.Worker, err = p.worker(code); err != nil {
			return err
		}
		if err := code.write(filepath.Join(workspace, Dir)); err != nil {
			return err
		}
	}
	if p.assets != "" {
		fmt.Fprintf(log, "Serving the files of %s.\n", p.show(p.assets))
		if err := p.stageAssets(filepath.Join(workspace, AssetsDir)); err != nil {
			return err
		}
		out.Assets = true
	}
	if p.Assets != nil || p.main != "" {
		out.HTMLHandling, out.NotFoundHandling = htmlHandlings[0], notFoundHandlings[0]
	}
	if p.Assets != nil {
		out.HTMLHandling = first(p.Assets.HTMLHandling, out.HTMLHandling)
		out.NotFoundHandling = first(p.Assets.NotFoundHandling, out.NotFoundHandling)
	}
	for _, note := range p.Notes {
		fmt.Fprintln(log, note)
	}
	return writeDescription(filepath.Join(workspace, Dir), out)
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// runBuild runs the command that the settings want run before the worker is
// looked at, as wrangler does.
func (p *plan) runBuild(log io.Writer) error {
	if p.BuildCommand == "" {
		return nil
	}
	fmt.Fprintf(log, "$ %s\n", p.BuildCommand)
	command := exec.Command("sh", "-c", p.BuildCommand)
	command.Dir = p.path(p.BuildDir)
	command.Stdout, command.Stderr = log, log
	err := command.Run()
	if err == nil {
		return nil
	}
	return &models.Error{Code: models.CodeBuildFailed, Cause: ErrNotBundled,
		Message: fmt.Sprintf("The build command of %s failed (%s).", p.File, err)}
}

// settleDate gives every worker a date that the runtime knows.
func (p *plan) settleDate(latest string) error {
	switch {
	case p.CompatibilityDate == "":
		p.CompatibilityDate = DefaultCompatibilityDate
		if latest != "" && latest < p.CompatibilityDate {
			p.CompatibilityDate = latest
		}
		p.note("there is no compatibility_date, so %s is taken; set one to choose when the runtime changes", p.CompatibilityDate)
	case latest == "" || p.CompatibilityDate <= latest:
	case p.Generated:
		// Build tools write the day of the build, which nobody chose.
		p.note("compatibility_date is %s, and the runtime here knows dates up to %s, which is taken", p.CompatibilityDate, latest)
		p.CompatibilityDate = latest
	default:
		return p.errorf("compatibility_date is %s, and the runtime here knows dates up to %s. Set it to that or earlier", p.CompatibilityDate, latest)
	}
	return nil
}

// worker describes the code and its settings.
func (p *plan) worker(code *code) (*models.WorkerBundle, error) {
	w := &models.WorkerBundle{
		Version: 1, CompatibilityDate: p.CompatibilityDate, CompatibilityFlags: p.CompatibilityFlags, Vars: p.Vars, KV: p.KV, Self: p.Self,
	}
	for _, m := range code.modules {
		w.Modules = append(w.Modules, models.WorkerModule{Name: m.name, Type: m.kind})
	}
	if problem := checkModules(w.Modules); problem != "" {
		return nil, p.errorf("the worker %s", problem)
	}
	switch {
	case p.Assets != nil:
		w.Assets = &models.WorkerAssets{Binding: p.Assets.Binding, RunWorkerFirst: p.Assets.RunWorkerFirst}
	case p.assets != "":
		if by := p.namedIn(pagesBinding); by != "" {
			return nil, p.errorf("the name %q in %q is taken: a worker laid out for Pages finds its files under it", pagesBinding, by)
		}
		first, err := p.pagesRoutes()
		if err != nil {
			return nil, err
		}
		w.Assets = &models.WorkerAssets{Binding: pagesBinding, RunWorkerFirst: first}
	}
	return w, nil
}

// pagesBinding is the name of the files in a worker laid out for Pages, where it is
// reserved (https://developers.cloudflare.com/pages/functions/api-reference/#envassetsfetch).
const pagesBinding = "ASSETS"

// pagesRoutes says for which paths a worker laid out for Pages comes before the
// files: _routes.json, else all of them
// (https://developers.cloudflare.com/pages/functions/routing/#create-a-_routesjson-file).
func (p *plan) pagesRoutes() ([]string, error) {
	content, err := os.ReadFile(filepath.Join(p.assets, routesFile))
	if err != nil {
		if filepath.Base(p.main) == pagesWorker {
			return []string{"/*"}, nil
		}
		return nil, nil
	}
	var routes struct{ Include, Exclude []string }
	if err := json.Unmarshal(content, &routes); err != nil {
		return nil, models.Errorf(models.CodeBuildFailed, "%s is not valid JSON (%s).", p.show(filepath.Join(p.assets, routesFile)), err)
	}
	patterns := routes.Include
	for _, pattern := range routes.Exclude {
		patterns = append(patterns, "!"+pattern)
	}
	if len(routes.Include) == 0 {
		return nil, nil
	}
	if problem := checkPatterns(patterns); problem != "" {
		return nil, models.Errorf(models.CodeBuildFailed, "%s %s.", p.show(filepath.Join(p.assets, routesFile)), problem)
	}
	return patterns, nil
}

// code is the modules of a worker, the main one first.
type code struct {
	modules []module
	bytes   int64
	maps    int64
}

type module struct {
	name    string
	kind    models.ModuleType
	content []byte
	// sourceMap is nil for none.
	sourceMap []byte
}

var errTooLarge = fmt.Errorf("is larger than the %d MiB a worker's code may have", MaxModuleBytes>>20)

// add keeps the worker within the limits. A map too many is dropped.
func (c *code) add(m module) error {
	if len(c.modules) >= MaxModules {
		return fmt.Errorf("has more than the %d modules a worker may have", MaxModules)
	}
	if c.bytes += int64(len(m.content)); c.bytes > MaxModuleBytes {
		return errTooLarge
	}
	if c.maps+int64(len(m.sourceMap)) > MaxMapBytes {
		m.sourceMap = nil
	}
	c.maps += int64(len(m.sourceMap))
	c.modules = append(c.modules, m)
	return nil
}

func (c *code) write(dir string) error {
	for _, sub := range []string{"modules", "maps"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	for i, m := range c.modules {
		if err := os.WriteFile(filepath.Join(dir, "modules", strconv.Itoa(i)), m.content, 0o644); err != nil {
			return err
		}
		if m.sourceMap == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "maps", strconv.Itoa(i)), m.sourceMap, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func writeDescription(dir string, out Description) error {
	data, err := json.Marshal(out)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, DescriptionFile), data, 0o644)
}

// code bundles the worker, or collects what is bundled already.
func (p *plan) code(log io.Writer) (*code, error) {
	c := &code{}
	var err error
	if stat, statErr := os.Stat(p.main); p.NoBundle || (statErr == nil && stat.IsDir()) {
		fmt.Fprintf(log, "Taking %s and its modules as they are.\n", p.show(p.main))
		err = p.collectModules(c)
	} else {
		fmt.Fprintf(log, "Bundling %s.\n", p.show(p.main))
		err = p.bundle(c, log)
	}
	if err == nil || errors.Is(err, ErrNotBundled) || models.CodeOf(err) == models.CodeBuildFailed {
		return c, err
	}
	return nil, p.errorf("the worker %s", strings.TrimSuffix(err.Error(), "."))
}
