package guest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/sandbox/egress"
)

// ReadyLine is what process 1 writes to its stdout when commands may run.
const ReadyLine = "ready\n"

// initMain is process 1 of a sandbox. It adopts and reaps what the build
// leaves behind and carries local connections to the proxy's socket. It ends
// only by being killed from outside: the kernel then kills everything else.
func initMain(args []string) error {
	if os.Getpid() != 1 {
		return errors.New("only process 1 is this one")
	}
	// Every signal gets a handler, so that none sent inside ends this process
	// and the sandbox with it.
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	// Not dumpable: nobody inside reads or writes this process's memory.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make process 1 undumpable: %w", err)
	}
	if len(args) == 2 {
		listener, err := net.Listen("tcp", args[0])
		if err != nil {
			return fmt.Errorf("listen for the build's connections: %w", err)
		}
		go egress.Forward(listener, args[1])
	}
	if err := detachOutput(); err != nil {
		return err
	}
	for received := range signals {
		if received == unix.SIGCHLD {
			reap()
		}
	}
	return nil
}

// detachOutput says ready and then lets go of the host's pipe.
func detachOutput() error {
	if _, err := os.Stdout.WriteString(ReadyLine); err != nil {
		return fmt.Errorf("say ready: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for fd := 0; fd <= 2; fd++ {
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return fmt.Errorf("let go of the host's pipe: %w", err)
		}
	}
	return nil
}

func reap() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
	}
}
