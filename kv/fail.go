package kv

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// maxDrained is how much of a refused body is read and forgotten, so that the
// worker gets to read why.
const maxDrained = 64 << 20

// fail answers what could not be done.
func (b *binding) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil || errors.Is(err, errGone) {
		panic(http.ErrAbortHandler)
	}
	var said *refusal
	var coded *models.Error
	switch {
	case errors.As(err, &said):
	case errors.As(err, &coded) && coded.Code == models.CodeNotFound:
		w.WriteHeader(http.StatusNotFound)
		return
	case errors.As(err, &coded) && coded.Code.Class() == models.ClassUser:
		said = &refusal{coded.Code.HTTPStatus(), coded.Message}
	default:
		if yes, notLogged := b.organization.logs(time.Now()); yes {
			b.server.options.Log.WithError(err).WithField("organization", b.namespace.OrganizationID).
				WithField("namespace", b.namespace.Name).WithField("notLogged", notLogged).Error("KV operation failed")
		}
		said = &refusal{http.StatusServiceUnavailable, "the KV store did not answer, try again shortly"}
	}
	answer(w, r, said)
}

// answer sends a refusal with its text as the reason phrase, which is all that a
// worker sees of it and which net/http does not let one choose.
func answer(w http.ResponseWriter, r *http.Request, said *refusal) {
	controller := http.NewResponseController(w)
	_ = controller.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxDrained))
	conn, _, err := controller.Hijack()
	if err != nil {
		http.Error(w, said.text, said.status)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	text := phrase(said.text)
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		said.status, text, len(text), text)
}

// phrase keeps what may stand in a reason phrase (RFC 9112, section 4), ASCII only.
func phrase(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
}
