package activities

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/bundle"
	"github.com/slipwayhq/slipway/framework"
	"github.com/slipwayhq/slipway/models"
)

// Sync makes the source of the deployment: the project's latest files with the
// request's on top. Only lists of digests are written, since the bytes are in
// blob storage already. Running it twice is harmless: it starts from the latest
// source before this deployment's, so it computes the same list again, whose
// digest names the same blob. CodeQuotaExceeded for a source that has to be built
// while the organization has no build minute left, before it waits for a host.
func (a *Activities) Sync(ctx context.Context, in models.StepInput) (models.SyncResult, error) {
	sync := a.syncFiles
	if in.Deployment.FromReleaseID != "" {
		sync = a.syncRelease
	}
	result, err := sync(ctx, in.Deployment)
	if err == nil && result.NeedsSandbox && result.CachedOutput == "" {
		err = a.Store.CheckBuild(ctx, in.Deployment.OrgID)
	}
	return result, err
}

func (a *Activities) syncFiles(ctx context.Context, d models.DeploymentInput) (models.SyncResult, error) {
	set, err := a.mergeSource(ctx, d)
	if err != nil {
		return models.SyncResult{}, err
	}
	digest, err := a.writeFileSet(ctx, d.OrgID, set)
	if err != nil {
		return models.SyncResult{}, err
	}
	if err := a.Store.AcceptSource(ctx, d.ProjectID, d.DeploymentID, d.Sequence, digest); err != nil {
		return models.SyncResult{}, err
	}
	result, err := a.describeSource(ctx, d.OrgID, digest, set)
	if err != nil {
		return result, err
	}
	result.CachedOutput, err = a.cachedOutput(ctx, d.OrgID, digest)
	if err == nil && result.NeedsSandbox {
		a.measures.cache("output", result.CachedOutput != "")
	}
	return result, a.keepOutput(ctx, d.DeploymentID, result.CachedOutput, err)
}

// keepOutput has an output kept until the deployment that goes on with it has
// ended, however long it waits or is parked.
func (a *Activities) keepOutput(ctx context.Context, deploymentID, output string, err error) error {
	if err != nil || output == "" {
		return err
	}
	return a.Store.KeepOutput(ctx, deploymentID, output)
}

// syncRelease takes what a release was made of. The project's latest source
// stays what it is: it may be newer than what is live.
func (a *Activities) syncRelease(ctx context.Context, d models.DeploymentInput) (models.SyncResult, error) {
	project, err := a.Store.Project(ctx, d.OrgID, d.ProjectID)
	if err != nil {
		return models.SyncResult{}, err
	}
	// What is live now, not what was when the settings were changed.
	from := d.FromReleaseID
	if project.LiveReleaseID != "" {
		from = project.LiveReleaseID
	}
	release, err := a.Store.Release(ctx, d.ProjectID, from)
	if err != nil {
		return models.SyncResult{}, err
	}
	set, err := a.readFileSet(ctx, d.OrgID, release.SourceDigest)
	if err != nil {
		return models.SyncResult{}, err
	}
	result, err := a.describeSource(ctx, d.OrgID, release.SourceDigest, set)
	result.FromReleaseID = release.ID
	if err != nil || release.OutputDigest == "" {
		return result, err
	}
	_, whole, err := a.wholeOutput(ctx, d.OrgID, release.OutputDigest)
	if whole {
		result.CachedOutput = release.OutputDigest
	}
	return result, a.keepOutput(ctx, d.DeploymentID, result.CachedOutput, err)
}

func (a *Activities) describeSource(ctx context.Context, org, digest string, set models.FileSet) (models.SyncResult, error) {
	plan, err := framework.Detect(a.source(ctx, org, set))
	if err != nil {
		return models.SyncResult{}, err
	}
	return models.SyncResult{
		SourceDigest: digest, Files: len(set.Files), Bytes: set.Bytes(),
		NeedsSandbox: plan.NeedsSandbox(), Framework: plan.Framework,
	}, nil
}

// mergeSource is project files ⊕ request files, with every blob of the request
// seen to be there.
func (a *Activities) mergeSource(ctx context.Context, d models.DeploymentInput) (models.FileSet, error) {
	var base, request models.FileSet
	baseDigest, err := a.Store.BaseSource(ctx, d.ProjectID, d.Sequence)
	if err != nil {
		return base, err
	}
	if baseDigest != "" {
		if base, err = a.readFileSet(ctx, d.OrgID, baseDigest); err != nil {
			return base, err
		}
	}
	if d.RequestDigest != "" {
		if request, err = a.readFileSet(ctx, d.OrgID, d.RequestDigest); err != nil {
			return base, err
		}
		if err := a.checkBlobs(ctx, d.OrgID, request.Files); err != nil {
			return base, err
		}
	}
	merged := models.FileSet{Files: models.Overlay(base.Files, request.Files), HistoryDigest: base.HistoryDigest}
	if request.Replace {
		merged.Files = request.Files
	}
	if request.HistoryDigest != "" {
		merged.HistoryDigest = request.HistoryDigest
	}
	if len(merged.Files) == 0 {
		return merged, models.Errorf(models.CodeNoSource, "The project has no files yet. Send them as initFiles, or upload blobs and name them in files.")
	}
	return merged, nil
}

func (a *Activities) checkBlobs(ctx context.Context, org string, files []models.File) error {
	missing, err := blob.Missing(ctx, a.Blobs, org, digests(files))
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return models.Errorf(models.CodeStorage, "%d of the deployment's files are missing from blob storage, %s among them.", len(missing), missing[0])
	}
	return nil
}

// cachedOutput finds what an earlier build made of the same source with the
// same toolchain, when all of it is still there.
func (a *Activities) cachedOutput(ctx context.Context, org, sourceDigest string) (string, error) {
	key := a.cacheKey(sourceDigest)
	output, err := a.Store.CachedOutput(ctx, org, key)
	if err != nil || output == "" {
		return "", err
	}
	_, whole, err := a.wholeOutput(ctx, org, output)
	if err != nil {
		return "", err
	}
	if !whole {
		a.Log.WithField("output", output).Warn("a cached build output has lost objects; building again")
		return "", a.Store.ForgetOutput(ctx, org, key)
	}
	return output, nil
}

// wholeOutput reads a build's output and says whether all of it is in blob
// storage. A storage that cannot be asked is an error, not a lost output.
func (a *Activities) wholeOutput(ctx context.Context, org, output string) (set models.FileSet, whole bool, err error) {
	missing, err := blob.Missing(ctx, a.Blobs, org, []string{output})
	if err != nil || len(missing) > 0 {
		return set, false, err
	}
	if set, err = a.readFileSet(ctx, org, output); err != nil {
		return set, false, err
	}
	missing, err = blob.Missing(ctx, a.Blobs, org, set.Digests())
	return set, err == nil && len(missing) == 0, err
}

func digests(files []models.File) []string {
	list := make([]string, len(files))
	for i, f := range files {
		list[i] = f.Digest
	}
	return list
}

// cacheKey names a build by everything that decides its result. Settings are in
// the source (slipway.json), limits and network are not part of a result.
func (a *Activities) cacheKey(sourceDigest string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "build\x00%s\x00%s\x00%s", sourceDigest, a.ToolchainVersion, bundle.Version))
	return hex.EncodeToString(sum[:])
}

// sourceFiles shows a source to the framework table, reading blobs on demand.
type sourceFiles struct {
	ctx   context.Context
	blobs blob.Store
	org   string
	files map[string]models.File
}

// maxDetectBytes bounds a file that decides what kind of project this is.
const maxDetectBytes = 32 << 20

func (a *Activities) source(ctx context.Context, org string, set models.FileSet) *sourceFiles {
	s := &sourceFiles{ctx: ctx, blobs: a.Blobs, org: org, files: make(map[string]models.File, len(set.Files))}
	for _, f := range set.Files {
		s.files[f.Path] = f
	}
	return s
}

// Has says whether the source has that file.
func (s *sourceFiles) Has(path string) bool {
	_, ok := s.files[path]
	return ok
}

// Read gives a file's content.
func (s *sourceFiles) Read(path string) ([]byte, error) {
	f, ok := s.files[path]
	if !ok {
		return nil, models.Errorf(models.CodeBlobNotFound, "The source has no file %q.", path)
	}
	data, err := blob.ReadAll(s.ctx, s.blobs, blob.Key{Scope: s.org, Digest: f.Digest}, maxDetectBytes)
	return data, storageFault(err)
}

// history gives the conversation that goes with a source as JSON; nil for none.
func (a *Activities) history(ctx context.Context, org, digest string) ([]byte, error) {
	if digest == "" {
		return nil, nil
	}
	data, err := blob.ReadAll(ctx, a.Blobs, blob.Key{Scope: org, Digest: digest}, maxDetectBytes)
	if err != nil {
		return nil, storageFault(err)
	}
	if !json.Valid(data) {
		return nil, models.Errorf(models.CodeStorage, "The stored history messages are damaged.")
	}
	return data, nil
}
