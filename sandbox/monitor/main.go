package monitor

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Started says whether this process was started as a monitor.
func Started() bool { return len(os.Args) == 1 && os.Args[0] == name }

// Main runs the monitor until its provider is gone and everything it adopted
// has ended, and returns its exit code.
func Main() int {
	// The kernel ties the runtime's life to the thread that started it.
	runtime.LockOSThread()
	// Nothing this process was left by those before it is for a service.
	if err := unix.CloseRange(controlFD, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		unix.CloseOnExec(controlFD)
	}
	// Whatever ends the provider ends the services; a signal meant for both must
	// not end the monitor first. Ignored ones would be ignored by services too;
	// taken ones are not.
	signal.Notify(make(chan os.Signal, 1), unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "adopt processes:", err)
		return 1
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	socket, err := unixConn(os.NewFile(controlFD, "control"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	w := &watch{
		socket: socket, null: null, warmer: newWarmer(), launching: map[int]request{}, programs: map[int]uint64{}, unclaimed: map[int]int{},
	}
	w.run()
	return 0
}

// watch is the monitor's own state, by process number. One goroutine has it.
type watch struct {
	socket *net.UnixConn
	null   *os.File
	warmer *warmer
	// launching are the runtimes that run, programs what they started.
	launching map[int]request
	programs  map[int]uint64
	// unclaimed are exit codes of adopted processes not yet known as anything:
	// a program may end before its runtime does.
	unclaimed map[int]int
}

// received is a request with the descriptors that came with it.
type received struct {
	request
	files []int
}

func (w *watch) run() {
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	requests := make(chan received)
	go receive(w.socket, requests)
	for requests != nil {
		select {
		case r, open := <-requests:
			if !open {
				requests = nil
				break
			}
			w.handle(r)
		case <-children:
			w.reap()
		}
	}
	w.killAll()
}

// receive reads requests until the provider is gone.
func receive(socket *net.UnixConn, to chan<- received) {
	defer close(to)
	buffer, rights := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4*MaxFiles))
	for {
		n, extra, _, _, err := socket.ReadMsgUnix(buffer, rights)
		if err != nil || n == 0 {
			return
		}
		var r received
		messages, _ := unix.ParseSocketControlMessage(rights[:extra])
		for i := range messages {
			files, _ := unix.ParseUnixRights(&messages[i])
			r.files = append(r.files, files...)
		}
		if json.Unmarshal(buffer[:n], &r.request) != nil {
			closeAll(r.files)
			continue
		}
		to <- r
	}
}

func closeAll(files []int) {
	for _, file := range files {
		_ = unix.Close(file)
	}
}

func (w *watch) handle(r received) {
	if r.Cancel {
		for pid, launch := range w.launching {
			if launch.Launch == r.Launch {
				_ = unix.Kill(-pid, unix.SIGKILL)
			}
		}
		return
	}
	files := []uintptr{w.null.Fd()}
	for _, file := range r.files {
		files = append(files, uintptr(file))
	}
	w.warmer.begin()
	pid, err := syscall.ForkExec(r.Args[0], r.Args, &syscall.ProcAttr{
		Dir: "/", Env: r.Env, Files: files,
		Sys: &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true},
	})
	// The other ends must see the program alone holding these.
	closeAll(r.files)
	if err != nil {
		w.warmer.end()
		w.tell(event{Launch: r.Launch, Failed: err.Error()})
		return
	}
	w.launching[pid] = r.request
}

// reap takes every process that has ended.
func (w *watch) reap() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			break
		}
		code := exitCode(status)
		if launch, is := w.launching[pid]; is {
			delete(w.launching, pid)
			w.warmer.end()
			w.launched(launch, code)
		} else if number, is := w.programs[pid]; is {
			delete(w.programs, pid)
			w.tell(event{Launch: number, Ended: true, Code: code})
		} else {
			w.unclaimed[pid] = code
		}
	}
	if len(w.launching) == 0 {
		clear(w.unclaimed)
	}
}

// launched deals with a runtime that has exited.
func (w *watch) launched(r request, code int) {
	if code != 0 {
		w.tell(event{Launch: r.Launch, Failed: fmt.Sprintf("the runtime ended with exit code %d", code)})
		return
	}
	content, err := os.ReadFile(r.PIDFile)
	pid, parseErr := strconv.Atoi(strings.TrimSpace(string(content)))
	if err = errors.Join(err, parseErr); err != nil {
		w.tell(event{Launch: r.Launch, Failed: fmt.Sprintf("the runtime did not say what it started: %v", err)})
		return
	}
	w.tell(event{Launch: r.Launch, PID: pid})
	if code, ended := w.unclaimed[pid]; ended {
		delete(w.unclaimed, pid)
		w.tell(event{Launch: r.Launch, Ended: true, Code: code})
		return
	}
	w.programs[pid] = r.Launch
}

func (w *watch) tell(e event) {
	content, err := json.Marshal(e)
	if err == nil {
		_, err = w.socket.Write(content)
	}
	if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		fmt.Fprintln(os.Stderr, "tell the provider:", err)
	}
}

// killAll kills every process there is below this one. A program is process 1
// of its namespace, with which the kernel ends all others in it.
func (w *watch) killAll() {
	for {
		for _, pid := range descendants() {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.ECHILD) {
			return
		}
		if number, is := w.programs[pid]; is && err == nil {
			delete(w.programs, pid)
			w.tell(event{Launch: number, Ended: true, Code: exitCode(status)})
		}
	}
}

// descendants are this process's children. Theirs become its own when they end.
func descendants() []int {
	own := strconv.Itoa(os.Getpid())
	var children []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		content, err := os.ReadFile(stat)
		if err != nil {
			continue
		}
		// "number (name, which may hold anything) state parent …"
		fields := strings.Fields(string(content[strings.LastIndexByte(string(content), ')')+1:]))
		if len(fields) < 2 || fields[1] != own || fields[0] == "Z" {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(stat))); err == nil {
			children = append(children, pid)
		}
	}
	return children
}

func exitCode(status unix.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
