package activities

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/bundle"
	"github.com/slipwayhq/slipway/framework"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
)

// Build turns the source into files to serve, and gives the sandbox back.
// Running it twice is harmless: a second attempt starts from a fresh sandbox,
// its output is addressed by content, and the log goes on with a line that says so.
func (a *Activities) Build(ctx context.Context, in models.StepInput) (result models.BuildResult, err error) {
	log, err := a.openLog(ctx, in.Deployment.DeploymentID)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()

	switch {
	case in.Sync.CachedOutput != "":
		return a.reuseOutput(ctx, in, log)
	case !in.Sync.NeedsSandbox:
		return a.publishSource(ctx, in, log)
	default:
		defer a.destroySandbox(ctx, in.Deployment.DeploymentID)
		began := time.Now()
		result, err = a.runBuild(ctx, in, log)
		a.chargeBuild(ctx, in.Deployment.DeploymentID, models.StepBuild, began, err)
		a.measures.builds.WithLabelValues(in.Sync.Framework, resultOf(err)).Observe(time.Since(began).Seconds())
		return result, err
	}
}

// reuseOutput answers with what an earlier build of the same source made. When
// that is not whole any more, it returns no output, and the workflow builds.
func (a *Activities) reuseOutput(ctx context.Context, in models.StepInput, log *buildLog) (models.BuildResult, error) {
	org := in.Deployment.OrgID
	set, whole, err := a.wholeOutput(ctx, org, in.Sync.CachedOutput)
	if err != nil {
		return models.BuildResult{}, err
	}
	if !whole {
		log.Line("The output of the earlier build is not whole any more; building again.")
		return models.BuildResult{}, a.Store.ForgetOutput(ctx, org, a.cacheKey(in.Sync.SourceDigest))
	}
	if err := a.Store.KeepOutput(ctx, in.Deployment.DeploymentID, in.Sync.CachedOutput); err != nil {
		return models.BuildResult{}, err
	}
	line := fmt.Sprintf("Nothing changed since an earlier build: its output is used again (%s).", describe(set))
	log.Line(line)
	return buildResult(in.Sync.CachedOutput, set, true, line), nil
}

// publishSource takes the source itself as the output: plain files.
func (a *Activities) publishSource(ctx context.Context, in models.StepInput, log *buildLog) (models.BuildResult, error) {
	org := in.Deployment.OrgID
	source, err := a.readFileSet(ctx, org, in.Sync.SourceDigest)
	if err != nil {
		return models.BuildResult{}, err
	}
	files := a.source(ctx, org, source)
	plan, err := framework.Detect(files)
	if err != nil {
		return models.BuildResult{}, err
	}
	logPlan(log, plan)
	dir, err := framework.FindOutput(plan, files.hasDir)
	if err != nil {
		return models.BuildResult{}, badOutput("no_output", err)
	}
	set := models.FileSet{Serve: serveSettings(plan)}
	for _, f := range source.Files {
		if name, ok := within(dir, f.Path); ok && taken(plan, dir, name) {
			f.Path = name
			set.Files = append(set.Files, f)
		}
	}
	if set.Files, err = a.withoutIgnored(ctx, org, set.Files); err != nil {
		return models.BuildResult{}, err
	}
	if len(set.Files) == 0 {
		return models.BuildResult{}, badOutput("no_output", models.Errorf(models.CodeBuildFailed, "There is no file to serve in %q.", dir))
	}
	return a.finish(ctx, in, set, log)
}

// hasDir says whether the source has files below that folder.
func (s *sourceFiles) hasDir(dir string) bool {
	for p := range s.files {
		if _, ok := within(dir, p); ok {
			return true
		}
	}
	return false
}

// within gives a path relative to a folder; ok is false when it is not in it.
func within(dir, file string) (string, bool) {
	if dir = path.Clean(dir); dir == "." {
		return file, true
	}
	return strings.CutPrefix(file, dir+"/")
}

// runBuild installs and builds in the sandbox and collects the output.
func (a *Activities) runBuild(ctx context.Context, in models.StepInput, log *buildLog) (models.BuildResult, error) {
	attempt := activity.GetInfo(ctx).Attempt
	if attempt > 1 {
		log.Line(fmt.Sprintf("Attempt %d: starting again in a new sandbox.", attempt))
	}
	w, err := a.openWorkspace(ctx, in, attempt > 1)
	if err != nil {
		return models.BuildResult{}, err
	}
	defer w.publishing.Wait()
	logPlan(log, w.plan)
	if err := a.install(ctx, w, log); err != nil {
		return models.BuildResult{}, err
	}
	if w.plan.Build != nil {
		if err := a.run(ctx, w, framework.PhaseBuild, w.plan.Build, w.plan.Root, log); err != nil {
			return models.BuildResult{}, err
		}
	}
	set, err := a.output(ctx, in.Deployment.OrgID, w, log)
	if err != nil {
		return models.BuildResult{}, err
	}
	return a.finish(ctx, in, set, log)
}

// output is what the build made: a worker with its assets, or files.
func (a *Activities) output(ctx context.Context, org string, w *workspace, log *buildLog) (models.FileSet, error) {
	if w.plan.Worker != nil {
		if set, found, err := a.collectWorker(ctx, org, w, log); err != nil || found {
			return set, err
		}
	}
	return a.collect(ctx, org, w)
}

func logPlan(log *buildLog, plan framework.Plan) {
	line := "Detected " + plan.Title
	if plan.PackageManager != "" {
		line += " with " + plan.PackageManager
	}
	log.Line(line + ".")
	for _, note := range plan.Notes {
		log.Line(note)
	}
}

// install brings the dependencies: from a snapshot, or from the registry, after
// which the result becomes a snapshot.
func (a *Activities) install(ctx context.Context, w *workspace, log *buildLog) error {
	if w.plan.Install == nil {
		return nil
	}
	if w.installed {
		log.Line("Dependencies are as in an earlier install; using its snapshot.")
		// They may write outside node_modules, so a snapshot does not replace them.
		for _, script := range w.plan.InstallScripts {
			if err := a.run(ctx, w, framework.PhaseInstall, script, w.plan.InstallDir, log); err != nil {
				return err
			}
		}
		return nil
	}
	if err := a.run(ctx, w, framework.PhaseInstall, w.plan.Install, w.plan.InstallDir, log); err != nil {
		return err
	}
	if w.snapshot == "" {
		return nil
	}
	commit, err := w.box.PublishModules(ctx, filepath.Join(a.snapshots.dir, w.snapshot))
	switch {
	case errors.Is(err, fs.ErrNotExist): // nothing was installed
	case err != nil && ctx.Err() != nil:
		return err
	case err != nil:
		a.notPublished(w.snapshot, err)
	default:
		// It reaches the disk while the build runs.
		w.publishing.Go(func() {
			if err := commit(); err != nil {
				a.notPublished(w.snapshot, err)
			}
		})
	}
	return nil
}

// notPublished notes that the next install will not be spared; the build goes on.
func (a *Activities) notPublished(snapshot string, err error) {
	a.Log.WithField("snapshot", snapshot).WithError(err).Warn("install snapshot not published")
}

// run executes one command of the build and turns a failure into a diagnosis.
func (a *Activities) run(ctx context.Context, w *workspace, phase string, args []string, dir string, log *buildLog) error {
	command := strings.Join(args, " ")
	log.Line("$ " + command)
	log.Forget()
	started := time.Now()
	result, err := w.box.Exec(ctx, sandbox.Command{Args: args, Env: w.plan.Env, Dir: dir, Stdout: log, Stderr: log})
	if err != nil {
		return err
	}
	took := time.Since(started).Round(100 * time.Millisecond)
	if result.ExitCode == 0 {
		log.Line(fmt.Sprintf("(%s)", took))
		return nil
	}
	log.Line(fmt.Sprintf("%s ended with exit code %d after %s.", command, result.ExitCode, took))
	return failedBuild(framework.Failure{
		Step: phase, Command: command, ExitCode: result.ExitCode, Tail: log.Tail(), LimitHit: string(result.LimitHit), Plan: w.plan,
	})
}

// failedBuild is the user's failure with what to do about it.
func failedBuild(f framework.Failure) error {
	d := framework.Diagnose(f)
	return models.Errorf(models.CodeBuildFailed, "%s ended with exit code %d. %s", f.Command, f.ExitCode, d.Advice).WithDetails(&d)
}

// badOutput gives the user's failure in collecting the output the form of a
// diagnosis; other errors, and none, pass.
func badOutput(cause string, err error) error {
	if err == nil || models.CodeOf(err) != models.CodeBuildFailed {
		return err
	}
	d := models.Diagnosis{Step: framework.PhaseCollect, Cause: cause, Advice: models.MessageOf(err)}
	return models.Errorf(models.CodeBuildFailed, "%s", d.Advice).WithDetails(&d)
}

// collect takes the output out of the sandbox into blobs.
func (a *Activities) collect(ctx context.Context, org string, w *workspace) (models.FileSet, error) {
	exists, err := a.outputFolders(ctx, w)
	if err != nil {
		return models.FileSet{}, err
	}
	dir, err := framework.FindOutput(w.plan, func(dir string) bool { return exists[dir] })
	if err != nil {
		return models.FileSet{}, badOutput("no_output", err)
	}
	files, err := a.collectDir(ctx, org, w.box, dir, func(name string, _ []byte) bool {
		return taken(w.plan, dir, name)
	})
	if err != nil {
		return models.FileSet{}, badOutput("refused_output", err)
	}
	files, err = a.withoutIgnored(ctx, org, files)
	return models.FileSet{Files: files, Serve: serveSettings(w.plan)}, err
}

// taken says whether a file of the output folder is looked at: what is published,
// and what says which of it not to.
func taken(plan framework.Plan, dir, name string) bool {
	return name == bundle.IgnoreFile || framework.Published(plan, dir, name)
}

// withoutIgnored leaves out what an .assetsignore among the files names.
func (a *Activities) withoutIgnored(ctx context.Context, org string, files []models.File) ([]models.File, error) {
	for _, f := range files {
		if f.Path != bundle.IgnoreFile || f.Size > bundle.MaxIgnoreBytes {
			continue
		}
		content, err := blob.ReadAll(ctx, a.Blobs, blob.Key{Scope: org, Digest: f.Digest}, bundle.MaxIgnoreBytes)
		if err != nil {
			return nil, storageFault(err)
		}
		ignored := bundle.Ignored(content)
		return slices.DeleteFunc(files, func(f models.File) bool { return ignored(f.Path) }), nil
	}
	return files, nil
}

// outputFolders asks inside the sandbox which of the folders where output may
// be have something in them. The answer only chooses what is collected; what is
// found there is not believed.
func (a *Activities) outputFolders(ctx context.Context, w *workspace) (map[string]bool, error) {
	const script = `for d; do [ -d "$d" ] && [ -n "$(ls -A "$d")" ] && printf '%s\n' "$d"; done; true`
	args := []string{"sh", "-c", script, "sh"}
	for _, dir := range append(append([]string{}, w.plan.OutputDirs...), w.plan.ServerDirs...) {
		args = append(args, path.Join(w.plan.Root, dir))
	}
	var out bytes.Buffer
	if _, err := w.box.Exec(ctx, sandbox.Command{Args: args, Stdout: &out, Timeout: time.Minute}); err != nil {
		return nil, err
	}
	exists := map[string]bool{}
	for _, line := range strings.Split(out.String(), "\n") {
		exists[line] = line != ""
	}
	return exists, nil
}

// maxStores bounds how many output files are stored at once, and maxStoreBytes the
// memory they take: at least as much as one file may have.
const (
	maxStores     = 8
	maxStoreBytes = 64 << 20
)

// collectDir stores the files of one folder for which keep says so. What comes
// out of a sandbox is hostile input: Collect refuses everything but regular
// files within limits.
func (a *Activities) collectDir(ctx context.Context, org string, box sandbox.Sandbox, dir string, keep func(name string, data []byte) bool) ([]models.File, error) {
	var files []models.File
	var mu sync.Mutex
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(maxStores)
	memory := semaphore.NewWeighted(maxStoreBytes)
	err := box.Collect(ctx, dir, sandbox.CollectLimits{MaxFileBytes: maxStoreBytes}, func(f sandbox.Collected) error {
		if err := memory.Acquire(groupCtx, f.Size); err != nil {
			return err
		}
		data := make([]byte, f.Size)
		_, err := io.ReadFull(f.Reader, data)
		if err != nil || !keep(f.Path, data) {
			memory.Release(f.Size)
			return err
		}
		file := models.File{Path: f.Path, Size: f.Size}
		group.Go(func() error {
			defer memory.Release(f.Size)
			key, err := blob.PutBytes(groupCtx, a.Blobs, org, data)
			if err != nil {
				return err
			}
			file.Digest = key.Digest
			mu.Lock()
			defer mu.Unlock()
			files = append(files, file)
			return nil
		})
		return groupCtx.Err()
	})
	// A failed store cancels groupCtx, so its own error says more.
	if stored := group.Wait(); stored != nil {
		return nil, stored
	}
	return files, err
}

// finish stores the list of output files and remembers it for the same source.
func (a *Activities) finish(ctx context.Context, in models.StepInput, set models.FileSet, log *buildLog) (models.BuildResult, error) {
	org := in.Deployment.OrgID
	digest, err := a.writeFileSet(ctx, org, set)
	if err != nil {
		return models.BuildResult{}, err
	}
	// The cache may be given another build's output of the same source meanwhile.
	if err := a.Store.KeepOutput(ctx, in.Deployment.DeploymentID, digest); err != nil {
		return models.BuildResult{}, err
	}
	if err := a.Store.CacheOutput(ctx, org, a.cacheKey(in.Sync.SourceDigest), digest); err != nil {
		return models.BuildResult{}, err
	}
	line := fmt.Sprintf("Output: %s.", describe(set))
	log.Line(line)
	return buildResult(digest, set, false, line), nil
}

func buildResult(digest string, set models.FileSet, cached bool, line string) models.BuildResult {
	r := models.BuildResult{OutputDigest: digest, Files: len(set.Files), Bytes: set.Bytes() + set.Worker.Bytes(), Cached: cached, Summary: line}
	if set.Serve != nil {
		r.Framework = set.Serve.Framework
	}
	return r
}

func serveSettings(plan framework.Plan) *models.ServeSettings {
	return &models.ServeSettings{HTMLHandling: plan.HTMLHandling, NotFoundHandling: plan.NotFoundHandling, Framework: plan.Framework}
}

func humanBytes(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	default:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
}
