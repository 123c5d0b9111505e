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
// so that going live finds it warm. Any HTTP answer passes. CodeWorkerStart when
// it threw at its start, ended, or does not answer; else the platform's codes,
// as Open's, and the context's.
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
	name := lease.worker.name + "-http"
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return h.sockets.dial(ctx, name) },
	}
	limit := min(smokeTimeout, h.limits.RequestTimeout)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://smoke.invalid/", nil)
	if err != nil {
		return err
	}
	request.Header.Set(SmokeHeader, "1")
	began := time.Now()
	response, err := transport.RoundTrip(request)
	if err == nil {
		_ = response.Body.Close()
		lease.Report(Request{Method: http.MethodGet, Path: "/", Status: response.StatusCode, Duration: time.Since(began)})
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) && time.Since(began) >= limit {
		return models.Errorf(models.CodeWorkerStart, "The worker started, but did not answer its first request within %s.", limit)
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	blamed := lease.Failed(err)
	if models.CodeOf(blamed) == models.CodeWorkerCrashed {
		return models.Wrap(models.CodeWorkerStart, err, "The worker did not answer its first request. "+models.MessageOf(blamed))
	}
	if models.CodeOf(blamed) == models.CodeInternal {
		return models.Wrap(models.CodeWorkerStart, err, "The worker started, but broke the connection of its first request.")
	}
	return blamed
}
