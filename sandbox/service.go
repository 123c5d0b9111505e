package sandbox

import (
	"context"
	"io"
	"os"
	"time"
)

// ServiceProvider runs long-running programs, each in a sandbox of its own that
// starts with the program and ends with it: no shell, no build user's folders,
// no network at all. Safe for concurrent use.
type ServiceProvider interface {
	// StartService starts the program and returns when it has been started, not
	// when it is ready. What an earlier service left under the same id is
	// destroyed first. models.CodeValidation for an impossible spec,
	// models.CodeSandbox when the host cannot; nothing is left behind then.
	StartService(ctx context.Context, spec ServiceSpec) (Service, error)
	// Sweep destroys every sandbox for which keep answers false, services
	// included, and returns the ids it removed; see Provider.
	Sweep(ctx context.Context, keep func(id string) bool) ([]string, error)
	// Check proves that isolation works; see Provider.
	Check(ctx context.Context) error
	// Close gives up what this process holds. Services end with it.
	Close() error
}

// ServiceSpec is what a service is made of.
type ServiceSpec struct {
	// ID is [a-z0-9_-]{1,64}, not starting with '-'.
	ID string
	// UIDBase and UIDCount are the organization's range; see Spec.
	UIDBase, UIDCount uint32
	// Limits bound the service. DiskBytes is the size of its /tmp, the only
	// folder it may write.
	Limits Limits
	// Args is the program, by its path inside, and its arguments.
	Args []string
	Env  map[string]string
	// Binds are host files, folders and sockets that appear inside, read-only. A
	// unix socket can be connected to when its mode lets the service's user.
	Binds []Bind
	// Files are handed to the program as descriptors 3, 4, …. The caller may
	// close its own after StartService.
	Files []*os.File
	// Stdout and Stderr get what the program says; nil discards. What is
	// written must be taken quickly: a slow writer holds the program up.
	Stdout, Stderr io.Writer
}

// Bind puts Source, a path of the host, at Destination inside.
type Bind struct{ Source, Destination string }

// Service is a running program. Its methods may be called from several
// goroutines.
type Service interface {
	ID() string
	// Done is closed when the program has ended, however.
	Done() <-chan struct{}
	// Exit says how it ended; only after Done.
	Exit() Exit
	// Usage reads what it has used up to now.
	Usage() (Usage, error)
	// Yield has it give way to others where processors are short, or no longer. It
	// goes on at full speed where they are not.
	Yield(yield bool) error
	// Kill ends the program and everything it started, at once.
	Kill() error
	// Destroy kills it and removes everything of it from the host. Safe to
	// repeat.
	Destroy(ctx context.Context) error
}

// Exit is how a service ended.
type Exit struct {
	// Code is the program's, or 128 plus the signal that killed it.
	Code int
	// OOMKilled says that the kernel killed it for want of memory.
	OOMKilled bool
}

// Usage is what a service has used.
type Usage struct {
	// CPU is processor time since its start, all threads together.
	CPU time.Duration
	// MemoryBytes is what it holds now, page cache of its own files included.
	MemoryBytes int64
	PIDs        int64
}
