package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/sandbox/guest"
)

var errTimeout = errors.New("the command ran out of time")

// drainTimeout is how long output may still come after everything was killed.
const drainTimeout = 5 * time.Second

// killTimeout bounds killing what a command left.
const killTimeout = 20 * time.Second

// exec runs one command under the guest's supervisor and waits for its end.
// The runtime only starts it: its output comes to us directly and its end is
// told by the supervisor's report, or by the silence when that is killed.
func (b *box) exec(ctx context.Context, cmd sandbox.Command) (sandbox.Result, error) {
	select {
	case b.busy <- struct{}{}:
		defer func() { <-b.busy }()
	case <-ctx.Done():
		return sandbox.Result{}, context.Cause(ctx)
	}
	if err := context.Cause(ctx); err != nil {
		return sandbox.Result{}, err
	}
	p, id := b.provider, b.record.ID
	if !p.alive(id, b.pid) {
		return sandbox.Result{}, gone(id)
	}
	caller := ctx
	if cmd.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, cmd.Timeout, errTimeout)
		defer cancel()
	}
	before := p.cgroups.events(id)
	began := time.Now()
	pipes, err := openPipes(cmd)
	if err != nil {
		return sandbox.Result{}, models.Wrap(models.CodeSandbox, err, "the command cannot be started")
	}
	defer pipes.close()
	supervisor, startErr := b.start(ctx, cmd, pipes)
	pipes.closeTheirs()
	var report *guest.Report
	if startErr == nil {
		pipes.copy()
		report = b.await(ctx, pipes.report)
	}
	// Not the caller's context: killing has to happen whatever ended that.
	tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTimeout)
	defer cancel()
	if err := b.killLeft(tidy); err != nil {
		return sandbox.Result{}, models.Wrap(models.CodeSandbox, err, "the command's processes cannot be killed")
	}
	supervisor.wait(tidy)
	pipes.drain(drainTimeout)
	if caller.Err() != nil {
		return sandbox.Result{}, context.Cause(caller)
	}
	if errors.Is(context.Cause(ctx), errTimeout) {
		return sandbox.Result{ExitCode: 137, LimitHit: sandbox.LimitTimeout, Duration: time.Since(began)}, nil
	}
	if report == nil {
		// Killed: if someone is destroying the sandbox, wait until it is gone.
		if unlock, err := p.home.lock(tidy, id); err == nil {
			unlock()
		}
	}
	result := b.result(report, before, time.Since(began))
	// Files alone can use up the memory: then nothing starts any more, or the
	// kernel takes process 1; gVisor's kernel ends when it gets no threads. That
	// is the build's doing, not the host's.
	switch {
	case result.OOMKilled, p.engine.ownKernel && result.LimitHit == sandbox.LimitPIDs:
		return result, nil
	case !p.alive(id, b.pid):
		return sandbox.Result{}, gone(id)
	case startErr != nil:
		return sandbox.Result{}, startErr
	}
	return result, nil
}

// start has the runtime start the supervisor.
func (b *box) start(ctx context.Context, cmd sandbox.Command, pipes *pipes) (*launched, error) {
	p, id := b.provider, b.record.ID
	args := append([]string{guest.Path, guest.CommandRun}, cmd.Args...)
	description, err := json.Marshal(p.process(b.record, args, workingDir(cmd.Dir), b.environment(cmd.Env)))
	if err != nil {
		return nil, models.Wrap(models.CodeSandbox, err, "the command cannot be described")
	}
	file, err := os.CreateTemp(p.home.sandbox(id), "process-*.json")
	if err != nil {
		return nil, models.Wrap(models.CodeSandbox, err, "the command cannot be described")
	}
	// It holds the build's environment, which may be secret.
	defer os.Remove(file.Name())
	_, err = file.Write(description)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, models.Wrap(models.CodeSandbox, err, "the command cannot be described")
	}
	files := stdio{pipes.theirIn, pipes.theirOut, pipes.theirErr}
	call := append([]string{"exec", "--detach"}, p.engine.report...)
	supervisor, err := p.launch(ctx, id, files, []*os.File{pipes.theirReport}, append(call, "--process", file.Name(), id)...)
	if err == nil {
		return supervisor, nil
	}
	reason := p.runtimeSaid(id)
	if strings.Contains(reason, p.engine.noFolder) {
		return nil, models.Errorf(models.CodeValidation, "the folder %q does not exist in the sandbox", cmd.Dir)
	}
	return nil, models.Wrap(models.CodeSandbox, fmt.Errorf("%w: %s", err, reason),
		"the command could not be started in the sandbox")
}

func workingDir(dir string) string {
	if path.IsAbs(dir) {
		return path.Clean(dir)
	}
	return path.Join(sandbox.WorkspaceDir, dir)
}

// await returns the supervisor's report; nil when it died without one, or the
// context ended.
func (b *box) await(ctx context.Context, from *os.File) *guest.Report {
	stop := context.AfterFunc(ctx, func() { _ = from.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	// The supervisor is the only one who holds the other end.
	said, _ := io.ReadAll(io.LimitReader(from, 4<<10))
	report := &guest.Report{}
	if json.Unmarshal(said, report) != nil || report.ExitCode < 0 || report.ExitCode > 255 {
		return nil
	}
	return report
}

func (b *box) result(report *guest.Report, before events, took time.Duration) sandbox.Result {
	after := b.provider.cgroups.events(b.record.ID)
	result := sandbox.Result{ExitCode: 137, Duration: took, OOMKilled: after.oomKills > before.oomKills}
	if report != nil {
		result.ExitCode = report.ExitCode
	}
	if result.ExitCode == 0 {
		return result
	}
	switch {
	case result.OOMKilled:
		result.LimitHit = sandbox.LimitMemory
	case report != nil && report.DiskFull:
		result.LimitHit = sandbox.LimitDisk
	case after.pidsRefused > before.pidsRefused:
		result.LimitHit = sandbox.LimitPIDs
	}
	return result
}

// environment is what a command sees: ours, then the Spec's, then its own.
func (b *box) environment(own map[string]string) []string {
	env := map[string]string{
		"PATH": sandbox.ToolchainDir + "/bin:/usr/bin:/bin:/usr/sbin:/sbin",
		"HOME": sandbox.HomeDir, "USER": "build", "LOGNAME": "build", "SHELL": "/bin/sh",
		"TMPDIR": "/tmp", "LANG": "C.UTF-8", "TERM": "dumb",
		"SSL_CERT_FILE": caBundle,
		// A pinned tool has no use for asking whether there is a newer one.
		"npm_config_update_notifier": "false", "NO_UPDATE_NOTIFIER": "1",
	}
	if len(b.record.AllowHosts) > 0 {
		maps.Copy(env, proxyEnvironment())
	}
	if len(b.provider.extraCAFiles()) > 0 {
		maps.Copy(env, caEnvironment())
	}
	maps.Copy(env, b.record.Env)
	maps.Copy(env, own)
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if name != "" && !strings.ContainsAny(name, "=\x00") && !strings.ContainsRune(env[name], 0) {
			list = append(list, name+"="+env[name])
		}
	}
	return list
}

// proxyEnvironment tells every package manager where the registry proxy is:
// npm, pnpm and yarn 1 by npm's settings, yarn 2+ by its own, bun and most
// others by the usual variables.
func proxyEnvironment() map[string]string {
	proxy, direct := "http://"+proxyAddress, "localhost,127.0.0.1,::1"
	return map[string]string{
		"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "http_proxy": proxy, "https_proxy": proxy,
		"NO_PROXY": direct, "no_proxy": direct,
		"npm_config_proxy": proxy, "npm_config_https_proxy": proxy, "npm_config_noproxy": direct,
		"YARN_HTTP_PROXY": proxy, "YARN_HTTPS_PROXY": proxy,
	}
}

// caEnvironment has the same programs trust the host's extra certificates.
func caEnvironment() map[string]string {
	return map[string]string{
		"NODE_EXTRA_CA_CERTS": caBundle, "npm_config_cafile": caBundle, "YARN_HTTPS_CA_FILE_PATH": caBundle,
		"GIT_SSL_CAINFO": caBundle, "CURL_CA_BUNDLE": caBundle, "REQUESTS_CA_BUNDLE": caBundle,
	}
}

// pipes connect a command with the caller. "Their" ends go to the sandbox.
type pipes struct {
	theirIn, theirOut, theirErr, theirReport *os.File
	in, out, err, report                     *os.File
	command                                  sandbox.Command
	copies                                   sync.WaitGroup
	opened                                   []*os.File
}

func openPipes(cmd sandbox.Command) (*pipes, error) {
	p := &pipes{command: cmd}
	var failed error
	pair := func() (*os.File, *os.File) {
		if failed != nil {
			return nil, nil
		}
		read, write, err := os.Pipe()
		if err != nil {
			failed = err
			return nil, nil
		}
		p.opened = append(p.opened, read, write)
		return read, write
	}
	p.theirIn, p.in = pair()
	p.out, p.theirOut = pair()
	p.theirErr = p.theirOut
	if !sameWriter(cmd.Stdout, cmd.Stderr) {
		p.err, p.theirErr = pair()
	}
	p.report, p.theirReport = pair()
	if failed != nil {
		p.close()
		return nil, failed
	}
	return p, nil
}

// sameWriter compares as os/exec does; types that cannot be compared differ.
func sameWriter(a, b io.Writer) (same bool) {
	defer func() { _ = recover() }()
	return a == b
}

func (p *pipes) closeTheirs() {
	for _, file := range []*os.File{p.theirIn, p.theirOut, p.theirErr, p.theirReport} {
		file.Close()
	}
}

func (p *pipes) close() {
	for _, file := range p.opened {
		file.Close()
	}
}

// copy moves input and output until their ends. A writer that fails does not
// stop the command: what it would not take is dropped.
func (p *pipes) copy() {
	go func() {
		// Ends with the pipe, when the command does, or with the reader.
		if p.command.Stdin != nil {
			_, _ = io.Copy(p.in, p.command.Stdin)
		}
		p.in.Close()
	}()
	p.copies.Go(func() { drainTo(p.command.Stdout, p.out) })
	if p.err != nil {
		p.copies.Go(func() { drainTo(p.command.Stderr, p.err) })
	}
}

func drainTo(to io.Writer, from io.Reader) {
	if to != nil {
		_, _ = io.Copy(to, from)
	}
	_, _ = io.Copy(io.Discard, from)
}

// drain waits for the last output.
func (p *pipes) drain(timeout time.Duration) {
	deadline := time.Now().Add(timeout)
	for _, file := range []*os.File{p.out, p.err} {
		if file != nil {
			_ = file.SetReadDeadline(deadline)
		}
	}
	p.copies.Wait()
}
