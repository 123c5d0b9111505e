// Package monitor is one process on the host beside a provider of services. It
// calls the OCI runtime for the provider, adopts and reaps the programs that
// starts, says how each ended, and kills them all when the provider is gone,
// however that came about: the kernel closes the socket between them.
//
// It does for all services of a provider what a shim does for one process of a
// build, because a service would otherwise cost another process for as long as
// it lives and the start of one each time.
package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"

	"golang.org/x/sys/unix"
)

// name is the monitor's argv[0].
const name = "slipway-sandbox-monitor"

// controlFD is the monitor's end of the socket.
const controlFD = 3

// maxMessage bounds a message; those with arguments are about 1 KiB.
const maxMessage = 64 << 10

// MaxFiles is how many files a launch can hand over.
const MaxFiles = 64

// Launch is a call of the runtime that starts a program and then exits.
type Launch struct {
	// Args is the runtime, by its path, and its arguments; Env all of its
	// environment.
	Args, Env []string
	// PIDFile is where the runtime writes the program's number.
	PIDFile string
	// Files are its descriptors from 1 on; 0 is /dev/null. The caller may close
	// its own afterwards.
	Files []*os.File
}

// ErrGone says that the monitor ended, and with it knowledge of its programs.
var ErrGone = errors.New("the sandbox monitor has ended")

// Monitor is a running monitor, seen from the provider. Safe for concurrent use.
type Monitor struct {
	socket  *net.UnixConn
	process *exec.Cmd
	gone    chan struct{}

	mu       sync.Mutex
	launches map[uint64]*Program
	last     uint64
}

// Program is what a Launch started.
type Program struct {
	// PID is its number on the host.
	PID     int
	started chan error
	ended   chan struct{}
	code    int
}

// Ended is closed when the program has ended and was reaped, or the monitor
// has ended.
func (p *Program) Ended() <-chan struct{} { return p.ended }

// Code is the program's exit code, or 128 plus the signal that killed it; only
// after Ended. 137 where the monitor ended first.
func (p *Program) Code() int { return p.code }

// request is what the provider says; its files come along with it.
type request struct {
	Launch uint64
	// Cancel ends a launch whose runtime has not exited yet.
	Cancel  bool     `json:",omitempty"`
	Args    []string `json:",omitempty"`
	Env     []string `json:",omitempty"`
	PIDFile string   `json:",omitempty"`
}

// event is what the monitor says of a launch: first PID or Failed, and after PID
// that it Ended, with its code.
type event struct {
	Launch uint64
	PID    int    `json:",omitempty"`
	Failed string `json:",omitempty"`
	Ended  bool   `json:",omitempty"`
	Code   int    `json:",omitempty"`
}

// Start starts a monitor: executable is this program, whose main calls
// sandbox.RunInit.
func Start(executable string, env []string) (*Monitor, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("connect the sandbox monitor: %w", err)
	}
	mine, theirs := os.NewFile(uintptr(pair[0]), "monitor"), os.NewFile(uintptr(pair[1]), "monitor")
	defer theirs.Close()
	socket, err := unixConn(mine)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(executable)
	cmd.Args = []string{name}
	cmd.Dir, cmd.Env = "/", env
	cmd.ExtraFiles = []*os.File{theirs}
	// What is sent to the provider's group (Ctrl-C) is not for the monitor.
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		socket.Close()
		return nil, fmt.Errorf("start the sandbox monitor: %w", err)
	}
	m := &Monitor{socket: socket, process: cmd, gone: make(chan struct{}), launches: map[uint64]*Program{}}
	go m.listen()
	return m, nil
}

// unixConn takes over a file that is a socket.
func unixConn(file *os.File) (*net.UnixConn, error) {
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("use the sandbox monitor's socket: %w", err)
	}
	return conn.(*net.UnixConn), nil
}

// Gone is closed when the monitor has ended.
func (m *Monitor) Gone() <-chan struct{} { return m.gone }

// Launch calls the runtime and returns when that has exited. When the context
// ends first the runtime is killed; what it left half-made is the caller's to
// clear away.
func (m *Monitor) Launch(ctx context.Context, launch Launch) (*Program, error) {
	if len(launch.Files) > MaxFiles {
		return nil, fmt.Errorf("%d files are too many to hand over", len(launch.Files))
	}
	program := &Program{started: make(chan error, 1), ended: make(chan struct{})}
	m.mu.Lock()
	if m.launches == nil {
		m.mu.Unlock()
		return nil, ErrGone
	}
	m.last++
	number := m.last
	m.launches[number] = program
	m.mu.Unlock()
	err := m.send(request{Launch: number, Args: launch.Args, Env: launch.Env, PIDFile: launch.PIDFile}, launch.Files)
	if err != nil {
		m.forget(number)
		return nil, err
	}
	select {
	case err = <-program.started:
	case <-ctx.Done():
		_ = m.send(request{Launch: number, Cancel: true}, nil)
		// It answers at once, or has ended.
		if err = <-program.started; err == nil {
			return program, nil
		}
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	return program, nil
}

func (m *Monitor) send(r request, files []*os.File) error {
	content, err := json.Marshal(r)
	if err != nil {
		return err
	}
	var rights []byte
	if len(files) > 0 {
		descriptors := make([]int, len(files))
		for i, file := range files {
			descriptors[i] = int(file.Fd())
		}
		rights = unix.UnixRights(descriptors...)
	}
	if _, _, err := m.socket.WriteMsgUnix(content, rights, nil); err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return nil
}

// listen takes the monitor's events until it is gone.
func (m *Monitor) listen() {
	buffer := make([]byte, maxMessage)
	for {
		n, err := m.socket.Read(buffer)
		if err != nil || n == 0 {
			break
		}
		var e event
		if json.Unmarshal(buffer[:n], &e) == nil {
			m.take(e)
		}
	}
	_ = m.socket.Close()
	_ = m.process.Wait()
	close(m.gone)
	m.mu.Lock()
	launches := m.launches
	m.launches = nil
	m.mu.Unlock()
	for _, program := range launches {
		program.end(128 + int(unix.SIGKILL))
	}
}

func (m *Monitor) take(e event) {
	m.mu.Lock()
	program := m.launches[e.Launch]
	m.mu.Unlock()
	switch {
	case program == nil:
	case e.Failed != "":
		m.forget(e.Launch)
		program.started <- errors.New(e.Failed)
	case e.Ended:
		m.forget(e.Launch)
		program.end(e.Code)
	default:
		program.PID = e.PID
		program.started <- nil
	}
}

func (m *Monitor) forget(number uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.launches, number)
}

// end is called once: by whoever took the program from the launches.
func (p *Program) end(code int) {
	p.code = code
	select {
	case p.started <- ErrGone: // nobody was told that it started
	default:
	}
	close(p.ended)
}

// Close ends the monitor and all its programs, and returns when they are gone.
func (m *Monitor) Close() error {
	// Half of the socket: the monitor still says how they ended.
	err := m.socket.CloseWrite()
	<-m.gone
	return err
}
