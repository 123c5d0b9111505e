package edge

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// smokeTimeout bounds the first answer of a release.
const smokeTimeout = 10 * time.Second

// SmokeHeader marks the request that Smoke sends.
const SmokeHeader = "X-Slipway-Smoke"

// Smoke starts a release and sends it a GET of /; it leaves the worker running,
// so that going live finds it warm. Any HTTP answer of a fetch handler passes.
// CodeWorkerStart when it threw at its start, ended, does not answer or exports no
// such handler; else the platform's codes, as Open's, and the context's.
func (h *Host) Smoke(ctx context.Context, r Release) error {
	h.mu.Lock()
	if h.starting[r.ID] == nil {
		delete(h.faults, r.ID)
	}
	h.mu.Unlock()
	lease, err := h.Open(ctx, r)
	if err != nil {
		return err
	}
	defer lease.Close()
	status, err := h.smoke(ctx, lease)
	if err != nil || status < http.StatusInternalServerError {
		return err
	}
	// Code that has no handler is answered for by workerd, with a status like this.
	return h.checkHandler(ctx, r)
}

// smoke sends the request.
func (h *Host) smoke(ctx context.Context, lease *Lease) (status int, err error) {
	limit := min(smokeTimeout, h.limits.RequestTimeout)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	response, err := h.askOnce(ctx, lease.worker)
	if err == nil {
		_ = response.Body.Close()
		lease.Report(Request{Method: http.MethodGet, Path: "/", Status: response.StatusCode, Duration: time.Since(began)})
		return response.StatusCode, nil
	}
	if errors.Is(err, context.DeadlineExceeded) && time.Since(began) >= limit {
		return 0, models.Errorf(models.CodeWorkerStart, "The worker started, but did not answer its first request within %s.", limit)
	}
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	blamed := lease.Failed(err)
	if models.CodeOf(blamed) == models.CodeWorkerCrashed {
		return 0, models.Wrap(models.CodeWorkerStart, err, "The worker did not answer its first request. "+models.MessageOf(blamed))
	}
	if models.CodeOf(blamed) == models.CodeInternal {
		return 0, models.Wrap(models.CodeWorkerStart, err, "The worker started, but broke the connection of its first request.")
	}
	return 0, blamed
}

// askOnce sends a worker a GET of / on a connection of its own.
func (h *Host) askOnce(ctx context.Context, w *worker) (*http.Response, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return h.sockets.dial(ctx, w.name+"-http") },
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+smokeHost+"/", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set(SmokeHeader, "1")
	return transport.RoundTrip(request)
}
