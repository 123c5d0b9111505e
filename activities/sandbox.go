package activities

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"sync"
	"time"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/framework"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
)

// historyFile is where the conversation that led to the source is found.
const historyFile = ".slipway/history.json"

// active remembers the sandboxes of this process, with the snapshot each has
// mounted, so that the sweeper can tell them from what a killed process left.
type active struct {
	mu  sync.Mutex
	ids map[string]string
}

func (s *active) add(id, snapshot string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = map[string]string{}
	}
	s.ids[id] = snapshot
}

func (s *active) remove(id string) (snapshot string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	snapshot, ok = s.ids[id]
	delete(s.ids, id)
	return snapshot, ok
}

func (s *active) snapshot(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[id]
}

func (s *active) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.ids[id]
	return ok
}

// workspace is a sandbox with a source in it, ready to build.
type workspace struct {
	box  sandbox.Sandbox
	plan framework.Plan
	// snapshot is the key under which an install may be published; "" for none.
	snapshot string
	// installed says that node_modules came from the snapshot.
	installed bool
	source    *sourceFiles
	// publishing is the install on its way to becoming a snapshot.
	publishing sync.WaitGroup
}

// Sandbox makes the sandbox of a deployment and puts the source in. Running it
// twice is harmless: a sandbox is keyed by the deployment, and making one first
// destroys what an earlier attempt left under that key. CodeQuotaExceeded when the
// organization has no build minute left by now.
func (a *Activities) Sandbox(ctx context.Context, in models.StepInput) (_ models.SandboxResult, err error) {
	if err := a.Store.AdmitBuild(ctx, in.Deployment.OrgID, in.Deployment.DeploymentID); err != nil {
		return models.SandboxResult{}, err
	}
	began := time.Now()
	defer func() { a.chargeBuild(ctx, in.Deployment.DeploymentID, models.StepSandbox, began, err) }()
	if _, err := a.openWorkspace(ctx, in, true); err != nil {
		return models.SandboxResult{}, err
	}
	return models.SandboxResult{SandboxID: in.Deployment.DeploymentID, Host: a.host}, nil
}

// openWorkspace gives the deployment's sandbox with its source: the one the
// sandbox step made, or a fresh one.
func (a *Activities) openWorkspace(ctx context.Context, in models.StepInput, fresh bool) (*workspace, error) {
	if a.Sandboxes == nil {
		return nil, models.Errorf(models.CodeSandbox, "This host does not build.")
	}
	org := in.Deployment.OrgID
	set, err := a.readFileSet(ctx, org, in.Sync.SourceDigest)
	if err != nil {
		return nil, err
	}
	w := &workspace{source: a.source(ctx, org, set)}
	if w.plan, err = framework.Detect(w.source); err != nil {
		return nil, err
	}
	if w.snapshot, err = a.snapshotKey(org, w.plan, w.source); err != nil {
		return nil, err
	}
	id := in.Deployment.DeploymentID
	if !fresh && a.active.has(id) {
		w.box, err = a.Sandboxes.Open(ctx, id)
		if err == nil {
			w.installed = a.active.snapshot(id) != ""
			return w, nil
		}
		if !errors.Is(err, sandbox.ErrGone) {
			return nil, err
		}
	}
	return w, a.create(ctx, in, set, w)
}

func (a *Activities) create(ctx context.Context, in models.StepInput, set models.FileSet, w *workspace) error {
	id, org := in.Deployment.DeploymentID, in.Deployment.OrgID
	base, err := a.uidBase(ctx, org)
	if err != nil {
		return err
	}
	spec := sandbox.Spec{
		ID: id, UIDBase: base, UIDCount: sandbox.MinUIDCount,
		Limits: a.Limits, AllowHosts: a.AllowHosts, Env: w.plan.Env,
	}
	mounted := ""
	if w.snapshot != "" {
		dir, ok := a.snapshots.take(w.snapshot)
		a.measures.cache("snapshot", ok)
		if ok {
			spec.ModulesSnapshot, mounted, w.installed = dir, w.snapshot, true
		}
	}
	// Known before it exists: what follows may fail half-way.
	a.giveBack(id)
	a.active.add(id, mounted)
	if w.box, err = a.Sandboxes.Create(ctx, spec); err == nil {
		err = w.box.Upload(ctx, a.upload(ctx, org, set))
	}
	if err != nil {
		a.destroySandbox(ctx, id)
	}
	return err
}

// uidBase is the first of the organization's own host user ids.
func (a *Activities) uidBase(ctx context.Context, org string) (uint32, error) {
	slot, err := a.Store.UIDSlot(ctx, org)
	if err != nil {
		return 0, err
	}
	return sandbox.UIDBase(a.UIDBase, slot)
}

// upload yields the files of a source, and the history beside them.
func (a *Activities) upload(ctx context.Context, org string, set models.FileSet) iter.Seq2[sandbox.File, error] {
	return func(yield func(sandbox.File, error) bool) {
		for _, f := range set.Files {
			if f.Path == historyFile {
				continue // ours
			}
			key := blob.Key{Scope: org, Digest: f.Digest}
			file := sandbox.File{Path: f.Path, Mode: fs.FileMode(f.Mode), Size: f.Size, Open: func() (io.ReadCloser, error) {
				r, err := a.Blobs.Get(ctx, key)
				return r, storageFault(err)
			}}
			if !yield(file, nil) {
				return
			}
		}
		history, err := a.history(ctx, org, set.HistoryDigest)
		if err != nil {
			yield(sandbox.File{}, err)
			return
		}
		if history == nil {
			history = []byte("[]")
		}
		yield(sandbox.File{Path: historyFile, Size: int64(len(history)), Open: func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(history)), nil
		}}, nil)
	}
}

// destroySandbox gives back everything of a sandbox, also when the activity was
// canceled. A failure is logged and left to the sweeper.
func (a *Activities) destroySandbox(ctx context.Context, id string) {
	if a.Sandboxes == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := a.Sandboxes.Destroy(ctx, id); err != nil {
		a.Log.WithField("sandbox", id).WithError(err).Error("sandbox not destroyed; the sweeper will try again")
		return
	}
	a.giveBack(id)
}

func (a *Activities) giveBack(id string) {
	if snapshot, ok := a.active.remove(id); ok && snapshot != "" {
		a.snapshots.release(snapshot)
	}
}

// Sweep removes the sandboxes of this host that nobody works with any more:
// those a killed process left, and those of deployments that have ended. The
// caller owns the host's sandbox folder alone.
func (a *Activities) Sweep(ctx context.Context) error {
	if a.Sandboxes == nil {
		return nil
	}
	removed, err := a.Sandboxes.Sweep(ctx, func(id string) bool {
		if !a.active.has(id) {
			return false
		}
		d, err := a.Store.Deployment(ctx, id)
		if err != nil {
			return models.CodeOf(err) != models.CodeDeploymentNotFound
		}
		return d.FinishedAt == nil && d.Outcome != models.OutcomeDeadLetter
	})
	for _, id := range removed {
		a.giveBack(id)
	}
	if len(removed) > 0 {
		a.Log.WithField("sandboxes", removed).Info("removed sandboxes nobody used any more")
	}
	return errors.Join(err, a.snapshots.evict())
}
