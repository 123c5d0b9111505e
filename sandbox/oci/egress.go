package oci

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox/egress"
)

// proxy is a sandbox's registry proxy, served by this process.
type proxy struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func (x *proxy) stop() {
	x.cancel()
	<-x.done
}

// startProxy serves a sandbox's registry proxy unless this process does so
// already. Its socket replaces one that a killed process left; the folder
// around it is what the sandbox has mounted.
func (p *Provider) startProxy(r *record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proxies[r.ID] != nil {
		return nil
	}
	listener, err := p.listenEgress(r)
	if err != nil {
		return models.Wrap(models.CodeSandbox, err, "the sandbox's registry proxy cannot listen")
	}
	server, err := egress.New(egress.Options{
		Allow: r.AllowHosts, AllowPrivate: p.options.AllowPrivate, Upstream: upstreamFromEnvironment,
		Log: p.log.WithField("sandbox", r.ID),
	})
	if err != nil {
		listener.Close()
		return models.Wrap(models.CodeValidation, err, err.Error())
	}
	ctx, cancel := context.WithCancel(context.Background())
	running := &proxy{cancel: cancel, done: make(chan struct{})}
	p.proxies[r.ID] = running
	go func() {
		defer close(running.done)
		defer cancel()
		if err := server.Serve(ctx, listener); err != nil {
			p.log.WithError(err).WithField("sandbox", r.ID).Error("Registry proxy ended")
		}
	}()
	return nil
}

func (p *Provider) stopProxy(id string) {
	p.mu.Lock()
	running := p.proxies[id]
	delete(p.proxies, id)
	p.mu.Unlock()
	if running != nil {
		running.stop()
	}
}

func (p *Provider) listenEgress(r *record) (net.Listener, error) {
	folder := p.home.egressDir(r.ID)
	if err := makePassable(folder); err != nil {
		return nil, err
	}
	socket := filepath.Join(folder, "proxy")
	// Whoever served it before: opening a sandbox takes it over.
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := listenIn(folder, "proxy")
	if err != nil {
		return nil, fmt.Errorf("listen on the proxy's socket: %w", err)
	}
	// Only root inside, process 1, may connect; builds go through it.
	if !rootless() {
		err = os.Chown(socket, int(r.UIDBase), int(r.UIDBase))
	}
	if err == nil {
		err = os.Chmod(socket, 0o600)
	}
	if err != nil {
		listener.Close()
		return nil, err
	}
	return listener, nil
}

// listenIn makes a unix socket in a folder. The path of a socket is at most 107
// bytes long; a way through the open folder always fits.
func listenIn(folder, name string) (net.Listener, error) {
	open, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	defer open.Close()
	listener, err := net.Listen("unix", fmt.Sprintf("/proc/self/fd/%d/%s", open.Fd(), name))
	if err != nil {
		return nil, err
	}
	// That way is closed by then; the folder is removed with the sandbox.
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	return listener, nil
}

// upstreamFromEnvironment honours the operator's own HTTPS_PROXY and NO_PROXY.
func upstreamFromEnvironment(target egress.Target) (*url.URL, error) {
	return http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: target.String()}})
}
