package main

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/certs"
	"github.com/slipwayhq/slipway/clientaddr"
	"github.com/slipwayhq/slipway/config"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/edge"
	"github.com/slipwayhq/slipway/models"
)

// newDispatcher makes a dispatcher that sends requests to these workers.
func (p *platform) newDispatcher(workers edge.Workers, https dispatcher.HTTPS, heard dispatcher.Invalidations, measured prometheus.Registerer) (*dispatcher.Dispatcher, error) {
	c := p.config
	people, err := p.people()
	if err != nil {
		return nil, err
	}
	return dispatcher.New(dispatcher.Options{
		Domain: c.Dispatch.Domain, OwnHosts: c.Dispatch.OwnHosts, Reserved: c.Dispatch.ReservedNames(), Namespace: c.Dispatch.Namespace,
		Version: version, Environment: c.Environment,
		Routes: p.store, Invalidations: heard, Presence: p.store, Counts: p.store, Blobs: p.served, Workers: workers, HTTPS: https,
		Database: p.store, Storage: p.served, Auth: people.Handler(), Log: p.log,
		Limits: dispatcher.Limits{
			CacheBytes: c.Dispatch.CacheBytes, HeaderBytes: c.Dispatch.MaxHeader, RequestBytes: c.Dispatch.MaxBody,
			ClientConnections: clientConnections(c.Dispatch.ClientConnections), AnswerTimeout: c.Edge.RequestTimeout,
		},
		Addresses: clientaddr.New(c.Auth.TrustedProxies),
		Metrics:   measured,
		Tracer:    p.tracing.Dispatcher(),
		AccessLog: dispatcher.AccessLog{Requests: c.Dispatch.AccessLog, JSON: c.LogFormat == "json", Output: p.log.Out},
	})
}

// clientConnections is the setting as the services take it, where 0 asks for
// the default and a negative number for no bound.
func clientConnections(setting int) int {
	if setting == 0 {
		return -1
	}
	return setting
}

// serveDispatcher answers visitors on the listener, and over HTTPS when that is
// set up, until ctx ends.
func (p *platform) serveDispatcher(ctx context.Context, listener net.Listener) error {
	workers, err := p.edge(ctx)
	if err != nil {
		return err
	}
	var https dispatcher.HTTPS
	var certificates *certs.Certs
	var secure net.Listener
	if p.config.TLS.Addr != "" {
		if secure, err = listen(p.config.TLS.Addr, "DISPATCH_TLS_ADDR"); err != nil {
			return err
		}
		defer secure.Close()
		if certificates, err = p.newCerts(); err != nil {
			return err
		}
		p.metrics.MustRegister(certificates)
		https = httpsOf(p.config, certificates)
	}
	d, err := p.newDispatcher(workers, https, announcements{p.store, certificates}, p.metrics)
	if err != nil {
		return err
	}
	workers.serving.Store(d)
	p.log.WithField("addr", listener.Addr()).Info("dispatcher listens")
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { relaxGC(ctx); return nil })
	group.Go(func() error { return d.Run(ctx) })
	server := d.Server()
	group.Go(func() error { return serveHTTP(ctx, server, func() error { return server.Serve(listener) }) })
	if certificates != nil {
		p.log.WithField("addr", secure.Addr()).Info("dispatcher listens for HTTPS")
		group.Go(func() error { return certificates.Run(ctx) })
		group.Go(func() error {
			server := d.Server()
			return serveHTTP(ctx, server, func() error { return server.ServeTLS(secure, certificates.TLSConfig()) })
		})
	}
	return group.Wait()
}

// announcements are those of routes. The certificates hear of them too: a domain
// that has just become active has one at once, though it was refused before.
type announcements struct {
	dispatcher.Invalidations
	certificates *certs.Certs
}

// Listen is dispatcher.Invalidations.
func (a announcements) Listen(ctx context.Context, channel string, connected func(), notify func(string)) error {
	return a.Invalidations.Listen(ctx, channel, connected, func(payload string) {
		key, _ := models.ParseRouteChange(payload)
		if host, ok := strings.CutPrefix(key, models.HostRouteKey("")); ok && a.certificates != nil {
			a.certificates.Forget(host)
		}
		notify(payload)
	})
}

// newCerts makes what answers with certificates: the wildcard of the domain, and
// those of active custom domains.
func (p *platform) newCerts() (*certs.Certs, error) {
	c := p.config
	return certs.New(certs.Options{
		Domain: c.Dispatch.Domain, OwnHosts: c.Dispatch.OwnHosts, Allowed: p.store.DomainServes,
		Rows: p.store, Key: p.key, LocalDir: filepath.Join(c.DataDir, "certs"), Log: p.log,
		CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile,
		DNS01:     certs.DNS01{Server: c.TLS.DNS01Server, Zone: c.TLS.DNS01Zone, KeyName: c.TLS.DNS01KeyName, KeySecret: c.TLS.DNS01KeySecret},
		Directory: c.TLS.Directory, Email: c.TLS.Email, CAFile: c.TLS.CAFile,
	})
}

func httpsOf(c config.Config, certificates *certs.Certs) dispatcher.HTTPS {
	https := dispatcher.HTTPS{Challenge: certificates.HTTPChallenge, HSTS: c.TLS.HSTS}
	if c.TLS.Redirect {
		port := redirectPort(c)
		https.Redirect = func(next http.Handler) http.Handler { return certs.Redirect(next, port) }
	}
	return https
}

// redirectPort is the port that visitors find HTTPS at: the one that is shown,
// else the one that is listened on.
func redirectPort(c config.Config) int {
	if c.Dispatch.Scheme == "https" && c.Dispatch.Port != 0 {
		return c.Dispatch.Port
	}
	if _, port, err := net.SplitHostPort(c.TLS.Addr); err == nil {
		if number, err := strconv.Atoi(port); err == nil && number != 0 {
			return number
		}
	}
	return 443
}

// drainTimeout is how long answers under way may take after a stop.
const drainTimeout = 10 * time.Second

// serveHTTP serves until ctx ends and then lets answers under way end.
func serveHTTP(ctx context.Context, server *dispatcher.Server, serve func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- serve() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		_ = server.Close()
	}
	<-ended
	return nil
}
