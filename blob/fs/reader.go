package fs

import (
	"context"
	"errors"
	"io"
	"os"
)

// reader gives an object, or left bytes of it (-1 is all), until ctx ends.
type reader struct {
	ctx  context.Context
	file *os.File
	left int64
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	if r.left > 0 && int64(len(p)) > r.left {
		p = p[:r.left]
	}
	n, err := r.file.Read(p)
	if r.left > 0 {
		r.left -= int64(n)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = unavailable(err)
	}
	return n, err
}

func (r *reader) Close() error { return r.file.Close() }
