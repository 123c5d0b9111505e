package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Report is what CommandRun writes to fd 3 when its program ended. No report
// means that the supervisor itself was killed.
type Report struct {
	ExitCode int  `json:"exitCode"`
	DiskFull bool `json:"diskFull"`
}

// reportFD is where the host listens. The program does not inherit it.
const reportFD = 3

// diskSampleInterval is how often free space is looked at: package managers
// remove what they wrote as soon as they fail, so the end is too late.
const diskSampleInterval = 50 * time.Millisecond

// runMain runs a program and, when it ended, kills everything it left: a
// daemon would otherwise hold the output open.
func runMain(args []string) int {
	unix.CloseOnExec(reportFD)
	if len(args) == 0 {
		return ExitUsage
	}
	disk := watchDisk()
	report := Report{ExitCode: runProgram(args)}
	report.DiskFull = disk()
	killOthers()
	out := os.NewFile(reportFD, "report")
	if err := json.NewEncoder(out).Encode(report); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
	}
	return report.ExitCode
}

// killOthers kills every other process it may, and says whether there was any.
// Without privileges that reaches the build's only: neither this one (kill(2)
// skips it) nor process 1.
func killOthers() bool { return unix.Kill(-1, unix.SIGKILL) == nil }

// killAll kills until nobody is left or a second is over. Some kernels let
// processes fork while they count whom to kill.
func killAll() {
	for end := time.Now().Add(time.Second); killOthers() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

func runProgram(args []string) int {
	// The program is a better victim for the kernel than this supervisor. The
	// child inherits the score; lowering it again to where it was is allowed.
	setOOMScore("500")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	err := cmd.Start()
	setOOMScore("0")
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %s\n", args[0], startFailure(err))
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			return ExitNotFound
		}
		return ExitNotExecutable
	}
	// Not dumpable from here on: the program cannot reach into the supervisor.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	_ = cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return cmd.ProcessState.ExitCode()
}

func startFailure(err error) string {
	if errors.Is(err, exec.ErrNotFound) {
		return "command not found"
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

func setOOMScore(score string) {
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte(score), 0)
}

// watchDisk samples the writable folders; the function it returns ends that
// and says whether any of them was full at some time.
func watchDisk() func() bool {
	var full atomic.Bool
	done := make(chan struct{})
	go func() {
		ticker := time.NewTicker(diskSampleInterval)
		defer ticker.Stop()
		for !full.Load() {
			select {
			case <-done:
				return
			case <-ticker.C:
				if diskFull() {
					full.Store(true)
				}
			}
		}
	}()
	return func() bool {
		close(done)
		return full.Load() || diskFull()
	}
}

func diskFull() bool {
	for _, folder := range []string{"/workspace", "/workspace/node_modules", "/home/build", "/tmp"} {
		var stat unix.Statfs_t
		if unix.Statfs(folder, &stat) != nil {
			continue
		}
		if stat.Blocks > 0 && stat.Bavail*uint64(stat.Bsize) < 64<<10 {
			return true
		}
		if stat.Files > 0 && stat.Ffree == 0 {
			return true
		}
	}
	return false
}
