// Package temporal runs the embedded Temporal server (the program in
// devserver/) as a supervised child.
package temporal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/slipwayhq/slipway/dev/child"
)

const (
	// startTimeout is generous: a first start creates the whole schema.
	startTimeout = 3 * time.Minute
	// stopGrace is how long the four services may take to hand in their work.
	stopGrace = 15 * time.Second
)

// SearchAttributes are the ones Slipway's workflows set; all are of type Keyword.
func SearchAttributes() []string {
	return []string{"CurrentStep", "DeploymentStatus", "OrganizationId", "ProjectId"}
}

// Options says how the server is started.
type Options struct {
	// Binary is the program built from devserver/.
	Binary string
	// PostgresURL is a server to persist in, by a user who may create databases.
	// Empty keeps everything in memory.
	PostgresURL string
	// Port of the gRPC frontend on 127.0.0.1; 0 takes a free one.
	Port int
	// UIPort of the Web UI on 127.0.0.1; 0 takes a free one.
	UIPort int
	// Headless leaves the Web UI out.
	Headless bool
	// DynamicConfig holds settings of the server by their dotted names; values are JSON.
	DynamicConfig map[string]string
	// Log receives the server's own log; nil discards it.
	Log io.Writer
	// Progress is told in one line about anything that may take more than a moment; nil is silence.
	Progress func(line string)
}

// Server is a started Temporal server. Its methods are safe for concurrent use.
type Server struct {
	opts Options

	mu      sync.Mutex
	process *child.Process
	address string
	uiURL   string
	stopped bool
}

// Start returns when the server has run a workflow on every history shard and
// knows Slipway's search attributes.
func Start(ctx context.Context, opts Options) (*Server, error) {
	s := &Server{opts: opts}
	if err := s.run(ctx); err != nil {
		return nil, fmt.Errorf("temporal: %w", err)
	}
	return s, nil
}

// Address is the gRPC frontend's host:port; it stays the same over restarts.
func (s *Server) Address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.address
}

// UIURL is where the Web UI answers; empty when headless.
func (s *Server) UIURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.uiURL
}

// Serve keeps the server company until ctx ends, then stops it, or until it
// dies, then returns why. A supervisor may call it again, which starts the
// server anew on the same ports.
func (s *Server) Serve(ctx context.Context) error {
	return child.Kept{Name: "temporal", Current: s.current, Start: s.run, Stop: s.Stop}.Serve(ctx)
}

func (s *Server) current() (process *child.Process, stopped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process, s.stopped
}

// Done is closed when the process running at the time of the call has exited.
func (s *Server) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process.Done()
}

// Stop ends the server, in order if ctx allows. It may be called more than once.
func (s *Server) Stop(ctx context.Context) {
	s.mu.Lock()
	s.stopped = true
	process := s.process
	s.mu.Unlock()
	// Outside the mutex: a second, hastier Stop must be able to overtake this one.
	if process != nil {
		process.Stop(ctx, stopGrace, syscall.SIGTERM)
	}
}

// run starts the process and waits for its ready line.
func (s *Server) run(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return errors.New("stopped")
	}
	ready := &readyWriter{found: make(chan struct{})}
	process, err := child.Start(child.Options{
		Name:   "temporal",
		Path:   s.opts.Binary,
		Args:   s.arguments(),
		Env:    s.environment(),
		Stdout: ready,
		Output: s.opts.Log,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	slow := time.NewTimer(2 * time.Second)
	defer slow.Stop()
	for {
		select {
		case <-ready.found:
			s.process, s.address, s.uiURL = process, ready.line.Address, ready.line.UI
			return nil
		case <-process.Done():
			if err := process.Err(); err != nil {
				return err
			}
			return errors.New("the server shut itself down while starting")
		case <-ctx.Done():
			process.Stop(ctx, stopGrace, syscall.SIGTERM)
			return fmt.Errorf("the server was not ready in time: %w\n%s", ctx.Err(), process.Tail())
		case <-slow.C:
			if s.opts.Progress != nil {
				s.opts.Progress("Waiting for Temporal to run its first workflow …")
			}
		}
	}
}

func (s *Server) arguments() []string {
	args := []string{"server", "start-dev", "--exit-with-parent", "--ip", "127.0.0.1", "--log-format", "json",
		"--port", s.portArgument(s.address, s.opts.Port)}
	if s.opts.Headless {
		args = append(args, "--headless")
	} else {
		ui := ""
		if len(s.uiURL) > len("http://") {
			ui = s.uiURL[len("http://"):]
		}
		args = append(args, "--ui-port", s.portArgument(ui, s.opts.UIPort))
	}
	for _, name := range SearchAttributes() {
		args = append(args, "--search-attribute", name+"=Keyword")
	}
	keys := make([]string, 0, len(s.opts.DynamicConfig))
	for key := range s.opts.DynamicConfig {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		args = append(args, "--dynamic-config-value", key+"="+s.opts.DynamicConfig[key])
	}
	return args
}

// portArgument is the port of an earlier start, so that clients find the server
// again, else the wanted one.
func (s *Server) portArgument(earlier string, wanted int) string {
	if _, port, err := net.SplitHostPort(earlier); err == nil {
		return port
	}
	return strconv.Itoa(wanted)
}

// environment passes the database by environment, since arguments are public to
// every user of the machine and the URL holds a password.
func (s *Server) environment() []string {
	env := []string{"HOME=/", "TMPDIR=" + os.TempDir(), "PATH=" + os.Getenv("PATH")}
	for _, name := range []string{"GOMEMLIMIT", "GOMAXPROCS", "TZ"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	if s.opts.PostgresURL != "" {
		env = append(env, "SLIPWAY_DEVSERVER_POSTGRES_URL="+s.opts.PostgresURL)
	}
	return env
}

// readyWriter takes the first line of stdout apart and ignores the rest.
type readyWriter struct {
	buffer bytes.Buffer
	line   struct {
		Address string `json:"address"`
		UI      string `json:"ui"`
	}
	found chan struct{}
	done  bool
}

func (w *readyWriter) Write(b []byte) (int, error) {
	if w.done {
		return len(b), nil
	}
	w.buffer.Write(b)
	line, _, complete := bytes.Cut(w.buffer.Bytes(), []byte("\n"))
	if !complete {
		return len(b), nil
	}
	w.done = true
	if err := json.Unmarshal(line, &w.line); err == nil && w.line.Address != "" {
		close(w.found)
	}
	return len(b), nil
}
