// Package workerdtest runs the real workerd in tests, to prove what it says and
// understands on the wire.
package workerdtest

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slipwayhq/slipway/toolchain"
)

// Serve runs workerd until the test ends and gives a client whose every request
// goes to it. config is a workerd configuration (workerd.capnp) with a socket
// named "http"; files lie beside it, by name. What workerd writes is in the
// test's log.
func Serve(t *testing.T, config string, files map[string]string) *http.Client {
	t.Helper()
	dir, err := toolchain.DefaultDir()
	if err != nil {
		t.Fatal(err)
	}
	tools, err := toolchain.Install(t.Context(), dir, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "config.capnp"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := Socket(t)
	var output lockedBuffer
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, tools.Tool("workerd"), "serve", "config.capnp", "--socket-addr=http=unix:"+socket)
	command.Dir = folder
	command.Stdout, command.Stderr = &output, &output
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = command.Wait()
	}()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		<-ended
		if text := output.String(); text != "" {
			t.Logf("workerd: %s", text)
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return &http.Client{Transport: transport, Timeout: 30 * time.Second}
		}
		select {
		case <-ended:
			t.Fatalf("workerd ended: %s", output.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("workerd did not start: %s", output.String())
		}
	}
}

// Socket gives a path for a unix socket, short enough for one.
func Socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
