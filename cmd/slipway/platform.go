package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/sirupsen/logrus"
	"go.temporal.io/sdk/client"

	"github.com/slipwayhq/slipway/blob"
	blobfs "github.com/slipwayhq/slipway/blob/fs"
	blobs3 "github.com/slipwayhq/slipway/blob/s3"
	"github.com/slipwayhq/slipway/config"
	"github.com/slipwayhq/slipway/metrics"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/seal"
	"github.com/slipwayhq/slipway/tracing"
	"github.com/slipwayhq/slipway/variables"
	"github.com/slipwayhq/slipway/worker"
)

// platform is what every role stands on: rows, objects and the queue.
type platform struct {
	config config.Config
	log    *logrus.Logger
	store  *models.Store
	key    *seal.Key
	// blobs are for whoever refers to them, served for whoever reads what rows name.
	blobs    blob.Store
	served   blob.Store
	temporal client.Client
	metrics  *metrics.Registry
	tracing  *tracing.Tracing

	// edgeFolder is the edge host's, in the data folder.
	edgeFolder string
	edgeMu     sync.Mutex
	edgeHost   *edgeHost

	accountsMu sync.Mutex
	accounts   *accounts
}

// openPlatform connects. Everything but the blob store connects lazily, so that
// a role starts while a dependency is down and its health check says so.
func openPlatform(ctx context.Context, c config.Config, log *logrus.Logger) (*platform, error) {
	if c.Postgres.URL == "" {
		return nil, models.Errorf(models.CodeValidation, "POSTGRES_URL is not set. Set it to the database's URL, or run `slipway dev`, which brings its own PostgreSQL.")
	}
	traces, err := openTracing(ctx, c, log)
	if err != nil {
		return nil, err
	}
	store, err := models.OpenStore(models.StoreOptions{URL: c.Postgres.URL, DirectURL: c.Postgres.DirectURL, MaxConns: c.Postgres.MaxConns, Quotas: quotas(c), Tracer: traces.SQL()})
	if err != nil {
		return nil, err
	}
	p := &platform{config: c, log: log, store: store, metrics: metrics.New(version), tracing: traces, edgeFolder: "edge"}
	if err := store.Measure(p.metrics); err != nil {
		p.close()
		return nil, err
	}
	if p.key, err = secretKey(c); err != nil {
		p.close()
		return nil, err
	}
	if p.served, err = openBlobs(ctx, c); err != nil {
		p.close()
		return nil, err
	}
	p.blobs = blob.Hold(p.served, store)
	traced, err := traces.Client()
	if err != nil {
		p.close()
		return nil, err
	}
	queue := metrics.NewTemporal(c.Temporal.Queue, c.Temporal.BuildQueue())
	p.metrics.MustRegister(queue)
	p.temporal, err = client.NewLazyClient(client.Options{
		HostPort: c.Temporal.Address, Namespace: c.Temporal.Namespace, Logger: worker.TemporalLogger(log), MetricsHandler: queue, Interceptors: traced,
	})
	if err != nil {
		p.close()
		return nil, fmt.Errorf("connect to Temporal at %s: %w", c.Temporal.Address, err)
	}
	return p, nil
}

// secretKey is the key of the environment, or that of this data folder.
func secretKey(c config.Config) (*seal.Key, error) {
	if c.SecretKey != "" {
		return seal.New(c.SecretKey)
	}
	return seal.FromFile(filepath.Join(c.DataDir, "secret.key"))
}

// variables opens what is sealed of projects.
func (p *platform) variables() *variables.Vault { return variables.New(p.store, p.key) }

func openBlobs(ctx context.Context, c config.Config) (blob.Store, error) {
	if c.S3.Endpoint == "" {
		return blobfs.New(blobfs.Options{Root: filepath.Join(c.DataDir, "blobs")})
	}
	return blobs3.New(ctx, blobs3.Options{
		Endpoint: c.S3.Endpoint, Region: c.S3.Region, Bucket: c.S3.Bucket, AccessKey: c.S3.AccessKey, SecretKey: c.S3.SecretKey,
		Secure: c.S3.UseSSL, PathStyle: c.S3.PathStyle, Prefix: c.S3.Prefix,
	})
}

func (p *platform) close() {
	if p.edgeHost != nil {
		p.edgeHost.close(p)
	}
	if p.accounts != nil {
		p.accounts.Close()
	}
	if p.temporal != nil {
		p.temporal.Close()
	}
	if err := p.store.Close(); err != nil {
		p.log.WithError(err).Warn("close the database")
	}
	p.closeTracing()
}
