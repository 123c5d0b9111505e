package activities

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/slipwayhq/slipway/bundle"
	"github.com/slipwayhq/slipway/framework"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/sandbox/guest"
	"github.com/slipwayhq/slipway/toolchain"
)

// bundleTimeout is for bundling with the build command of wrangler's settings.
const bundleTimeout = 15 * time.Minute

// collectWorker bundles the project's server code in the sandbox and takes it
// out with its assets. found is false when the build left no worker, nor
// settings that say which files to serve.
func (a *Activities) collectWorker(ctx context.Context, org string, w *workspace, log *buildLog) (set models.FileSet, found bool, err error) {
	found, err = a.bundleWorker(ctx, w, log)
	if err != nil || !found {
		return set, false, err
	}
	result, err := a.collectBundle(ctx, org, w.box)
	if err != nil {
		return set, false, refusedWorker(err)
	}
	set = models.FileSet{Worker: result.Worker, Serve: serveSettings(w.plan)}
	if result.HTMLHandling != "" && !w.plan.HTMLChosen {
		set.Serve.HTMLHandling = result.HTMLHandling
	}
	if result.NotFoundHandling != "" && !w.plan.NotFoundChosen {
		set.Serve.NotFoundHandling = result.NotFoundHandling
	}
	if result.Assets {
		set.Files, err = a.collectDir(ctx, org, w.box, bundle.AssetsDir, everyFile)
		if err != nil {
			return set, false, badOutput("refused_output", err)
		}
	}
	if set.Worker == nil && len(set.Files) == 0 {
		return set, false, badOutput("no_output", models.Errorf(models.CodeBuildFailed, "There is no file to serve in the folder that the settings name."))
	}
	return set, true, nil
}

// bundleWorker runs the guest's command; found is false when there is no worker.
func (a *Activities) bundleWorker(ctx context.Context, w *workspace, log *buildLog) (found bool, err error) {
	latest, err := toolchain.LatestCompatibilityDate(time.Now())
	if err != nil {
		return false, err
	}
	request := bundle.Request{Root: w.plan.Root, Settings: w.plan.Worker.Settings, LatestDate: latest}
	for _, out := range w.plan.Worker.Outputs {
		request.Outputs = append(request.Outputs, bundle.Output{Main: out.Main, Assets: out.Assets})
	}
	stdin, err := json.Marshal(request)
	if err != nil {
		return false, err
	}
	log.Forget()
	result, err := w.box.Exec(ctx, sandbox.Command{
		Args: []string{guest.Path, guest.CommandBundle}, Env: w.plan.Env, Stdin: bytes.NewReader(stdin),
		Stdout: log, Stderr: log, Timeout: bundleTimeout,
	})
	switch {
	case err != nil:
		return false, err
	case result.ExitCode == 0:
		return true, nil
	case result.ExitCode == guest.ExitAbsent:
		return false, nil
	}
	return false, failedBundle(w.plan, result, log.Tail())
}

// failedBundle is the user's failure in the code or the settings of a worker.
func failedBundle(plan framework.Plan, result sandbox.Result, tail []string) error {
	d := framework.Diagnose(framework.Failure{
		Step: bundle.Phase, Command: "bundle the worker", ExitCode: result.ExitCode, Tail: tail, LimitHit: string(result.LimitHit), Plan: plan,
	})
	last := "The log says more."
	if len(d.Tail) > 0 {
		last = d.Tail[len(d.Tail)-1]
	}
	switch {
	case result.LimitHit != sandbox.LimitNone:
	case result.ExitCode == guest.ExitRefused:
		d.Cause, d.Advice = "unsupported_worker", last
		return models.Errorf(models.CodeBuildFailed, "%s", last).WithDetails(&d)
	case result.ExitCode == guest.ExitUnbundled && d.Cause == "command_failed":
		d.Cause, d.Advice = "bundle_failed", "The lines above say what is wrong, and where."
	}
	if result.ExitCode == guest.ExitUnbundled {
		return models.Errorf(models.CodeBuildFailed, "%s %s", last, d.Advice).WithDetails(&d)
	}
	return models.Errorf(models.CodeBuildFailed, "Bundling the worker ended with exit code %d. %s", result.ExitCode, d.Advice).WithDetails(&d)
}

// refusedWorker gives a bundle that was refused on its way out the form of a
// diagnosis; other errors pass.
func refusedWorker(err error) error {
	if models.CodeOf(err) != models.CodeBuildFailed {
		return err
	}
	d := models.Diagnosis{Step: bundle.Phase, Cause: "refused_output", Advice: models.MessageOf(err)}
	return models.Errorf(models.CodeBuildFailed, "%s", d.Advice).WithDetails(&d)
}

// collectBundle takes the modules out of the sandbox into blobs, and checks what
// is said about them.
func (a *Activities) collectBundle(ctx context.Context, org string, box sandbox.Sandbox) (*bundle.Result, error) {
	var description []byte
	files, err := a.collectDir(ctx, org, box, bundle.Dir, func(path string, data []byte) bool {
		if path != bundle.DescriptionFile {
			return true
		}
		description = data
		return false
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, models.Wrap(models.CodeBuildFailed, err, "The bundled worker vanished before it could be collected.")
	}
	if err != nil {
		return nil, err
	}
	return bundle.Read(description, files)
}

// everyFile keeps all that a folder has.
func everyFile(string, []byte) bool { return true }

// describe is the line about an output in the build log and the status.
func describe(set models.FileSet) string {
	line := fmt.Sprintf("%d files, %s", len(set.Files), humanBytes(set.Bytes()))
	if w := set.Worker; w != nil {
		line += fmt.Sprintf("; worker with %d modules, %s", len(w.Modules), humanBytes(w.Bytes()))
	}
	return line
}
