// Package s3test starts a real S3 server (versitygw on a temporary folder) for
// tests, and breaks and mends it for them.
package s3test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/blob/s3"
	"github.com/slipwayhq/slipway/tools/program"
)

const (
	// Bucket is the bucket Options and Env name; the store makes it.
	Bucket    = "slipway-test"
	region    = "us-east-1"
	accessKey = "slipway-test"
	secretKey = "slipway-test-secret"

	startTimeout = time.Minute
	// startAttempts is how many free ports are tried: between the choice of one
	// and the server's listening, another program may take it.
	startAttempts = 5
)

var errExited = errors.New("it exited")

// Server is a running S3 server without TLS that wants path-style addresses. Its
// methods are for one goroutine, the test's.
type Server struct {
	// Endpoint is host:port, the same after Restart.
	Endpoint  string
	AccessKey string
	SecretKey string
	Region    string

	t       testing.TB
	program string
	args    []string
	logFile string
	process *exec.Cmd
}

// Start builds the server when needed (minutes the first time on a machine, then
// about a second), starts it on a free port with an empty folder, and stops it when
// the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	bin, err := program.Build("versitygw", "github.com/versity/versitygw/cmd/versitygw")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	objects, metadata := filepath.Join(dir, "objects"), filepath.Join(dir, "metadata")
	for _, folder := range []string{objects, metadata} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	backend := []string{"posix"}
	if unix.Setxattr(objects, "user.slipway-test", []byte("1"), 0) != nil {
		backend = append(backend, "--sidecar", metadata) // no extended attributes here
	}
	s := &Server{
		AccessKey: accessKey,
		SecretKey: secretKey,
		Region:    region,
		t:         t,
		program:   filepath.Join(bin, "versitygw"),
		logFile:   filepath.Join(dir, "log"),
	}
	t.Cleanup(s.Stop)
	for range startAttempts {
		s.Endpoint = freeAddress(t)
		s.args = append([]string{"--quiet", "--keep-alive", "--port", s.Endpoint, "--region", region}, append(backend, objects)...)
		if err = s.start(); !errors.Is(err, errExited) {
			break
		}
	}
	s.mustHaveStarted(err)
	return s
}

// Options are those of a store in this server.
func (s *Server) Options() s3.Options {
	return s3.Options{
		Endpoint: s.Endpoint, Region: s.Region, Bucket: Bucket,
		AccessKey: s.AccessKey, SecretKey: s.SecretKey, PathStyle: true,
	}
}

// Env are the same as settings, NAME=value, for a program started by a test.
func (s *Server) Env() []string {
	return []string{
		"S3_ENDPOINT=" + s.Endpoint, "S3_REGION=" + s.Region, "S3_BUCKET=" + Bucket,
		"S3_ACCESS_KEY_ID=" + s.AccessKey, "S3_SECRET_ACCESS_KEY=" + s.SecretKey,
		"S3_USE_SSL=false", "S3_PATH_STYLE=true",
	}
}

// Stop kills the server as a crash would; connections to it are then refused. It
// does nothing when the server is not running.
func (s *Server) Stop() {
	if s.process == nil {
		return
	}
	s.signal(syscall.SIGKILL)
	_ = s.process.Wait() // reports the signal
	s.process = nil
}

// Pause freezes the server: it takes connections and never answers, until Resume
// or Stop.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

// Restart starts the server, after stopping it if it runs, with the same address
// and the objects it had, and waits until it answers.
func (s *Server) Restart() {
	s.t.Helper()
	s.mustHaveStarted(s.start())
}

// start starts the program, and waits until it answers or exits (errExited).
func (s *Server) start() error {
	s.Stop()
	log, err := os.OpenFile(s.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.program, s.args...)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.SecretKey)
	cmd.Stdout, cmd.Stderr = log, log
	// A test binary that is killed takes its server with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.process = cmd
	return s.awaitAnswer()
}

func (s *Server) mustHaveStarted(err error) {
	s.t.Helper()
	if err != nil {
		output, _ := os.ReadFile(s.logFile)
		s.t.Fatalf("the S3 test server does not start: %v\n%s", err, output)
	}
}

// awaitAnswer polls until the server speaks HTTP; an anonymous request is refused,
// which is answer enough.
func (s *Server) awaitAnswer() error {
	transport := &http.Transport{DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: time.Second}
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(10 * time.Millisecond) {
		response, err := client.Get("http://" + s.Endpoint + "/")
		if err == nil {
			return response.Body.Close()
		}
		if exited(s.process.Process.Pid) {
			return errExited
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no answer in %s: %w", startTimeout, err)
		}
	}
}

func (s *Server) signal(sig syscall.Signal) {
	if s.process == nil {
		s.t.Fatal("the S3 test server is not running")
	}
	if err := s.process.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Error(err)
	}
}

// exited tells whether a child has ended, without reaping it.
func exited(pid int) bool {
	var status unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &status, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err != nil || status.Signo != 0
}

func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
