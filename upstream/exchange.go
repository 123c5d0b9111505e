package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	// maxInformational bounds the 1xx answers before the final one.
	maxInformational = 16
	// continuePatience is how long a client that expects "100 Continue" is left
	// waiting for the server to say it.
	continuePatience = time.Second
)

// exchange is one request on its way.
type exchange struct {
	client *Client
	w      http.ResponseWriter
	r      *http.Request
	f      *Forwarding
	down   downstream

	// length is the request body's, 0 for none and -1 for unknown.
	length int64
	// upgrade is the protocol that the client asks for; "" for none.
	upgrade string
	expects bool
	upload  *upload
	// heard says that the server has answered something, began that the client
	// has been answered.
	heard, began bool
}

// prepare checks the request and decides how its body is sent.
func (x *exchange) prepare() error {
	r := x.r
	if !validToken(r.Method) || !validValue(x.f.Host) || strings.ContainsAny(x.f.Host, " \t") || x.f.Target == "" {
		return &Error{Stage: StageClient, Err: ErrInvalidRequest, untouched: true}
	}
	if r.Body != nil && r.Body != http.NoBody {
		x.length = r.ContentLength
	}
	if x.length > 0 && len(r.Trailer) > 0 {
		x.length = -1 // only a chunked body has trailers
	}
	if x.f.MaxBody > 0 && r.ContentLength > x.f.MaxBody {
		return &Error{Stage: StageClient, Err: ErrBodyTooLarge, untouched: true}
	}
	if x.length != 0 {
		x.expects = r.ProtoMajor == 1 && hasToken(r.Header["Expect"], "100-continue")
		return nil
	}
	// Only WebSockets are let through: other protocols, HTTP/2 in clear among
	// them, would carry requests past the dispatcher.
	if values := r.Header["Upgrade"]; len(values) == 1 && r.ProtoMajor == 1 && strings.EqualFold(values[0], "websocket") && hasToken(r.Header["Connection"], "upgrade") {
		x.upgrade = "websocket"
	}
	return nil
}

// run sends the request over a connection and the answer to the client.
func (x *exchange) run(c *conn) (err error) {
	s := scratches.Get().(*scratch)
	s.conn = c
	left := afterEnd(x.r.Context(), func() { _ = c.Close() })
	reusable := false
	defer func() {
		// Without the upload nobody else uses the connection or the client's body.
		complete := x.upload.stop(err == nil)
		if !left() {
			reusable = false
		}
		if err == nil && reusable && complete && s.begin == s.end {
			x.client.pool.put(c)
		} else {
			_ = c.Close()
		}
		s.release()
		err = x.explain(err)
	}()

	s.out = appendRequest(s.out[:0], x.r, x.f, x.upgrade, x.length)
	n, writeErr := c.Write(s.out)
	if writeErr != nil && n == 0 {
		return &Error{Stage: StageWrite, Err: writeErr, untouched: true}
	}
	switch {
	case x.length != 0 && writeErr == nil:
		c.patient()
		x.upload = newUpload(x, c)
		if !x.expects {
			x.upload.start()
		}
	case x.f.AnswerTimeout > 0:
		c.await(x.f.AnswerTimeout)
	default:
		c.patient()
	}
	if err := x.awaitFinal(c, s); err != nil {
		return err
	}
	if x.upload != nil {
		x.upload.answered()
	} else if !s.complete(x.r.Method) {
		c.patient()
	}
	if s.head.status == http.StatusSwitchingProtocols {
		return x.tunnel(c, s)
	}
	reusable = s.head.reusable && !s.head.endsWithConnection(x.r.Method)
	return x.answer(c, s)
}

// afterEnd is context.AfterFunc. It spares a context that has that method itself
// what package context would make around it.
func afterEnd(ctx context.Context, f func()) (stop func() bool) {
	if itself, ok := ctx.(interface{ AfterFunc(func()) func() bool }); ok {
		return itself.AfterFunc(f)
	}
	return context.AfterFunc(ctx, f)
}

// awaitFinal reads heads, passing 1xx answers on, until the final one is there.
func (x *exchange) awaitFinal(c *conn, s *scratch) error {
	for range maxInformational {
		if err := x.readHead(c, s); err != nil {
			return err
		}
		switch status := s.head.status; {
		case status == http.StatusSwitchingProtocols:
			if x.upgrade == "" || !strings.EqualFold(s.head.upgrade, x.upgrade) {
				return &Error{Stage: StageMalformed, Err: errUnasked}
			}
			return nil
		case status >= 200:
			return nil
		case status == http.StatusContinue:
			if x.expects {
				x.w.WriteHeader(http.StatusContinue)
				x.upload.start()
			}
		default:
			x.inform(&s.head)
		}
	}
	return &Error{Stage: StageMalformed, Err: errContinued}
}

// inform passes a 1xx answer on. Its headers are not the final answer's.
func (x *exchange) inform(h *head) {
	if !x.r.ProtoAtLeast(1, 1) {
		return
	}
	header := x.w.Header()
	before := header.Clone()
	h.apply(header)
	if x.f.Answer != nil {
		x.f.Answer(h.status, header)
	}
	x.w.WriteHeader(h.status)
	clear(header)
	for name, values := range before {
		header[name] = values
	}
}

// readHead reads one head into s.head.
func (x *exchange) readHead(c *conn, s *scratch) error {
	waiting := x.expects && !x.upload.started
	if waiting {
		_ = c.SetReadDeadline(time.Now().Add(continuePatience))
	}
	for scanned := 0; ; {
		end, err := headEnd(s.unread(), scanned)
		if err != nil {
			return &Error{Stage: StageMalformed, Err: err}
		}
		if end > 0 {
			text := string(s.unread()[:end])
			s.begin += end
			x.heard = true
			if err := s.head.parse(text); err != nil {
				return &Error{Stage: StageMalformed, Err: err}
			}
			return nil
		}
		scanned = s.end - s.begin
		if err = s.fill(); err == nil {
			continue
		}
		if waiting && errors.Is(err, os.ErrDeadlineExceeded) {
			// A server that knows nothing of expectations waits for the body, so
			// reading it makes net/http say "100 Continue".
			waiting = false
			x.upload.start()
			continue
		}
		stage := StageHead
		if errors.Is(err, errHeadSize) {
			stage = StageMalformed
		}
		return &Error{Stage: stage, Err: err, untouched: !x.heard && scanned == 0 && (errors.Is(err, errClosed) || errors.Is(err, syscall.ECONNRESET))}
	}
}

// apply puts the head's fields into the client's answer.
func (h *head) apply(header http.Header) {
	values := make([]string, len(h.fields))
	for i, field := range h.fields {
		values[i] = field.Value
		if there, ok := header[field.Name]; ok {
			header[field.Name] = append(there, field.Value)
		} else {
			header[field.Name] = values[i : i+1 : i+1]
		}
	}
}

// explain finds the cause of a failure where several things broke at once: the
// first of them closed the connection, and the others are its consequences.
func (x *exchange) explain(err error) error {
	if err == nil {
		return nil
	}
	failed := &Error{Stage: StageBody, Err: err}
	_ = errors.As(err, &failed)
	failed.Began = x.began
	if x.upload != nil && x.upload.clientErr != nil {
		failed.Stage, failed.Err = StageClient, x.upload.clientErr
	} else if cause := x.r.Context().Err(); cause != nil {
		failed.Stage, failed.Err = StageClient, fmt.Errorf("the client went away: %w", cause)
	} else if x.upload != nil && x.upload.writeErr != nil && failed.Stage == StageHead {
		failed.Stage, failed.Err = StageWrite, x.upload.writeErr
	}
	return failed
}

// mayRetry says that a request can be sent again: the connection was an old one
// that the server had closed, so nothing came of the request.
func (x *exchange) mayRetry(c *conn, err error) bool {
	var failed *Error
	if !c.used || !errors.As(err, &failed) || !failed.untouched || x.began || x.upload != nil {
		return false
	}
	if failed.Stage == StageWrite {
		return true
	}
	switch x.r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return failed.Stage == StageHead
	}
	return false
}
