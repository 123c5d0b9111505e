package oci

import (
	"path/filepath"
	"strings"
)

// engine is what sets one OCI runtime apart from another.
type engine struct {
	// install says where to get it.
	install string
	// flags come before every command.
	flags []string
	// report hands file descriptor 3 to a process that exec starts.
	report []string
	// noFolder is in the answer of exec to a working folder that is absent.
	noFolder string
	// stateByID says that the runtime's root folder has a folder for each
	// sandbox, named by its id. One that keeps files there instead gets a root
	// folder for each sandbox.
	stateByID bool
	// overlays says that the file system of this name can be mounted. Install
	// snapshots are copied otherwise.
	overlays bool
	// ownKernel says that the runtime answers system calls itself. The host
	// sees that kernel's processes and none of the sandbox's: what a command
	// leaves is killed inside, and what confines it is looked at on both sides.
	ownKernel bool
}

// runc is every runtime that makes containers of the host's own parts.
var runc = engine{
	install: "on Debian and Ubuntu: apt-get install runc",
	report:  []string{"--preserve-fds", "1"}, noFolder: "chdir to cwd", stateByID: true, overlays: true,
}

// runsc is gVisor. Its network is loopback only; the one thing of the host's it
// may connect to is the proxy's socket; the system call list holds inside too.
var runsc = engine{
	install: "see https://gvisor.dev/docs/user_guide/install/",
	flags: []string{
		"--network=none", "--host-uds=open", "--oci-seccomp", "--overlay2=none", "--gofer-network-namespace=new",
	},
	report: []string{"--pass-fd", "3:3"}, noFolder: "initial working directory", ownKernel: true,
}

// engineOf knows a runtime by its program's name.
func engineOf(program string) engine {
	if strings.HasPrefix(filepath.Base(program), "runsc") {
		return runsc
	}
	return runc
}

// root is the folder in which the runtime keeps its state of a sandbox.
func (e engine) root(h home, id string) string {
	if e.stateByID {
		return h.runtimeDir()
	}
	return filepath.Join(h.runtimeDir(), id)
}

// namespaces are those a sandbox must have for itself.
func (e engine) namespaces() []string {
	names := []string{"user", "pid", "net", "ipc", "uts", "mnt"}
	if e.ownKernel {
		// Control groups inside are that kernel's; the host's cannot be seen.
		return names
	}
	return append(names, "cgroup")
}

// command is a call of the runtime for a sandbox.
func (e engine) command(program string, h home, id string, args ...string) []string {
	argv := []string{program, "--root", e.root(h, id), "--log", h.file(id, "runtime.log"), "--log-format", "json"}
	argv = append(argv, e.flags...)
	return append(argv, args...)
}
