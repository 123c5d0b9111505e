// Package activities does the work of the six steps: one file per step. Every
// activity may run twice, at any point of an earlier run's life; its comment
// says why that is harmless. Heartbeats and the translation of errors for
// Temporal are in one interceptor, so no step repeats them.
package activities

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/edge"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/variables"
	"github.com/slipwayhq/slipway/webhook"
)

// Options is what the steps need.
type Options struct {
	Store *models.Store
	Blobs blob.Store
	// Sandboxes is nil on a host that does not build.
	Sandboxes sandbox.Provider
	// Limits, AllowHosts and UIDBase shape every sandbox.
	Limits     sandbox.Limits
	AllowHosts []string
	UIDBase    uint32
	// SnapshotDir holds install snapshots, at most SnapshotBytes of them.
	SnapshotDir   string
	SnapshotBytes int64
	// ToolchainVersion is part of every cache key.
	ToolchainVersion string
	// Variables seals what releases run with.
	Variables *variables.Vault
	// Workers proves that server code starts; nil on a host that does not run any.
	Workers Workers
	// Resolver looks at the DNS of custom domains, which people point at
	// CNAMETarget; nil is the system's. It must not leave out of an answer what a
	// name server failed to say (net.Resolver.StrictErrors).
	Resolver    Resolver
	CNAMETarget string
	// DomainCheckEvery is how often an active domain is looked at again, 0 for never,
	// and DomainPatience how long it may have no address before it fails.
	DomainCheckEvery, DomainPatience time.Duration
	// WebhookSender sends what WebhookVault opens.
	WebhookSender WebhookSender
	WebhookVault  *webhook.Vault
	// SiteURL is where a worker name answers.
	SiteURL func(worker string) string
	// Metrics, when there is one, takes what the steps measure.
	Metrics prometheus.Registerer
	Log     logrus.FieldLogger
}

// Workers starts a release's server code and sends it a request. edge.Host is
// one. CodeWorkerStart, with what the worker said, when it does not start.
type Workers interface {
	Smoke(ctx context.Context, release edge.Release) error
}

// Activities holds the steps; its methods are safe for concurrent use.
type Activities struct {
	Options
	host      string
	active    active
	snapshots *snapshots
	measures  *measures
}

// New makes the steps.
func New(opts Options) (*Activities, error) {
	if opts.Store == nil || opts.Blobs == nil || opts.Variables == nil || opts.SiteURL == nil || opts.Log == nil {
		return nil, errors.New("activities need a store, blobs, variables, a site URL and a logger")
	}
	if opts.Resolver == nil {
		opts.Resolver = &net.Resolver{PreferGo: true, StrictErrors: true}
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	a := &Activities{Options: opts, host: host, measures: newMeasures(opts.Metrics)}
	if opts.Sandboxes != nil {
		a.snapshots, err = openSnapshots(opts.SnapshotDir, opts.SnapshotBytes)
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Record projects a status onto the deployment's row. It runs as a local
// activity; the row's version guard makes repeated and late calls harmless.
func (a *Activities) Record(ctx context.Context, st models.Status) error {
	return a.Store.RecordStatus(ctx, st)
}

// readFileSet loads a list of files that was stored as a blob.
func (a *Activities) readFileSet(ctx context.Context, org, digest string) (models.FileSet, error) {
	const maxFileSet = 64 << 20
	data, err := blob.ReadAll(ctx, a.Blobs, blob.Key{Scope: org, Digest: digest}, maxFileSet)
	if err != nil {
		return models.FileSet{}, storageFault(err)
	}
	return models.DecodeFileSet(data)
}

// writeFileSet stores a list of files and returns its digest.
func (a *Activities) writeFileSet(ctx context.Context, org string, set models.FileSet) (string, error) {
	data, err := set.Encode()
	if err != nil {
		return "", err
	}
	key, err := blob.PutBytes(ctx, a.Blobs, org, data)
	return key.Digest, err
}

// storageFault turns a missing blob into the platform's fault: what a step
// reads was stored by us before.
func storageFault(err error) error {
	if models.CodeOf(err) == models.CodeBlobNotFound {
		return models.Wrap(models.CodeStorage, err, "A stored object is missing from blob storage.")
	}
	return err
}

// openSnapshots makes the folder of install snapshots.
func openSnapshots(dir string, maxBytes int64) (*snapshots, error) {
	if dir == "" {
		return nil, errors.New("a host that builds needs a folder for install snapshots")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	return &snapshots{dir: dir, maxBytes: maxBytes, used: map[string]int{}, clock: time.Now}, nil
}
