package dispatcher

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/slipwayhq/slipway/edge"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/upstream"
)

// The error texts of requests to workers, which clients may compare.
const (
	workerFailedToStart = "Worker failed to start"
	workerCrashed       = "Worker crashed"
	workerBusy          = "Worker is busy"
	workerTimeout       = "Worker did not answer in time"
	workerBadAnswer     = "Worker sent an invalid answer"
	workerUnreachable   = "Worker did not answer"
	requestTooLarge     = "Request is too large"
	requestTooSlow      = "Request was not received in time"
	requestMalformed    = "Bad request"
	methodUnknown       = "Request method not supported"
)

// seeLog is what a visitor may know about another's failure; the reason may hold
// what only the owner should see.
const seeLog = "The owner of this site finds the reason in its log under this request id."

// minRetryAfter is Retry-After of a busy worker of which nothing more is known.
const minRetryAfter = time.Second

// strangers are headers in which a client could claim to be somebody else, or to
// have been let in by a proxy before us.
var strangers = []string{
	"Forwarded", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server", "X-Forwarded-Ssl", "X-Forwarded-Scheme",
	"X-Client-Ip", "X-Cluster-Client-Ip", "X-Original-Host", "X-Original-Url", "X-Rewrite-Url", "X-Original-Forwarded-For",
	"True-Client-Ip", "Fastly-Client-Ip", "Cf-Connecting-Ipv6", "Cf-Pseudo-Ipv4", "Cf-Ipcountry", "Cf-Ray", "Cf-Visitor",
	"Cf-Worker", "Cf-Ew-Via", "Cdn-Loop", "Proxy",
}

// strangersAndCookie is for tenants on our own host, whose cookies are not theirs.
var strangersAndCookie = append(strangers[:len(strangers):len(strangers)], "Cookie")

// workerMethods are those that the runtime parses (kj/compat/http.h).
var workerMethods = map[string]bool{
	"GET": true, "HEAD": true, "POST": true, "PUT": true, "DELETE": true, "PATCH": true, "PURGE": true, "OPTIONS": true, "TRACE": true,
	"COPY": true, "LOCK": true, "MKCOL": true, "MOVE": true, "PROPFIND": true, "PROPPATCH": true, "SEARCH": true, "UNLOCK": true, "ACL": true,
	"REPORT": true, "MKACTIVITY": true, "CHECKOUT": true, "MERGE": true, "MSEARCH": true, "NOTIFY": true, "SUBSCRIBE": true, "UNSUBSCRIBE": true,
	"QUERY": true, "BAN": true,
}

// serveWorker answers by the release's worker.
func (d *Dispatcher) serveWorker(x *exchange, target target, route *models.Route) {
	x.class = answerWorker
	if !workerMethods[x.r.Method] {
		// The runtime would say the same, and a rollout would take it for an error of
		// the release's.
		x.rollout = nil
		d.fail(x, failure{http.StatusNotImplemented, methodUnknown, "Workers know the methods of HTTP and WebDAV, in capital letters.", x.worker})
		return
	}
	if d.opts.Workers == nil {
		d.failInternal(x, models.Errorf(models.CodeSandbox, "This dispatcher runs no workers, and the release has one"))
		return
	}
	defer d.traced(x)()
	var lease *edge.Lease
	var err error
	d.spanned(x, "open worker", func(ctx context.Context) { lease, err = d.opts.Workers.Open(ctx, edgeRelease(route)) })
	if err != nil {
		d.failWorker(x, err)
		return
	}
	defer lease.Close()
	// The body goes to the worker, so the connection need not end with the answer.
	delete(x.w.Header(), "Connection")
	began := time.Now()
	d.spanned(x, "ask worker", func(ctx context.Context) {
		how := d.forwarding(x, target)
		traceHeaders(ctx, x, &how)
		err = lease.Upstream.Forward(x.w, x.r, how)
	})
	cause := err
	if err != nil && !clientsFault(err) {
		cause = lease.Failed(err)
	}
	lease.Report(edge.Request{
		ID: x.requestID, Method: x.r.Method, Path: target.path, Status: x.status, Duration: time.Since(began), Err: cause,
	})
	if err != nil {
		d.failForward(x, err, cause)
	}
}

// clientsFault says that a request broke off on the client's side.
func clientsFault(err error) bool {
	var failed *upstream.Error
	return errors.As(err, &failed) && failed.Stage == upstream.StageClient
}

// forwarding says how the worker sees a request.
func (d *Dispatcher) forwarding(x *exchange, target target) upstream.Forwarding {
	host, drop := x.r.Host, strangers
	address, scheme := clientAddress(x.r), "http"
	if x.r.TLS != nil {
		scheme = "https"
	}
	set := make([]upstream.Header, 0, 7)
	set = append(set,
		upstream.Header{Name: "X-Forwarded-For", Value: address},
		upstream.Header{Name: "X-Forwarded-Proto", Value: scheme},
		upstream.Header{Name: "X-Forwarded-Host", Value: x.r.Host},
		upstream.Header{Name: "X-Real-Ip", Value: address},
		upstream.Header{Name: "Cf-Connecting-Ip", Value: address},
		upstream.Header{Name: "X-Request-Id", Value: x.requestID},
	)
	if target.prefix != "" {
		host, drop = d.workerHost(target.name, x.r.Host), strangersAndCookie
		set = append(set, upstream.Header{Name: "X-Forwarded-Prefix", Value: target.prefix})
	} else {
		dropBucket(x.r.Header)
	}
	limits := &d.opts.Limits
	return upstream.Forwarding{
		Target: joinTarget(target.path, target.query),
		Host:   host,
		Set:    set,
		Drop:   drop,
		Answer: func(status int, header http.Header) {
			if ids := header["X-Request-Id"]; len(ids) != 1 || ids[0] != x.requestID {
				header["X-Request-Id"] = []string{x.requestID}
			}
			if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
				x.status = status
			}
			if hsts := header["Strict-Transport-Security"]; len(hsts) > 1 && x.r.TLS != nil && d.opts.HTTPS.HSTS != "" {
				header["Strict-Transport-Security"] = hsts[1:] // the worker's own, after ours
			}
			if target.prefix != "" {
				prefixLocation(header, target.prefix)
				d.guard(x, header, target)
			}
			if x.status != 0 {
				x.rollout.apply(header, x.r.TLS != nil)
			}
		},
		MaxBody:       limits.RequestBytes,
		AnswerTimeout: limits.AnswerTimeout,
		Pace:          upstream.Pace{Grace: limits.SlowGrace, Rate: limits.BodyRate},
	}
}

// workerHost is a worker's own host, with the port of the host it was asked at.
func (d *Dispatcher) workerHost(name, asked string) string {
	host := name + d.hosts.suffix
	if _, port, err := net.SplitHostPort(asked); err == nil && port != "" {
		host += ":" + port
	}
	return host
}

// prefixLocation keeps a redirect to a path within the worker's paths. What a
// browser takes for another host is left alone.
func prefixLocation(header http.Header, prefix string) {
	values := header["Location"]
	if len(values) != 1 || !strings.HasPrefix(values[0], "/") {
		return
	}
	if rest := values[0][1:]; rest != "" && (rest[0] == '/' || rest[0] == '\\') {
		return
	}
	header["Location"] = []string{prefix + values[0]}
}

func joinTarget(path, query string) string {
	if query == "" {
		return path
	}
	return path + "?" + query
}

// clientAddress is the address the request came from, without a port.
func clientAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// failForward answers for a request that broke off with err, or cuts the
// connection when the answer had begun. cause is what the host says about it.
func (d *Dispatcher) failForward(x *exchange, err, cause error) {
	failed := &upstream.Error{Stage: upstream.StageHead, Err: err}
	_ = errors.As(err, &failed)
	if failed.Began {
		if failed.Stage != upstream.StageClient {
			x.rollout.breakOff()
			d.noteWorker(x, cause).Info("a worker's answer broke off")
		}
		if x.status == http.StatusSwitchingProtocols {
			return // the tunnel's connection is closed already
		}
		panic(http.ErrAbortHandler)
	}
	if x.r.ContentLength != 0 && x.r.ProtoMajor == 1 {
		// The rest of the body must not be read as a request.
		x.w.Header()["Connection"] = []string{"close"}
	}
	if failed.Stage == upstream.StageClient {
		d.failClient(x, failed)
		return
	}
	switch code := models.CodeOf(cause); {
	case code == models.CodeWorkerCrashed || code == models.CodeWorkerBusy || code == models.CodeWorkerStart:
		d.failWorker(x, cause)
	case errors.Is(failed.Err, os.ErrDeadlineExceeded):
		d.noteWorker(x, cause).Info("a worker did not answer in time")
		d.fail(x, failure{http.StatusGatewayTimeout, workerTimeout, seeLog, x.worker})
	case failed.Stage == upstream.StageMalformed:
		d.noteWorker(x, cause).Info("a worker sent what is not an answer")
		d.fail(x, failure{http.StatusBadGateway, workerBadAnswer, seeLog, x.worker})
	default:
		d.noteWorker(x, cause).Info("a worker did not answer")
		d.fail(x, failure{http.StatusBadGateway, workerUnreachable, seeLog, x.worker})
	}
}

// failClient answers for what the client did wrong, if it is still there.
func (d *Dispatcher) failClient(x *exchange, failed *upstream.Error) {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(failed.Err, upstream.ErrBodyTooLarge), errors.As(failed.Err, &tooLarge):
		d.fail(x, failure{http.StatusRequestEntityTooLarge, requestTooLarge, "", x.worker})
	case errors.Is(failed.Err, context.Canceled):
		panic(http.ErrAbortHandler)
	case errors.Is(failed.Err, os.ErrDeadlineExceeded):
		d.fail(x, failure{http.StatusRequestTimeout, requestTooSlow, "", x.worker})
	default:
		d.fail(x, failure{http.StatusBadRequest, requestMalformed, "The request or its body is not well formed.", x.worker})
	}
}

// failWorker answers for a worker that there is no claim on. Only the log gets
// the reason.
func (d *Dispatcher) failWorker(x *exchange, err error) {
	if x.r.Context().Err() != nil {
		panic(http.ErrAbortHandler)
	}
	switch models.CodeOf(err) {
	case models.CodeWorkerStart:
		d.noteWorker(x, err).Info("a worker did not start")
		d.fail(x, failure{http.StatusBadGateway, workerFailedToStart, seeLog, x.worker})
	case models.CodeWorkerCrashed:
		d.noteWorker(x, err).Info("a worker crashed")
		d.fail(x, failure{http.StatusBadGateway, workerCrashed, seeLog, x.worker})
	case models.CodeWorkerBusy:
		d.noteWorker(x, err).Info("a worker is busy")
		wait := max(minRetryAfter, edge.RetryAfter(err))
		x.w.Header()["Retry-After"] = []string{strconv.Itoa(int(wait / time.Second))}
		d.fail(x, failure{http.StatusServiceUnavailable, workerBusy, "Try again in a moment.", x.worker})
	case models.CodeDatabase:
		d.noteWorker(x, err).Warn("cannot start a worker")
		d.fail(x, failure{http.StatusServiceUnavailable, databaseFailed, "Try again in a moment.", x.worker})
	default:
		d.failInternal(x, err)
	}
}

func (d *Dispatcher) noteWorker(x *exchange, err error) *logrus.Entry {
	return d.opts.Log.WithError(err).WithContext(x.r.Context()).WithFields(logrus.Fields{"requestId": x.requestID, "worker": x.worker, "release": x.releaseID})
}
