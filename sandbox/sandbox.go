// Package sandbox says what an isolated machine for an untrusted build is.
//
// A Provider makes sandboxes: sandbox/oci on this host with an OCI runtime;
// hosted ones fit the same shape. What happens inside is hostile by
// assumption: nothing a sandbox says or hands out is trusted, and no platform
// credential ever enters one.
//
// A build is Create, Upload, Exec as often as needed, Collect, Destroy.
// Everything is keyed by Spec.ID, so that a second attempt, another process
// or a sweeper can take over or clear away what an earlier one left.
package sandbox

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"time"
)

// Where things are inside every sandbox.
const (
	// WorkspaceDir is the project's folder: writable, limited to
	// Limits.DiskBytes, and the folder commands start in.
	WorkspaceDir = "/workspace"
	// ToolchainDir is the pinned toolchain, read-only. Its bin folder
	// comes first in PATH.
	ToolchainDir = "/opt/toolchain"
	// HomeDir is the build user's home: writable, empty at first.
	HomeDir = "/home/build"
)

// MinUIDCount is the smallest uid range a sandbox may be given.
const MinUIDCount = 65536

// MaxUID is where the uid ranges of organizations end: providers' self-tests
// have the MinUIDCount ids from here on.
const MaxUID = 0x7ff0_0000

// ErrGone is in the chain of the error for a sandbox that does not exist (any
// more) on this host. Such errors carry models.CodeSandbox: building again in
// a new sandbox mends it.
var ErrGone = errors.New("sandbox is gone")

// Provider makes isolated machines. Safe for concurrent use; calls for the
// same id wait for each other, also across processes that share a state
// folder.
type Provider interface {
	// Name is the provider's word in settings and logs: "oci".
	Name() string
	// Check proves that isolation works by making a sandbox and looking at
	// it from the inside. models.CodeSandbox says exactly what is missing and
	// what to do about it; builds must then be refused.
	Check(ctx context.Context) error
	// Create makes a sandbox. What an earlier attempt left under the same ID
	// is destroyed first, so it may be repeated at will.
	// models.CodeValidation for an impossible Spec, models.CodeSandbox when
	// the host cannot; nothing is left behind then.
	Create(ctx context.Context, spec Spec) (Sandbox, error)
	// Open finds a live sandbox, also one another process made.
	// models.CodeSandbox with ErrGone in its chain when there is none.
	Open(ctx context.Context, id string) (Sandbox, error)
	// Destroy removes everything of id: processes, mounts, control groups,
	// folders. An absent id is no error. It works on whatever a killed
	// creator left, at any point of creation.
	Destroy(ctx context.Context, id string) error
	// Sweep destroys every sandbox for which keep answers false and returns
	// the ids it removed. It goes on after a failure and returns the first.
	Sweep(ctx context.Context, keep func(id string) bool) ([]string, error)
	// Close gives up what this process holds (network proxies). Sandboxes stay.
	Close() error
}

// Spec is what a sandbox is made of.
type Spec struct {
	// ID is the deployment id: [a-z0-9_-]{1,64}, not starting with '-'.
	ID string
	// UIDBase and UIDCount are the organization's own range of host uids and
	// gids: root inside is UIDBase outside. Never 0 and at least MinUIDCount
	// long. No two organizations may share any of it.
	UIDBase, UIDCount uint32
	Limits            Limits
	// Env is added to every command's environment.
	Env map[string]string
	// ModulesSnapshot is the folder a PublishModules filled for the same
	// organization; it appears at /workspace/node_modules, writable, with all
	// changes discarded at the end. Empty means none.
	ModulesSnapshot string
	// AllowHosts are the only places reachable, as "host:port", through the
	// provider's proxy. Empty means no network at all.
	AllowHosts []string
}

// Limits bound what a sandbox takes from its host. All must be positive.
type Limits struct {
	// MemoryBytes bounds everything: processes, and files too, since all
	// writable folders live in memory. No swap is used.
	MemoryBytes int64
	// CPUs is processor time per wall time: 1.5 is one and a half processors.
	CPUs float64
	// PIDs bounds processes and threads together.
	PIDs int64
	// DiskBytes bounds each writable folder (workspace, home, /tmp). Less
	// than MemoryBytes, or a full disk would show as exhausted memory.
	DiskBytes int64
}

// File is one file to upload.
type File struct {
	// Path is relative, slash-separated and clean.
	Path string
	// Mode carries only the permission bits; 0 means 0644.
	Mode fs.FileMode
	// Size is exactly how many bytes Open's reader gives.
	Size int64
	Open func() (io.ReadCloser, error)
}

// Command is one program run inside.
type Command struct {
	// Args is the program, found by PATH inside, and its arguments.
	Args []string
	// Env is added to the Spec's; a later value wins.
	Env map[string]string
	// Dir is the working folder: absolute, or relative to WorkspaceDir.
	Dir string
	// Stdin is read by the program; nil is empty.
	Stdin io.Reader
	// Stdout and Stderr get the output as it comes; nil discards. The same
	// writer may be given for both and is then called by one goroutine.
	Stdout, Stderr io.Writer
	// Timeout ends the program and everything it started. 0 means that only
	// the context does.
	Timeout time.Duration
}

// Limit names the limit that ended a command.
type Limit string

// The limits a command can run into. LimitNone means none is known.
const (
	LimitNone    Limit = ""
	LimitMemory  Limit = "memory"
	LimitPIDs    Limit = "pids"
	LimitDisk    Limit = "disk"
	LimitTimeout Limit = "timeout"
)

// Result is how a command ended. Only failures carry a LimitHit.
type Result struct {
	// ExitCode is the program's, or 128 plus the signal that killed it.
	ExitCode int
	// OOMKilled says that the kernel killed something for want of memory.
	OOMKilled bool
	// LimitHit is the likely cause of a failure.
	LimitHit Limit
	Duration time.Duration
}

// CollectLimits bound what Collect takes out. Zero fields take the defaults.
type CollectLimits struct {
	MaxFiles     int   // regular files; default 20,000
	MaxBytes     int64 // all together; default 512 MiB
	MaxFileBytes int64 // one file; default 64 MiB
	MaxDepth     int   // folders above a file; default 32
	MaxPathBytes int   // length of a path; default 512
}

// Collected is one file that Collect hands over. Reader is valid during the
// call only, and gives exactly Size bytes or an error.
type Collected struct {
	Path string
	// Mode is 0644, or 0755 when the owner may execute it.
	Mode   fs.FileMode
	Size   int64
	Reader io.Reader
}

// Sandbox is one isolated machine. Its methods may be called from several
// goroutines; Exec, Upload, Collect and PublishModules wait for each other.
type Sandbox interface {
	ID() string
	// Upload writes files below WorkspaceDir, replacing those there, owned by
	// the build user. models.CodeValidation for a path that would leave it.
	Upload(ctx context.Context, files iter.Seq2[File, error]) error
	// Exec runs a command to its end. A program that fails is no error: see
	// Result. When the command ends, is canceled or times out, everything it
	// started is killed, daemons included. Errors: the context's cause when it
	// ended, models.CodeValidation for an impossible command,
	// models.CodeSandbox when the sandbox is gone (ErrGone) or broken.
	Exec(ctx context.Context, cmd Command) (Result, error)
	// Collect walks dir (relative to WorkspaceDir) and calls fn for every
	// regular file in order of path. Everything else but folders is refused:
	// models.CodeBuildFailed names the path and the reason, for symlinks,
	// devices, pipes, sockets, setuid bits, names that are no valid UTF-8 or
	// hold control characters or backslashes, and whatever is over a limit.
	// fs.ErrNotExist is in the chain when dir is absent. An error of fn ends
	// the walk and is returned as it is.
	Collect(ctx context.Context, dir string, limits CollectLimits, fn func(Collected) error) error
	// PublishModules copies WorkspaceDir/node_modules for dest, owned by the
	// organization's range, with setuid bits gone and no file shared with
	// anything. Call it only right after a clean install. Commit makes the copy
	// appear at dest, complete or not at all, and may run beside anything else;
	// a dest that exists already is left as it is: no error.
	// Without node_modules: models.CodeBuildFailed with fs.ErrNotExist.
	PublishModules(ctx context.Context, dest string) (commit func() error, err error)
	// Destroy is Provider.Destroy for this sandbox.
	Destroy(ctx context.Context) error
}
