package upstream

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// lingerTime is how long the rest of a body is read after its answer, settleTime
// how long the last part of one may take to be sent.
const (
	lingerTime = 500 * time.Millisecond
	settleTime = 50 * time.Millisecond
)

const (
	uploadBytes = 32 << 10
	// chunkHead is room for a chunk's size, chunkTail for its end.
	chunkHead, chunkTail = 10, 2
)

var uploadBuffers = sync.Pool{New: func() any {
	buffer := make([]byte, chunkHead+uploadBytes+chunkTail)
	return &buffer
}}

// upload sends a request's body while its answer may come already.
type upload struct {
	x    *exchange
	conn *conn
	// control sets the client's read deadline.
	control *http.ResponseController
	started bool
	done    chan struct{}
	// drained says that the client's body has been read to its end, which is
	// before its last bytes are sent.
	drained atomic.Bool

	// complete, clientErr and writeErr are the outcome, to be read after done.
	complete bool
	// clientErr is what failed on the client's side, writeErr on the server's.
	clientErr, writeErr error

	mu sync.Mutex
	// final says that the answer has begun: nobody waits for it any more, and a
	// client may take its time.
	final bool
	// stopped says that nobody wants the rest; what fails from then on is no cause.
	stopped bool
}

func newUpload(x *exchange, c *conn) *upload {
	return &upload{x: x, conn: c, control: http.NewResponseController(x.w), done: make(chan struct{})}
}

// start begins to send. It is called by the exchange's goroutine, once.
func (u *upload) start() {
	if u.started {
		return
	}
	u.started = true
	if u.x.expects {
		_ = u.conn.SetReadDeadline(time.Time{})
	}
	go u.send()
}

// finished says whether the whole body has been sent.
func (u *upload) finished() bool {
	if !u.started {
		return false
	}
	select {
	case <-u.done:
		return u.complete
	default:
		return false
	}
}

// answered ends the time limits: the answer has begun.
func (u *upload) answered() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.final = true
	_ = u.conn.SetReadDeadline(time.Time{})
	if u.x.f.Pace.Grace > 0 && !u.finished() {
		_ = u.control.SetReadDeadline(time.Time{})
	}
}

// stop ends the sending, and says whether the body was sent whole. Afterwards
// nobody reads the client's body. It is called when the answer is over, which
// answered says has gone well.
func (u *upload) stop(answered bool) (complete bool) {
	if u == nil || u.finished() {
		return true
	}
	http1 := u.x.r.ProtoMajor == 1
	if !u.started {
		if http1 {
			// net/http would wait for a body that nobody asked for.
			_ = u.control.SetReadDeadline(time.Now())
		}
		return false
	}
	if u.drained.Load() {
		return u.settle(answered)
	}
	linger := answered && http1
	if linger && u.control.Flush() != nil {
		linger = false
	}
	until := time.Now()
	if linger {
		until = until.Add(lingerTime)
	}
	u.mu.Lock()
	// When the request's context has ended, reading the body failed, or will with
	// the same error; then that error is the cause.
	u.final, u.stopped = true, u.x.r.Context().Err() == nil
	_ = u.conn.Close()
	if err := u.control.SetReadDeadline(until); err != nil {
		_ = u.x.r.Body.Close()
	}
	u.mu.Unlock()
	<-u.done
	if linger {
		// Closing a connection on which the client still sends would reset it, and
		// the answer with it, before the client has read it.
		_, _ = io.Copy(io.Discard, u.x.r.Body)
		_ = u.control.SetReadDeadline(time.Now())
	}
	return false
}

// settle waits for the last bytes of the body to be sent, which a server that has
// answered may not care to take.
func (u *upload) settle(answered bool) (complete bool) {
	if answered {
		patience := time.NewTimer(settleTime)
		defer patience.Stop()
		select {
		case <-u.done:
			return u.complete
		case <-patience.C:
		}
	}
	u.mu.Lock()
	u.stopped = true
	u.mu.Unlock()
	_ = u.conn.Close()
	<-u.done
	return false
}

func (u *upload) send() {
	defer close(u.done)
	buffer := uploadBuffers.Get().(*[]byte)
	defer uploadBuffers.Put(buffer)
	pace := newUploadPace(u)
	defer pace.end()
	chunked := u.x.length < 0
	var total int64
	for {
		pace.before(total)
		n, err := u.x.r.Body.Read((*buffer)[chunkHead : chunkHead+uploadBytes])
		total += int64(n)
		if errors.Is(err, io.EOF) {
			u.drained.Store(true)
		}
		if limit := u.x.f.MaxBody; limit > 0 && total > limit {
			u.fail(ErrBodyTooLarge)
			return
		}
		if n > 0 && !u.write((*buffer), n, chunked) {
			return
		}
		switch {
		case errors.Is(err, io.EOF):
			u.end(*buffer, chunked)
			return
		case err != nil:
			u.fail(err)
			return
		}
	}
}

// write sends n bytes of the buffer, in a chunk of their own if chunked.
func (u *upload) write(buffer []byte, n int, chunked bool) bool {
	part := buffer[chunkHead : chunkHead+n]
	if chunked {
		begin := chunkHead - 2
		buffer[begin], buffer[begin+1] = '\r', '\n'
		for size := n; size > 0; size >>= 4 {
			begin--
			buffer[begin] = upperHex[size&15]
		}
		buffer[chunkHead+n], buffer[chunkHead+n+1] = '\r', '\n'
		part = buffer[begin : chunkHead+n+chunkTail]
	}
	_, err := u.conn.Write(part)
	if err != nil {
		u.refused(err)
	}
	return err == nil
}

// end finishes the body and starts the wait for the answer.
func (u *upload) end(buffer []byte, chunked bool) {
	if chunked {
		out := append(buffer[:0], "0\r\n"...)
		var names []string
		for name := range u.x.r.Trailer {
			if forwardableTrailer(name) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			for _, value := range u.x.r.Trailer[name] {
				out = appendField(out, name, value)
			}
		}
		if _, err := u.conn.Write(append(out, '\r', '\n')); err != nil {
			u.refused(err)
			return
		}
	}
	u.complete = true
	u.mu.Lock()
	defer u.mu.Unlock()
	if timeout := u.x.f.AnswerTimeout; timeout > 0 && !u.final {
		_ = u.conn.SetReadDeadline(time.Now().Add(timeout))
	}
}

// refused notes that the server takes no more. It may have answered all the same.
func (u *upload) refused(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.stopped {
		u.writeErr = err
	}
}

// fail ends the request for the client's fault.
func (u *upload) fail(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.stopped {
		u.clientErr = err
		_ = u.conn.Close()
	}
}

// uploadPace moves the client's read deadline along with what has come.
type uploadPace struct {
	*upload
	began, until time.Time
}

func newUploadPace(u *upload) *uploadPace {
	return &uploadPace{upload: u, began: time.Now()}
}

// before allows the next read its time.
func (p *uploadPace) before(total int64) {
	pace := p.x.f.Pace
	if pace.Grace == 0 || pace.Rate == 0 {
		return
	}
	until := p.began.Add(pace.Grace + time.Duration(float64(total)/float64(pace.Rate)*float64(time.Second)))
	if !p.until.IsZero() && until.Sub(p.until) < pace.Grace/8 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.final {
		p.until = until
		_ = p.control.SetReadDeadline(until)
	}
}

func (p *uploadPace) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.until.IsZero() && !p.final {
		_ = p.control.SetReadDeadline(time.Time{})
	}
}
