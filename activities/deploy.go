package activities

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/edge"
	"github.com/slipwayhq/slipway/models"
)

// maxControlFile bounds _headers and _redirects, in bytes.
const maxControlFile = 1 << 20

// Deploy writes the release, checks that it answers, and flips the project's
// pointer to it. Running it twice is harmless: manifest and worker are addressed
// by content, a deployment has one release row, and the flip only moves forward
// and leaves a release that is live alone.
func (a *Activities) Deploy(ctx context.Context, in models.StepInput) (models.DeployResult, error) {
	d := in.Deployment
	project, err := a.Store.Project(ctx, d.OrgID, d.ProjectID)
	if err != nil {
		return models.DeployResult{}, err
	}
	// A build that was given up as lost may have ended since and noted its own.
	if err := a.Store.KeepOutput(ctx, d.DeploymentID, in.Build.OutputDigest); err != nil {
		return models.DeployResult{}, err
	}
	output, err := a.readFileSet(ctx, d.OrgID, in.Build.OutputDigest)
	if err != nil {
		return models.DeployResult{}, err
	}
	digest, manifest, err := a.manifest(ctx, d.OrgID, in.Build.OutputDigest, output)
	if err != nil {
		return models.DeployResult{}, err
	}
	release := models.Release{
		ProjectID: d.ProjectID, OrganizationID: d.OrgID, DeploymentID: d.DeploymentID, Sequence: d.Sequence,
		SourceDigest: in.Sync.SourceDigest, OutputDigest: in.Build.OutputDigest,
		ManifestDigest: digest, Framework: in.Build.Framework, Files: len(output.Files), Bytes: output.Bytes() + output.Worker.Bytes(),
	}
	if output.Worker != nil {
		if err := a.addWorker(ctx, &release, output.Worker); err != nil {
			return models.DeployResult{}, err
		}
	}
	if release, err = a.Store.WriteRelease(ctx, release); err != nil {
		return models.DeployResult{}, err
	}
	if err := a.check(ctx, project, release, manifest, output.Worker); err != nil {
		return models.DeployResult{}, err
	}
	if d.Preview {
		return models.DeployResult{ReleaseID: release.ID, URL: a.SiteURL(models.PreviewName(release.ID, project.WorkerName))}, nil
	}
	live, err := a.goLive(ctx, in, release)
	if err != nil {
		return models.DeployResult{}, err
	}
	if err := a.awaitRoutes(ctx, d.ProjectID); err != nil {
		return models.DeployResult{}, err
	}
	return models.DeployResult{ReleaseID: release.ID, URL: a.SiteURL(project.WorkerName), Superseded: !live}, nil
}

func (a *Activities) goLive(ctx context.Context, in models.StepInput, release models.Release) (live bool, err error) {
	from := in.Sync.FromReleaseID
	if from == "" {
		live, err = a.Store.GoLive(ctx, release)
		if !live || err != nil {
			return live, err
		}
		return true, a.followVariables(ctx, in.Deployment, release)
	}
	live, err = a.Store.GoLiveAfter(ctx, release, from)
	if live || err != nil {
		return live, err
	}
	return false, a.Store.RepeatSettings(ctx, in.Deployment)
}

// followVariables queues a release with the variables of now when they are not
// those that new code went live with: they were read when its release was written,
// which a check that was slow, or a retry days later, may have left far behind.
func (a *Activities) followVariables(ctx context.Context, in models.DeploymentInput, release models.Release) error {
	if release.WorkerDigest == "" {
		return nil
	}
	have, err := a.Variables.Environment(ctx, release.ID)
	if err != nil {
		return err
	}
	want, err := a.Variables.Of(ctx, release.ProjectID)
	if err != nil || maps.Equal(have, want) {
		return err
	}
	err = a.Store.RenewSettings(ctx, in, release.ID)
	if models.CodeOf(err) == models.CodeQuotaExceeded {
		// The code is live all the same.
		a.Log.WithError(err).WithField("deploymentId", in.DeploymentID).Warn("variables that were changed meanwhile count from the next deployment on")
		return nil
	}
	return err
}

// awaitTimeout is how long dispatchers may take to take note of a flip. One that
// serves does within milliseconds, one that has gone is not waited for.
const awaitTimeout = 30 * time.Second

// awaitRoutes makes "live" mean that nobody who comes now gets an older answer.
func (a *Activities) awaitRoutes(ctx context.Context, projectID string) error {
	ctx, cancel := context.WithTimeout(ctx, awaitTimeout)
	defer cancel()
	return a.Store.AwaitRoutes(ctx, projectID)
}

// addWorker stores the release's server code and seals the variables it will
// run with. A second attempt may find others: the row of the first one counts.
func (a *Activities) addWorker(ctx context.Context, release *models.Release, worker *models.WorkerBundle) error {
	data, err := worker.ForProject(release.ProjectID).Encode()
	if err != nil {
		return err
	}
	stored, err := blob.PutBytes(ctx, a.Blobs, release.OrganizationID, data)
	if err != nil {
		return err
	}
	release.WorkerDigest = stored.Digest
	release.Environment, err = a.Variables.Snapshot(ctx, release.ProjectID, release.DeploymentID)
	return err
}

// checkNames refuses a release whose worker would find one of two things under a name
// in env: a variable or secret of the project, or a binding. The variables are those
// that the release has, which the project may have changed since.
func (a *Activities) checkNames(ctx context.Context, release models.Release, worker *models.WorkerBundle) error {
	environment, err := a.Variables.Environment(ctx, release.ID)
	if err != nil {
		return err
	}
	bindings := worker.Bindings()
	var taken []string
	for _, name := range slices.Sorted(maps.Keys(environment)) {
		if what, ok := bindings[name]; ok {
			kind := "variable"
			if environment[name].Secret {
				kind = "secret"
			}
			taken = append(taken, fmt.Sprintf("%s is a %s of the project and the binding %s to %s", name, kind, name, what))
		}
	}
	if len(taken) == 0 {
		return nil
	}
	return models.Errorf(models.CodeReleaseInvalid, "A worker finds one thing under a name in env: %s. Remove the variable, or give the binding another name.", strings.Join(taken, "; "))
}

// check proves that a release answers before anybody is sent to it: its files
// by the code the dispatcher answers with, its server code by a request to the
// running worker.
func (a *Activities) check(ctx context.Context, project models.Project, release models.Release, manifest *assets.Manifest, worker *models.WorkerBundle) error {
	if err := a.smokeCheck(ctx, release.OrganizationID, manifest); err != nil {
		return err
	}
	if worker != nil {
		if a.Workers == nil {
			return models.Errorf(models.CodeSandbox, "This host does not run workers.")
		}
		if err := a.checkNames(ctx, release, worker); err != nil {
			return err
		}
		missing, err := blob.Missing(ctx, a.Blobs, release.OrganizationID, worker.Digests())
		if err != nil {
			return err
		}
		if len(missing) > 0 {
			return models.Errorf(models.CodeStorage, "The release is incomplete: %d of its modules are missing from blob storage.", len(missing))
		}
		if err := a.Workers.Smoke(ctx, edgeRelease(project, release)); err != nil {
			return err
		}
	}
	return a.Store.MarkChecked(ctx, release.ID)
}

func edgeRelease(project models.Project, release models.Release) edge.Release {
	return edge.Release{
		ID: release.ID, OrganizationID: release.OrganizationID, ProjectID: release.ProjectID, WorkerName: project.WorkerName,
		WorkerDigest: release.WorkerDigest, ManifestDigest: release.ManifestDigest,
	}
}

// manifest makes the manifest of an output and stores it. What an output
// becomes is remembered, so that going live again with the same files
// compresses nothing.
func (a *Activities) manifest(ctx context.Context, org, outputDigest string, output models.FileSet) (string, *assets.Manifest, error) {
	key := hashOf("manifest-1", outputDigest)
	known, err := a.Store.CachedOutput(ctx, org, key)
	if err != nil {
		return "", nil, err
	}
	manifest, err := a.knownManifest(ctx, org, known)
	if err != nil || manifest != nil {
		return known, manifest, err
	}
	if manifest, err = a.makeManifest(ctx, org, output); err != nil {
		return "", nil, err
	}
	data, err := manifest.Encode()
	if err != nil {
		return "", nil, err
	}
	stored, err := blob.PutBytes(ctx, a.Blobs, org, data)
	if err != nil {
		return "", nil, err
	}
	return stored.Digest, manifest, a.Store.CacheOutput(ctx, org, key, stored.Digest)
}

// knownManifest reads a manifest that was made before; nil when it, or something it
// names, is not there any more.
func (a *Activities) knownManifest(ctx context.Context, org, digest string) (*assets.Manifest, error) {
	if digest == "" {
		return nil, nil
	}
	missing, err := blob.Missing(ctx, a.Blobs, org, []string{digest})
	if err != nil || len(missing) > 0 {
		return nil, err
	}
	data, err := blob.ReadAll(ctx, a.Blobs, blob.Key{Scope: org, Digest: digest}, maxDetectBytes)
	if err != nil {
		return nil, storageFault(err)
	}
	manifest, err := assets.ParseManifest(data)
	if err != nil {
		return nil, err
	}
	missing, err = blob.Missing(ctx, a.Blobs, org, manifest.Digests())
	if err != nil || len(missing) > 0 {
		return nil, err
	}
	return manifest, nil
}

func (a *Activities) makeManifest(ctx context.Context, org string, output models.FileSet) (*assets.Manifest, error) {
	var config assets.Config
	if s := output.Serve; s != nil {
		config.HTMLHandling = assets.HTMLHandling(s.HTMLHandling)
		config.NotFoundHandling = assets.NotFoundHandling(s.NotFoundHandling)
	}
	builder, err := assets.NewBuilder(config)
	if err != nil {
		return nil, err
	}
	described, err := a.describeFiles(ctx, org, output.Files)
	if err != nil {
		return nil, err
	}
	for _, f := range output.Files {
		path := "/" + f.Path
		if entry, ok := described[path]; ok {
			if err := builder.Add(path, entry); err != nil {
				return nil, err
			}
			continue
		}
		if err := a.readControlFile(ctx, org, path, f, config.HTMLHandling, builder); err != nil {
			return nil, err
		}
	}
	return builder.Build()
}

// readControlFile takes the rules of _headers and _redirects; a line that is
// not understood is left out, as on Cloudflare, and logged.
func (a *Activities) readControlFile(ctx context.Context, org, path string, f models.File, mode assets.HTMLHandling, builder *assets.Builder) error {
	if path != "/_headers" && path != "/_redirects" {
		return nil
	}
	data, err := blob.ReadAll(ctx, a.Blobs, blob.Key{Scope: org, Digest: f.Digest}, maxControlFile)
	if err != nil {
		return storageFault(err)
	}
	var warnings []assets.Warning
	if path == "/_headers" {
		var rules []assets.HeaderRule
		rules, warnings = assets.ParseHeaders(data)
		builder.SetHeaders(rules)
	} else {
		var rules []assets.Redirect
		rules, warnings = assets.ParseRedirects(data, mode)
		builder.SetRedirects(rules)
	}
	for _, w := range warnings {
		a.Log.WithField("file", path).Info(w.String())
	}
	return nil
}

// smokeCheck proves that a release would answer before anybody is sent to it:
// every object is in storage, and the start page comes from the same code the
// dispatcher answers with. Any status passes; a start page that is there must
// be readable and whole.
func (a *Activities) smokeCheck(ctx context.Context, org string, manifest *assets.Manifest) error {
	missing, err := blob.Missing(ctx, a.Blobs, org, manifest.Digests())
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return models.Errorf(models.CodeStorage, "The release is incomplete: %d of its objects are missing from blob storage.", len(missing))
	}
	site, err := assets.NewSite(manifest)
	if err != nil {
		return err
	}
	answer := site.Plan(assets.Request{Method: http.MethodGet, Path: "/", Header: http.Header{}})
	if answer.Status >= http.StatusInternalServerError {
		return models.Errorf(models.CodeReleaseInvalid, "The start page answers with status %d.", answer.Status)
	}
	if answer.Body.Digest == "" {
		return nil
	}
	if _, err := blob.ReadAll(ctx, a.Blobs, blob.Key{Scope: org, Digest: answer.Body.Digest}, answer.Body.Size); err != nil {
		return fmt.Errorf("read the start page: %w", storageFault(err))
	}
	return nil
}
