// Package postgres runs a PostgreSQL server of our own as a supervised child:
// it finds or fetches the programs, makes the data folder on first start, and
// leaves neither a process nor a stale lock behind, however the parent ends.
//
// The server listens on 127.0.0.1 only, has no unix socket, and asks for a
// password that is kept in the data folder, readable by its owner alone.
package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/dev/child"
)

const (
	pollInterval = 50 * time.Millisecond
	// startTimeout allows for crash recovery of a large data folder on a slow disk.
	startTimeout = 2 * time.Minute
	// stopGrace is how long a fast shutdown may take before an immediate one is asked for.
	stopGrace = 20 * time.Second
)

// Options says where the server keeps its data and how it is reached.
type Options struct {
	// DataDir is created when missing. It holds the cluster, the password and a lock.
	DataDir string
	// Port to listen on at 127.0.0.1; 0 takes a free one.
	Port int
	// BinDir is the folder of initdb and postgres. Empty searches the PATH,
	// /usr/lib/postgresql/*/bin (newest first), then installs from npm.
	BinDir string
	// CacheDir is where programs from npm are kept; empty is /var/cache/slipway
	// for root, else the user's cache folder.
	CacheDir string
	// User is the superuser's name in the database; empty is "slipway".
	User string
	// Password is the superuser's; it counts on first start only. Empty makes a random one.
	Password string
	// Ephemeral trades every durability guarantee for speed: for tests.
	Ephemeral bool
	// Log receives the server's own log; nil discards it.
	Log io.Writer
	// Progress is told in one line about anything that may take more than a moment; nil is silence.
	Progress func(line string)
}

func (o Options) progress(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}

// Server is a started PostgreSQL server. Its methods are safe for concurrent use.
type Server struct {
	opts     Options
	bin      binaries
	owner    *syscall.Credential
	lock     *os.File
	password string
	port     int

	mu      sync.Mutex
	process *child.Process
	stopped bool
}

// Start makes the data folder if there is none, stops what a killed parent left
// running on it, starts the server and returns once it answers a query.
// The folder stays locked until Stop.
func Start(ctx context.Context, opts Options) (*Server, error) {
	if opts.User == "" {
		opts.User = "slipway"
	}
	s := &Server{opts: opts, port: opts.Port}
	if err := s.open(ctx); err != nil {
		s.unlock()
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return s, nil
}

// open brings the server up from whatever state the folder is in.
func (s *Server) open(ctx context.Context) error {
	if err := s.resolveDataDir(); err != nil {
		return err
	}
	if err := s.takeLock(); err != nil {
		return err
	}
	major, err := clusterMajor(s.clusterDir())
	if err != nil {
		return err
	}
	if s.bin, err = findBinaries(ctx, s.opts, major); err != nil {
		return err
	}
	if s.owner, err = serverUser(s.clusterDir()); err != nil {
		return err
	}
	if s.password, err = s.loadPassword(major > 0); err != nil {
		return err
	}
	if major == 0 {
		if err := s.initialize(ctx); err != nil {
			return err
		}
	}
	return s.run(ctx)
}

// URL is the connection string for a database of this server.
func (s *Server) URL(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(s.opts.User, s.password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port())),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Port is where the server listens on 127.0.0.1; it stays the same over restarts.
func (s *Server) Port() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.port
}

// CreateDatabase makes a database unless it is there already.
func (s *Server) CreateDatabase(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists); err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}

// Serve keeps the server company until ctx ends, then stops it, or until it
// dies, then returns why. A supervisor may call it again, which starts the
// server anew on the same port.
func (s *Server) Serve(ctx context.Context) error {
	return child.Kept{Name: "postgres", Current: s.current, Start: s.run, Stop: s.Stop}.Serve(ctx)
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

// Stop disconnects clients, shuts the server down and gives the folder back.
// When ctx ends early the shutdown is made immediate, which costs a recovery
// on the next start and loses nothing. It may be called more than once.
func (s *Server) Stop(ctx context.Context) {
	s.mu.Lock()
	s.stopped = true
	process := s.process
	s.mu.Unlock()
	// Outside the mutex: a second, hastier Stop must be able to overtake this one.
	if process != nil {
		process.Stop(ctx, stopGrace, syscall.SIGINT, syscall.SIGQUIT)
	}
	s.unlock()
}

// run starts the server process and waits until it answers.
func (s *Server) run(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return errors.New("stopped")
	}
	if err := s.stopLeftovers(ctx); err != nil {
		return err
	}
	// A free port can be taken by someone else before the server binds it.
	const attempts = 5
	for attempt := 1; ; attempt++ {
		port, err := pickPort(s.port)
		if err != nil {
			return err
		}
		process, err := s.launch(port)
		if err != nil {
			return err
		}
		s.process, s.port = process, port
		err = s.awaitAnswer(ctx, process)
		if err == nil {
			return nil
		}
		process.Stop(ctx, stopGrace, syscall.SIGQUIT)
		if s.opts.Port != 0 || attempt == attempts || !strings.Contains(process.Tail(), "could not bind") {
			return err
		}
		s.port = 0
	}
}

func (s *Server) launch(port int) (*child.Process, error) {
	// The cluster is named by an open descriptor, so the server's user needs no
	// way through the folders above it: a project under /root stays closed.
	cluster, err := os.Open(s.clusterDir())
	if err != nil {
		return nil, err
	}
	defer func() { _ = cluster.Close() }()
	args := []string{"-D", "/proc/self/fd/3"}
	for _, setting := range s.settings(port) {
		args = append(args, "-c", setting)
	}
	return child.Start(child.Options{
		Name:        "postgres",
		Path:        s.bin.path("postgres"),
		Args:        args,
		Env:         serverEnv(),
		Dir:         "/",
		Files:       []*os.File{cluster},
		Credential:  s.owner,
		DeathSignal: syscall.SIGQUIT,
		Output:      s.opts.Log,
	})
}

func (s *Server) settings(port int) []string {
	settings := []string{
		"listen_addresses=127.0.0.1",
		"port=" + strconv.Itoa(port),
		"unix_socket_directories=",
		"cluster_name=slipway",
		// Temporal's four services hold pools of their own beside ours.
		"max_connections=200",
		"log_line_prefix=%m [%p] ",
		"log_timezone=UTC",
		"timezone=UTC",
	}
	if s.opts.Ephemeral {
		settings = append(settings,
			"fsync=off", "synchronous_commit=off", "full_page_writes=off",
			"wal_level=minimal", "max_wal_senders=0", "autovacuum=off")
	}
	return settings
}

// awaitAnswer returns when the server has answered a query.
func (s *Server) awaitAnswer(ctx context.Context, process *child.Process) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	u := url.URL{Scheme: "postgres", User: url.UserPassword(s.opts.User, s.password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Path: "/postgres", RawQuery: "sslmode=disable&connect_timeout=5"}
	started, told := time.Now(), false
	for {
		conn, err := pgx.Connect(ctx, u.String())
		if err == nil {
			return conn.Close(ctx)
		}
		var refused *pgconnError
		if errors.As(err, &refused) && refused.Code == invalidPassword {
			return fmt.Errorf("the password in %s is not the one the data folder was made with", s.passwordFile())
		}
		select {
		case <-process.Done():
			if exit := process.Err(); exit != nil {
				return exit
			}
			return errors.New("the server shut itself down")
		default:
		}
		if err := pause(ctx, pollInterval); err != nil {
			return fmt.Errorf("the server did not answer within %s: %w\n%s", startTimeout, err, process.Tail())
		}
		if !told && time.Since(started) > 2*time.Second {
			told = true
			s.opts.progress("Waiting for PostgreSQL to recover its data folder …")
		}
	}
}

func (s *Server) clusterDir() string   { return filepath.Join(s.opts.DataDir, "cluster") }
func (s *Server) passwordFile() string { return filepath.Join(s.opts.DataDir, "password") }

// resolveDataDir makes the folder and settles on its one true path, by which
// leftover processes are recognised.
func (s *Server) resolveDataDir() error {
	dir, err := filepath.Abs(s.opts.DataDir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	s.opts.DataDir, err = filepath.EvalSymlinks(dir)
	return err
}

// takeLock makes this process the only one to use the folder, until it dies.
func (s *Server) takeLock() error {
	f, err := os.OpenFile(filepath.Join(s.opts.DataDir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return fmt.Errorf("the data folder %s is in use by another running process", s.opts.DataDir)
	}
	s.lock = f
	return nil
}

func (s *Server) unlock() {
	if s.lock != nil {
		_ = s.lock.Close() // again: an error that says nothing
	}
}

// loadPassword reads the stored password, or stores one for a new cluster.
func (s *Server) loadPassword(clusterExists bool) (string, error) {
	raw, err := os.ReadFile(s.passwordFile())
	if err == nil && (clusterExists || s.opts.Password == "") {
		return strings.TrimSpace(string(raw)), nil
	}
	if clusterExists {
		return "", fmt.Errorf("the data folder has no readable password: %w", err)
	}
	password := s.opts.Password
	if password == "" {
		random := make([]byte, 16)
		_, _ = rand.Read(random)
		password = hex.EncodeToString(random)
	}
	return password, os.WriteFile(s.passwordFile(), []byte(password+"\n"), 0o600)
}

// clusterMajor is the major version that made the cluster, 0 when there is none.
func clusterMajor(dir string) (int, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return 0, fmt.Errorf("%s/PG_VERSION says %q, which is no version this program knows", dir, raw)
	}
	return major, nil
}

// pickPort checks that a wanted port is free, or finds a free one for 0.
func pickPort(want int) (int, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(want)))
	if err != nil {
		return 0, fmt.Errorf("port %d is taken by another program: stop it, or choose another port: %w", want, err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// pause waits, or returns the context's error when that ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
