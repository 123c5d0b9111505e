package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"strings"
	"sync"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/sandbox/guest"
)

// box is one live sandbox.
type box struct {
	provider *Provider
	record   *record
	pid      int
	// busy holds one token: commands wait for each other, since the end of
	// one kills all that runs.
	busy chan struct{}
}

var _ sandbox.Sandbox = (*box)(nil)

func newBox(p *Provider, r *record, pid int) *box {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy[r.ID] == nil {
		p.busy[r.ID] = make(chan struct{}, 1)
	}
	return &box{provider: p, record: r, pid: pid, busy: p.busy[r.ID]}
}

// ID is the sandbox's id.
func (b *box) ID() string { return b.record.ID }

// Destroy removes the sandbox; see sandbox.Provider.
func (b *box) Destroy(ctx context.Context) error { return b.provider.Destroy(ctx, b.record.ID) }

// Exec runs a command; see sandbox.Sandbox.
func (b *box) Exec(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error) {
	if len(cmd.Args) == 0 || cmd.Args[0] == "" {
		return sandbox.Result{}, models.Errorf(models.CodeValidation, "there is no command to run")
	}
	for _, arg := range cmd.Args {
		if strings.ContainsRune(arg, 0) {
			return sandbox.Result{}, models.Errorf(models.CodeValidation, "a command's argument holds a NUL byte")
		}
	}
	return b.exec(ctx, cmd)
}

// Upload writes files; see sandbox.Sandbox.
func (b *box) Upload(ctx context.Context, files iter.Seq2[sandbox.File, error]) error {
	in, out := io.Pipe()
	var written error
	var sending sync.WaitGroup
	sending.Go(func() {
		written = sandbox.WriteUpload(out, files)
		out.CloseWithError(written)
	})
	var said tail
	result, err := b.guest(ctx, in, nil, &said, guest.CommandUnpack, sandbox.WorkspaceDir)
	in.CloseWithError(io.ErrClosedPipe)
	sending.Wait()
	switch {
	case written != nil && !errors.Is(written, io.ErrClosedPipe):
		return written
	case err != nil:
		return err
	case result.LimitHit == sandbox.LimitDisk:
		return models.Errorf(models.CodeBuildFailed, "the project's files do not fit the sandbox's disk of %d bytes",
			b.record.Limits.DiskBytes)
	case result.LimitHit == sandbox.LimitMemory:
		return b.outOfMemory()
	case result.ExitCode == guest.ExitRefused:
		return models.Errorf(models.CodeValidation, "the project's files cannot be written: %s", said.last())
	case result.ExitCode != 0:
		return models.Wrap(models.CodeSandbox, fmt.Errorf("unpack: exit code %d: %s", result.ExitCode, said.last()),
			"the project's files could not be put into the sandbox")
	}
	return nil
}

// Collect takes files out; see sandbox.Sandbox.
func (b *box) Collect(ctx context.Context, dir string, limits sandbox.CollectLimits, fn func(sandbox.Collected) error) error {
	return b.pack(ctx, guest.CommandPack, dir, func(in io.Reader) error {
		return sandbox.ReadCollected(in, limits, fn)
	})
}

// PublishModules copies node_modules out; see sandbox.Sandbox.
func (b *box) PublishModules(ctx context.Context, dest string) (commit func() error, err error) {
	owner := identify(b.record).files
	err = b.pack(ctx, guest.CommandPackTree, "node_modules", func(in io.Reader) (err error) {
		commit, err = sandbox.PublishTree(in, dest, owner, b.record.Limits.DiskBytes)
		return err
	})
	if err != nil {
		return nil, err
	}
	return commit, nil
}

// pack runs one of the guest's packers on a folder and hands its output to
// read. An error of read ends the packer and comes first; what the packer
// complains of is the build's fault.
func (b *box) pack(ctx context.Context, command, dir string, read func(io.Reader) error) error {
	if dir == "" || !fs.ValidPath(path.Clean(dir)) || strings.ContainsRune(dir, 0) {
		return models.Errorf(models.CodeBuildFailed, "the folder %q is not inside the workspace", dir)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	in, out := io.Pipe()
	var reading sync.WaitGroup
	var readErr error
	reading.Go(func() {
		readErr = read(in)
		if readErr != nil {
			cancel(readErr)
		}
		// The rest has to go somewhere for the packer to end.
		_, _ = io.Copy(io.Discard, in)
	})
	var said tail
	result, err := b.guest(ctx, nil, out, &said, command, path.Clean(dir))
	switch {
	case err != nil:
		out.CloseWithError(err)
	case result.LimitHit == sandbox.LimitMemory:
		err = b.outOfMemory()
		out.CloseWithError(err)
	case result.ExitCode == guest.ExitAbsent:
		err = models.Wrap(models.CodeBuildFailed, fs.ErrNotExist, fmt.Sprintf("there is no folder %q in the workspace", dir))
		out.CloseWithError(err)
	case result.ExitCode == guest.ExitRefused:
		err = models.Errorf(models.CodeBuildFailed, "the folder %q cannot be taken out of the sandbox: %s", dir, said.last())
		out.CloseWithError(err)
	case result.ExitCode != 0:
		err = models.Wrap(models.CodeSandbox, fmt.Errorf("%s: exit code %d: %s", command, result.ExitCode, said.last()),
			"the files could not be taken out of the sandbox")
		out.CloseWithError(err)
	default:
		out.Close()
	}
	reading.Wait()
	if readErr != nil && !errors.Is(readErr, err) {
		return readErr
	}
	return err
}

// copySnapshot fills node_modules where an overlay cannot.
func (b *box) copySnapshot(ctx context.Context) error {
	var said tail
	result, err := b.guest(ctx, nil, nil, &said, guest.CommandCopy, "/.slipway/snapshot", sandbox.WorkspaceDir+"/node_modules")
	if err == nil && result.ExitCode != 0 {
		err = models.Wrap(models.CodeSandbox, fmt.Errorf("copy: exit code %d: %s", result.ExitCode, said.last()),
			"the install snapshot could not be put into the sandbox")
	}
	return err
}

func (b *box) outOfMemory() error {
	return models.Errorf(models.CodeBuildFailed, "the sandbox's memory of %d bytes, of which files are part, is used up",
		b.record.Limits.MemoryBytes)
}

// guest runs one of the guest's own commands as the build user.
func (b *box) guest(ctx context.Context, in io.Reader, out io.Writer, said io.Writer, args ...string) (sandbox.Result, error) {
	return b.exec(ctx, sandbox.Command{
		Args: append([]string{guest.Path}, args...), Stdin: in, Stdout: out, Stderr: said,
	})
}

// tail keeps the end of what a command says.
type tail struct{ buffer bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	const keep = 4 << 10
	t.buffer.Write(p)
	if extra := t.buffer.Len() - keep; extra > 0 {
		t.buffer.Next(extra)
	}
	return len(p), nil
}

// last is the last line said, fit for a message.
func (t *tail) last() string {
	lines := strings.Split(strings.TrimSpace(t.buffer.String()), "\n")
	line := strings.TrimPrefix(lines[len(lines)-1], "refused: ")
	if line == "" {
		return "it said nothing"
	}
	return strings.ToValidUTF8(line, "\ufffd")
}
