package activities

import (
	"context"
	"fmt"
	"net/http"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

// maxControlFile bounds _headers and _redirects, in bytes.
const maxControlFile = 1 << 20

// Deploy writes the release, checks that it would answer, and flips the
// project's pointer to it. Running it twice is harmless: the manifest is
// addressed by content, a deployment has one release row, and the flip only
// moves forward and leaves a release that is live alone.
func (a *Activities) Deploy(ctx context.Context, in models.StepInput) (models.DeployResult, error) {
	d := in.Deployment
	project, err := a.Store.Project(ctx, d.OrgID, d.ProjectID)
	if err != nil {
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
	if err := a.smokeCheck(ctx, d.OrgID, manifest); err != nil {
		return models.DeployResult{}, err
	}
	release, err := a.Store.WriteRelease(ctx, models.Release{
		ProjectID: d.ProjectID, OrganizationID: d.OrgID, DeploymentID: d.DeploymentID, Sequence: d.Sequence,
		ManifestDigest: digest, Framework: in.Build.Framework, Files: len(output.Files), Bytes: output.Bytes(),
	})
	if err != nil {
		return models.DeployResult{}, err
	}
	live, err := a.Store.GoLive(ctx, release)
	if err != nil {
		return models.DeployResult{}, err
	}
	return models.DeployResult{ReleaseID: release.ID, URL: a.SiteURL(project.WorkerName), Superseded: !live}, nil
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
	if known != "" {
		data, err := blob.ReadAll(ctx, a.Blobs, blob.Key{Scope: org, Digest: known}, maxDetectBytes)
		if err == nil {
			manifest, err := assets.ParseManifest(data)
			return known, manifest, err
		}
		if models.CodeOf(err) != models.CodeBlobNotFound {
			return "", nil, err
		}
	}
	manifest, err := a.makeManifest(ctx, org, output)
	if err != nil {
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
