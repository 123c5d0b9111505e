package upstream

import (
	"io"
	"net/http"
	"time"
)

// unpaced is how much of an answer the kernel takes for a connection without the
// client having to read; no timer is needed for it.
const unpaced = 64 << 10

// downstream writes an answer to the client and gives each part its time.
type downstream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	pace    Pace
	http2   bool
	written int64
	set     time.Time
	// pending says that something was written and may not be on the wire.
	pending bool
}

// write sends bytes of the body.
func (d *downstream) write(p []byte) error {
	d.written += int64(len(p))
	if d.written > unpaced {
		d.allow()
	}
	d.pending = true
	_, err := d.w.Write(p)
	d.rest()
	if err != nil {
		return &Error{Stage: StageClient, Err: err}
	}
	return nil
}

// readFrom sends bytes of the body from a reader, by the kernel alone when it can.
func (d *downstream) readFrom(w io.ReaderFrom, part *io.LimitedReader) (n int64, err error) {
	d.allow()
	n, err = w.ReadFrom(part)
	d.written += n
	d.rest()
	return n, err
}

// flush brings what was written to the client.
func (d *downstream) flush() error {
	if !d.pending {
		return nil
	}
	d.allow()
	d.pending = false
	err := d.control.Flush()
	d.rest()
	if err != nil {
		return &Error{Stage: StageClient, Err: err}
	}
	return nil
}

// allow gives the client the grace to take the next part.
func (d *downstream) allow() {
	if d.control == nil {
		d.control = http.NewResponseController(d.w)
	}
	if d.pace.Grace == 0 {
		return
	}
	if now := time.Now(); now.Sub(d.set) > d.pace.Grace/4 {
		_ = d.control.SetWriteDeadline(now.Add(d.pace.Grace))
		d.set = now
	}
}

// rest takes the deadline off a stream of HTTP/2, where it would end a quiet
// stream too.
func (d *downstream) rest() {
	if d.http2 {
		d.clear()
	}
}

// clear takes the deadline off, so that it does not outlive the answer.
func (d *downstream) clear() {
	if !d.set.IsZero() {
		_ = d.control.SetWriteDeadline(time.Time{})
		d.set = time.Time{}
	}
}
