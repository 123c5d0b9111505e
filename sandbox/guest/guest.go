// Package guest is what runs inside a sandbox: its first process, which
// carries connections to the registry proxy, and small commands that run a
// build step, unpack files and pack output.
//
// It is untrusted like everything else in there: hosts check all it says. It
// holds no privilege either: it runs without capabilities, under the same
// system call list as the build.
package guest

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Path is where the executable is mounted inside a sandbox, and its argv[0].
const Path = "/.slipway/guest"

// The commands of the guest, its first argument.
const (
	// CommandInit is process 1: init [LISTEN SOCKET]. It writes ReadyLine.
	CommandInit = "init"
	// CommandRun runs the rest of its arguments and reports on fd 3.
	CommandRun = "run"
	// CommandKill kills every process it may but process 1. It is for runtimes
	// whose processes the host cannot see, and started with the privilege to.
	CommandKill = "kill"
	// CommandUnpack reads a tar stream into the folder it is given.
	CommandUnpack = "unpack"
	// CommandPack writes a tar stream of the folder it is given, relative to
	// the working folder; CommandPackTree carries symbolic links too.
	CommandPack     = "pack"
	CommandPackTree = "pack-tree"
	// CommandCopy copies the first folder's content to the second.
	CommandCopy = "copy"
	// CommandBundle bundles the worker of a built project.
	CommandBundle = "bundle"
	// CommandProbe looks at the sandbox from the inside and writes a Probe.
	CommandProbe = "probe"
)

// Exit codes of the guest's own commands.
const (
	ExitUsage = 2
	// ExitRefused says that what was asked for is not possible with the files
	// there are; the reason is the last line on stderr.
	ExitRefused = 3
	// ExitAbsent says that the folder asked for does not exist.
	ExitAbsent = 4
	ExitFailed = 5
	// ExitUnbundled says that a worker's code is wrong; stderr and stdout say where.
	ExitUnbundled = 6
	// ExitNotExecutable and ExitNotFound are a shell's.
	ExitNotExecutable = 126
	ExitNotFound      = 127
)

// Started says whether this process was started inside a sandbox as the guest.
func Started() bool { return len(os.Args) > 1 && os.Args[0] == Path }

// Main runs the guest command named by args and returns its exit code.
func Main(args []string) int {
	// The host's, which came along, may be anything.
	unix.Umask(0o022)
	name, rest := args[0], args[1:]
	switch name {
	case CommandInit:
		return exit(initMain(rest))
	case CommandRun:
		return runMain(rest)
	case CommandKill:
		killAll()
		return 0
	case CommandUnpack:
		return exit(unpackMain(rest))
	case CommandPack:
		return exit(packMain(rest, false))
	case CommandPackTree:
		return exit(packMain(rest, true))
	case CommandCopy:
		return exit(copyMain(rest))
	case CommandBundle:
		return bundleMain()
	case CommandProbe:
		return exit(probeMain())
	}
	return exit(fmt.Errorf("unknown guest command %q", name))
}

// errRefused and errAbsent choose the exit code.
var (
	errRefused = errors.New("refused")
	errAbsent  = errors.New("no such folder")
)

func exit(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	switch {
	case errors.Is(err, errAbsent):
		return ExitAbsent
	case errors.Is(err, errRefused):
		return ExitRefused
	}
	return ExitFailed
}
