package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

// load is a fixed number of equal requests over connections that stay open. It
// writes and reads HTTP/1.1 by hand: it shares the machine with the server, and
// what it spends the server cannot.
type load struct {
	addr string
	// request is sent as it is.
	request  []byte
	clients  int
	requests int
}

// loadPatience bounds one turn of load.
const loadPatience = time.Minute

func newLoad(addr, host, path, encoding string, clients, requests int) load {
	request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\nAccept-Encoding: %s\r\n\r\n", path, host, encoding)
	return load{addr: addr, request: []byte(request), clients: clients, requests: requests}
}

// run makes the requests. Every answer must be 200 with bodyBytes bytes.
func (l load) run(ctx context.Context, bodyBytes int64) (made int, took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, loadPatience)
	defer cancel()
	each := max(1, l.requests/l.clients)
	clients, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for range l.clients {
		clients.Go(func() error { return l.client(ctx, each, bodyBytes) })
	}
	err = clients.Wait()
	return each * l.clients, time.Since(began), err
}

// client makes n requests, one after the other.
func (l load) client(ctx context.Context, n int, bodyBytes int64) error {
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return err
	}
	defer connection.Close()
	// Ends a read or write that waits.
	defer context.AfterFunc(ctx, func() { _ = connection.SetDeadline(time.Now()) })()
	reader := bufio.NewReaderSize(connection, 64<<10)
	for range n {
		if _, err := connection.Write(l.request); err != nil {
			return err
		}
		got, err := readAnswer(reader)
		if err != nil {
			return fmt.Errorf("answer of %s: %w", l.addr, err)
		}
		if got != bodyBytes {
			return fmt.Errorf("answer of %s: %d bytes instead of %d", l.addr, got, bodyBytes)
		}
	}
	return nil
}

// readAnswer reads one answer and returns the size of its body.
func readAnswer(r *bufio.Reader) (int64, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return 0, fmt.Errorf("not 200: %q", line)
	}
	length, chunked := int64(-1), false
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch value = bytes.TrimSpace(value); {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return 0, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("Connection")) && bytes.EqualFold(value, []byte("close")):
			return 0, errors.New("the server closes the connection")
		}
	}
	switch {
	case chunked:
		n, err := io.Copy(io.Discard, httputil.NewChunkedReader(r))
		if err == nil {
			// The empty line after the last chunk.
			_, err = r.ReadSlice('\n')
		}
		return n, err
	case length < 0:
		return 0, errors.New("no length")
	default:
		n, err := r.Discard(int(length))
		return int64(n), err
	}
}
