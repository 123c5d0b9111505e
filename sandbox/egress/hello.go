package egress

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// maxHello bounds what a client sends before it is known where it wants to go.
const maxHello = 64 << 10

// tlsHandshake is the first byte of a TLS connection (RFC 8446, section 5.1).
const tlsHandshake = 22

var errHelloRead = errors.New("the hello was read")

// readHello reads the first bytes of a tunnel and says whether they may go to
// the target. Large networks serve many names on one address and tell them
// apart by the name in TLS's first message, so an allowed name alone would open
// all of them: the name inside must be the same. What is no TLS passes on
// ports that are not https, for an operator's own plain registry.
func readHello(target Target, from io.Reader) ([]byte, error) {
	recorded := &helloConn{from: io.LimitReader(from, maxHello)}
	first := make([]byte, 1)
	if _, err := io.ReadFull(recorded, first); err != nil {
		return nil, err
	}
	if first[0] != tlsHandshake {
		if target.Port == 443 {
			return nil, errors.New("it is no TLS")
		}
		return recorded.seen.Bytes(), nil
	}
	// The reader below must see the first byte too, and record it once.
	recorded.from = io.MultiReader(bytes.NewReader(first), recorded.from)
	recorded.seen.Reset()
	var name string
	err := tls.Server(recorded, &tls.Config{
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			name = hello.ServerName
			return nil, errHelloRead
		},
	}).Handshake()
	if !errors.Is(err, errHelloRead) {
		return nil, fmt.Errorf("its TLS hello cannot be read: %w", err)
	}
	if strings.TrimSuffix(strings.ToLower(name), ".") != target.Host {
		return nil, fmt.Errorf("its TLS names %q", clip(name))
	}
	return recorded.seen.Bytes(), nil
}

// helloConn lets the TLS library read a client's hello and answer nothing.
type helloConn struct {
	from io.Reader
	seen bytes.Buffer
}

func (c *helloConn) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.seen.Write(p[:n])
	return n, err
}

func (c *helloConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *helloConn) Close() error                     { return nil }
func (c *helloConn) LocalAddr() net.Addr              { return nil }
func (c *helloConn) RemoteAddr() net.Addr             { return nil }
func (c *helloConn) SetDeadline(time.Time) error      { return nil }
func (c *helloConn) SetReadDeadline(time.Time) error  { return nil }
func (c *helloConn) SetWriteDeadline(time.Time) error { return nil }
