// Package shim is a small process on the host between a sandbox provider and
// an OCI runtime. The runtime starts a process in a sandbox and exits; the
// kernel then gives that process to the nearest adopter. The shim is it: it
// reaps the process whatever the host's own process 1 does. Until the runtime is
// done the shim dies with its provider, so that no runtime goes on after a
// crash; then it lives as long as the process.
package shim

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

const name = "slipway-sandbox-shim"

// The file descriptors of a shim: it writes Launched to statusFD when the
// runtime exited well. What comes after goes to the runtime from 3 on.
const (
	statusFD   = 3
	firstExtra = 4
)

// Launched is what a shim says when the runtime has started the process.
const Launched = "launched\n"

// Command makes the command that runs argv under a shim: executable is this
// program, whose main calls sandbox.RunInit. status gets Launched; extra files
// become file descriptors 3 and up of argv.
func Command(executable string, status *os.File, extra []*os.File, argv ...string) *exec.Cmd {
	cmd := exec.Command(executable)
	cmd.Args = append([]string{name, fmt.Sprint(len(extra))}, argv...)
	cmd.ExtraFiles = append([]*os.File{status}, extra...)
	return cmd
}

// Started says whether this process was started as a shim.
func Started() bool { return len(os.Args) > 2 && os.Args[0] == name }

// Main runs the shim and returns its exit code: the runtime's when that
// failed, else 0 once everything adopted has ended.
func Main() int {
	runtime.LockOSThread()
	unix.CloseOnExec(statusFD)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "adopt processes:", err)
		return 1
	}
	var extra []*os.File
	count, _ := strconv.Atoi(os.Args[1])
	for i := range count {
		unix.CloseOnExec(firstExtra + i)
		extra = append(extra, os.NewFile(uintptr(firstExtra+i), "extra"))
	}
	launch := exec.Command(os.Args[2], os.Args[3:]...)
	launch.Stdin, launch.Stdout, launch.Stderr, launch.ExtraFiles = os.Stdin, os.Stdout, os.Stderr, extra
	launch.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := launch.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(1, launch.ProcessState.ExitCode())
	}
	// From here on it outlives the provider, to reap what a sweeper kills.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "outlive the provider:", err)
	}
	// The other ends must see the sandbox's process alone holding these.
	for _, file := range append(extra, os.Stdin, os.Stdout, os.Stderr) {
		_ = file.Close()
	}
	status := os.NewFile(statusFD, "status")
	_, _ = status.WriteString(Launched)
	_ = status.Close()
	reapAll()
	return 0
}

func reapAll() {
	for {
		_, err := unix.Wait4(-1, nil, 0, nil)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
