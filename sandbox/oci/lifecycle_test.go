package oci

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
)

func TestSandbox_livesFromCreateToDestroyAndLeavesNothing(t *testing.T) {
	p := newProvider(t)
	s := newSandbox(t, p, testSpec("lifecycle"))
	require.NoError(t, s.Upload(t.Context(), textFiles(map[string]string{"a.txt": "hello", "src/deep/b.txt": "b"})))
	got := sh(t, s, "cat a.txt src/deep/b.txt; id -u; pwd; echo $HOME")
	require.Equal(t, 0, got.ExitCode, got.Output)
	require.Equal(t, "hellob1000\n/workspace\n/home/build\n", got.Output)

	opened, err := p.Open(t.Context(), "lifecycle")
	require.NoError(t, err)
	require.Equal(t, "hello", sh(t, opened, "cat a.txt").Output)

	require.NoError(t, s.Destroy(t.Context()))
	requireNothingLeft(t, p, "lifecycle")
	require.NoError(t, s.Destroy(t.Context()), "destroying twice")
	_, err = s.Exec(t.Context(), sandbox.Command{Args: []string{"true"}})
	require.ErrorIs(t, err, sandbox.ErrGone)
	_, err = p.Open(t.Context(), "lifecycle")
	require.ErrorIs(t, err, sandbox.ErrGone)
	require.Equal(t, models.CodeSandbox, models.CodeOf(err))
}

func TestCreate_replacesWhatAnEarlierAttemptLeft(t *testing.T) {
	p := newProvider(t)
	first := newSandbox(t, p, testSpec("twice"))
	sh(t, first, "echo old > left.txt; setsid sleep 1000 >/dev/null 2>&1 &")
	second := newSandbox(t, p, testSpec("twice"))
	require.Equal(t, "", sh(t, second, "ls").Output)
	_, err := first.Exec(t.Context(), sandbox.Command{Args: []string{"true"}})
	require.ErrorIs(t, err, sandbox.ErrGone, "the first attempt's handle must not reach the second's sandbox")
}

func TestCreate_refusesImpossibleSpecs(t *testing.T) {
	p := newProvider(t)
	for name, spoil := range map[string]func(*sandbox.Spec){
		"id with a path":    func(s *sandbox.Spec) { s.ID = "../x" },
		"no id":             func(s *sandbox.Spec) { s.ID = "" },
		"host root":         func(s *sandbox.Spec) { s.UIDBase = 0 },
		"a short uid range": func(s *sandbox.Spec) { s.UIDCount = 10 },
		"an overflow":       func(s *sandbox.Spec) { s.UIDBase = 1<<32 - 10 },
		"no limits":         func(s *sandbox.Spec) { s.Limits = sandbox.Limits{} },
		"disk over memory":  func(s *sandbox.Spec) { s.Limits.DiskBytes = s.Limits.MemoryBytes },
		"a host by address": func(s *sandbox.Spec) { s.AllowHosts = []string{"127.0.0.1:443"} },
	} {
		t.Run(name, func(t *testing.T) {
			spec := testSpec("impossible")
			spoil(&spec)
			_, err := p.Create(t.Context(), spec)
			require.Equal(t, models.CodeValidation, models.CodeOf(err), "%v", err)
			requireNothingLeft(t, p, "impossible")
		})
	}
}

func TestCreate_saysWhatToInstallWhenTheRuntimeIsMissing(t *testing.T) {
	p, err := New(Options{Runtime: "no-such-runtime", StateDir: t.TempDir()})
	require.NoError(t, err)
	err = p.Check(t.Context())
	require.Equal(t, models.CodeSandbox, models.CodeOf(err))
	require.Contains(t, models.MessageOf(err), "apt-get install runc")
	_, err = p.Create(t.Context(), testSpec("missing"))
	require.Contains(t, models.MessageOf(err), "apt-get install runc")
	requireNothingLeft(t, p, "missing")
	require.NoError(t, os.RemoveAll(p.home.dir))
}

func TestExec_streamsOutputWhileItRuns(t *testing.T) {
	p := newProvider(t)
	s := newSandbox(t, p, testSpec("stream"))
	first := newLines("first")
	in, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := s.Exec(t.Context(), sandbox.Command{
			Args: []string{"sh", "-c", "echo first; read x; echo $x >&2"}, Stdin: in, Stdout: first, Stderr: first,
		})
		ended <- err
	}()
	<-first.seen
	_, err := io.WriteString(out, "second\n")
	require.NoError(t, err)
	require.NoError(t, <-ended)
	require.Equal(t, "first\nsecond\n", first.all.String())
	out.Close()
}

func TestExec_reportsHowACommandEnded(t *testing.T) {
	p := newProvider(t)
	s := newSandbox(t, p, testSpec("ends"))
	require.Equal(t, 7, sh(t, s, "exit 7").ExitCode)
	require.Equal(t, 128+15, sh(t, s, "kill -TERM $$").ExitCode)
	for program, code := range map[string]int{"no-such-program": 127, "/etc/passwd": 126} {
		var out bytes.Buffer
		result, err := s.Exec(t.Context(), sandbox.Command{Args: []string{program}, Stderr: &out})
		require.NoError(t, err)
		require.Equal(t, code, result.ExitCode, out.String())
		require.Contains(t, out.String(), program)
	}
	_, err := s.Exec(t.Context(), sandbox.Command{})
	require.Equal(t, models.CodeValidation, models.CodeOf(err))
	_, err = s.Exec(t.Context(), sandbox.Command{Args: []string{"true"}, Dir: "absent"})
	require.Equal(t, models.CodeValidation, models.CodeOf(err), "%v", err)

	var stdout, stderr bytes.Buffer
	_, err = s.Exec(t.Context(), sandbox.Command{
		Args: []string{"sh", "-c", `echo out $OWN $SPEC; echo err >&2`}, Env: map[string]string{"OWN": "own"},
		Stdout: &stdout, Stderr: &stderr,
	})
	require.NoError(t, err)
	require.Equal(t, "out own\n", stdout.String())
	require.Equal(t, "err\n", stderr.String())
}

func TestExec_killsTheWholeTreeWhenCanceled(t *testing.T) {
	p := newProvider(t)
	s := newSandbox(t, p, testSpec("cancel"))
	ctx, cancel := context.WithCancel(t.Context())
	ready := newLines("ready")
	ended := make(chan error, 1)
	go func() {
		_, err := s.Exec(ctx, sandbox.Command{
			Args:   []string{"sh", "-c", "setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1; done' & sleep 1000 & echo ready; wait"},
			Stdout: ready,
		})
		ended <- err
	}()
	<-ready.seen
	require.Greater(t, len(p.cgroups.pids("cancel")), 3)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Len(t, p.cgroups.pids("cancel"), 1, "only process 1 lives")
	require.Equal(t, "usable\n", sh(t, s, "echo usable").Output)
}

func TestDestroy_endsARunningCommand(t *testing.T) {
	p := newProvider(t)
	s := newSandbox(t, p, testSpec("running"))
	ready := newLines("ready")
	ended := make(chan error, 1)
	go func() {
		_, err := s.Exec(t.Context(), sandbox.Command{Args: []string{"sh", "-c", "echo ready; sleep 1000"}, Stdout: ready})
		ended <- err
	}()
	<-ready.seen
	require.NoError(t, s.Destroy(t.Context()))
	require.ErrorIs(t, <-ended, sandbox.ErrGone)
	requireNothingLeft(t, p, "running")
}

func TestCreate_takesTheLongestID(t *testing.T) {
	p := newProvider(t)
	spec := testSpec(strings.Repeat("a", 64))
	spec.AllowHosts = []string{"registry.npmjs.org:443"}
	s := newSandbox(t, p, spec)
	require.Equal(t, "fine\n", sh(t, s, "echo fine").Output)
}

func TestExec_killsDaemonsWhenTheCommandEnds(t *testing.T) {
	p := newProvider(t)
	s := newSandbox(t, p, testSpec("daemon"))
	began := time.Now()
	got := sh(t, s, "setsid sleep 1000 & (setsid sh -c 'sleep 1000 & sleep 1000' &) ; echo done")
	require.Equal(t, 0, got.ExitCode)
	require.Equal(t, "done\n", got.Output)
	require.Less(t, time.Since(began), 20*time.Second, "a daemon holding the output must not hold the command")
	require.Len(t, p.cgroups.pids("daemon"), 1)
}

func TestExec_survivesACommandThatKillsItsSupervisor(t *testing.T) {
	p := newProvider(t)
	s := newSandbox(t, p, testSpec("suicide"))
	got := sh(t, s, "kill -9 -1; kill -9 $PPID; kill -9 1; sleep 1000")
	require.Equal(t, 137, got.ExitCode)
	require.Equal(t, "still here\n", sh(t, s, "echo still here").Output)
}

func TestExec_namesTheLimitThatEndedACommand(t *testing.T) {
	p := newProvider(t)
	spec := testSpec("limits")
	spec.Limits.PIDs = 64
	s := newSandbox(t, p, spec)

	t.Run("memory", func(t *testing.T) {
		require.Equal(t, 0, sh(t, s, "head -c 64M /dev/zero | tail | wc -c").ExitCode)
		got := sh(t, s, "head -c 2G /dev/zero | tail | wc -c; exit 1")
		require.True(t, got.OOMKilled)
		require.Equal(t, sandbox.LimitMemory, got.LimitHit)
	})
	t.Run("disk", func(t *testing.T) {
		require.Equal(t, 0, sh(t, s, "head -c 32M /dev/zero > ok && rm ok").ExitCode)
		got := sh(t, s, "head -c 100M /dev/zero > big; sleep 2; rm -f big; exit 1")
		require.Equal(t, sandbox.LimitDisk, got.LimitHit, got.Output)
	})
	t.Run("processes", func(t *testing.T) {
		require.Equal(t, 0, sh(t, s, "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.01 & done; wait").ExitCode)
		got := sh(t, s, "for i in $(seq 200); do sleep 1000 & done; exit 1")
		require.Equal(t, sandbox.LimitPIDs, got.LimitHit, got.Output)
	})
	t.Run("time", func(t *testing.T) {
		result, err := s.Exec(t.Context(), sandbox.Command{Args: []string{"sleep", "1000"}, Timeout: 300 * time.Millisecond})
		require.NoError(t, err)
		require.Equal(t, sandbox.LimitTimeout, result.LimitHit)
		require.NotZero(t, result.ExitCode)
	})
	require.Equal(t, sandbox.LimitNone, sh(t, s, "exit 1").LimitHit, "an ordinary failure hits no limit")
}

func TestSweep_removesWhatAKilledProcessLeft(t *testing.T) {
	p := newProvider(t)
	// Another process makes a sandbox, starts a command in it and is killed.
	child := exec.Command(os.Args[0], "-test.run=^TestAbandon_inAProcessOfItsOwn$", "-test.v")
	child.Env = append(os.Environ(), "SLIPWAY_TEST_ABANDON="+p.options.StateDir)
	output, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	said := newLines("abandon-ready")
	go func() { _, _ = io.Copy(said, output) }()
	select {
	case <-said.seen:
	case <-time.After(patience):
		t.Fatal("the other process did not get ready")
	}
	require.NoError(t, child.Process.Signal(unix.SIGKILL))
	_ = child.Wait()
	require.NotEmpty(t, p.cgroups.pids("abandoned"))

	kept := newSandbox(t, p, testSpec("kept"))
	removed, err := p.Sweep(t.Context(), func(id string) bool { return id == "kept" })
	require.NoError(t, err)
	require.Equal(t, []string{"abandoned"}, removed)
	require.Equal(t, "alive\n", sh(t, kept, "echo alive").Output)
	require.NoError(t, kept.Destroy(t.Context()))
	requireNothingLeft(t, p, "abandoned")
}

func TestAbandon_inAProcessOfItsOwn(t *testing.T) {
	state := os.Getenv("SLIPWAY_TEST_ABANDON")
	if state == "" {
		// Not a test of its own: TestSweep_removesWhatAKilledProcessLeft starts it.
		return
	}
	p, err := New(Options{StateDir: state})
	require.NoError(t, err)
	spec := testSpec("abandoned")
	spec.AllowHosts = []string{"registry.npmjs.org:443"}
	s, err := p.Create(context.Background(), spec)
	require.NoError(t, err)
	ready := newLines("ready")
	go func() {
		_, _ = s.Exec(context.Background(), sandbox.Command{
			Args: []string{"sh", "-c", "(setsid sleep 1000 &); echo ready; sleep 1000"}, Stdout: ready,
		})
	}()
	<-ready.seen
	_, _ = os.Stdout.WriteString("abandon-ready\n")
	time.Sleep(time.Minute)
}

func TestDestroy_worksAtAnyPointACreatorWasKilled(t *testing.T) {
	p := newProvider(t)
	spec := testSpec("halfway")
	r := newRecord(spec)
	steps := []func() error{
		func() error { return p.home.write(r) },
		func() error { return p.buildRootfs(r) },
		func() error { return p.writeBundle(r) },
		func() error { _, err := p.start(t.Context(), r); return err },
		func() error { return os.Remove(p.home.file(r.ID, "record.json")) },
		func() error { return os.RemoveAll(p.home.runtimeDir() + "/" + r.ID) },
		func() error { return os.RemoveAll(p.home.sandbox(r.ID)) },
	}
	for reached := 1; reached <= len(steps); reached++ {
		t.Run(strconv.Itoa(reached), func(t *testing.T) {
			for _, step := range steps[:reached] {
				require.NoError(t, step())
			}
			removed, err := p.Sweep(t.Context(), func(string) bool { return false })
			require.NoError(t, err)
			require.Equal(t, []string{"halfway"}, removed)
			requireNothingLeft(t, p, "halfway")
		})
	}
}

func TestUpload_refusesPathsThatLeaveTheWorkspace(t *testing.T) {
	p := newProvider(t)
	s := newSandbox(t, p, testSpec("upload"))
	for _, name := range []string{"../x", "/etc/x", "a/../../x", "", ".", `a\b`, "a//b"} {
		err := s.Upload(t.Context(), textFiles(map[string]string{name: "x"}))
		require.Equal(t, models.CodeValidation, models.CodeOf(err), "%q: %v", name, err)
	}
	// A link planted by the build leads the unpacker nowhere.
	sh(t, s, "ln -s /tmp outside; ln -s /tmp/target file.txt")
	err := s.Upload(t.Context(), textFiles(map[string]string{"outside/x.txt": "x"}))
	require.Equal(t, models.CodeValidation, models.CodeOf(err), "%v", err)
	require.NoError(t, s.Upload(t.Context(), textFiles(map[string]string{"file.txt": "real"})))
	require.Equal(t, "regular file real\n", sh(t, s, "echo $(stat -c %F file.txt) $(cat file.txt); ls /tmp").Output)
}

func TestUpload_passesOnAFailingSource(t *testing.T) {
	p := newProvider(t)
	s := newSandbox(t, p, testSpec("source"))
	broken := errors.New("blob store is away")
	err := s.Upload(t.Context(), func(yield func(sandbox.File, error) bool) { yield(sandbox.File{}, broken) })
	require.ErrorIs(t, err, broken)
	err = s.Upload(t.Context(), func(yield func(sandbox.File, error) bool) {
		yield(sandbox.File{Path: "a", Size: 10, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("short")), nil
		}}, nil)
	})
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, "", sh(t, s, "ls a 2>/dev/null | grep -v a").Output)
}

func TestClose_leavesNoFolderUnlessItIsUsed(t *testing.T) {
	p := newProvider(t)
	s := newSandbox(t, p, testSpec("used"))
	require.NoError(t, p.Close())
	require.Equal(t, "alive\n", sh(t, s, "echo alive").Output)
	require.NoError(t, s.Destroy(t.Context()))
	unlock, err := p.home.lock(t.Context(), "another")
	require.NoError(t, err)
	require.NoError(t, p.Close())
	require.DirExists(t, p.home.dir, "someone is about to make a sandbox")
	unlock()
	require.NoError(t, p.Close())
	require.NoDirExists(t, p.home.dir)
}

func TestLock_isExclusivePerID(t *testing.T) {
	p := newProvider(t)
	unlock, err := p.home.lock(t.Context(), "one")
	require.NoError(t, err)
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = p.home.lock(short, "one")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	other, err := p.home.lock(t.Context(), "two")
	require.NoError(t, err)
	other()
	unlock()
	again, err := p.home.lock(t.Context(), "one")
	require.NoError(t, err)
	again()
}

func TestCreate_doesNotDependOnTheUmask(t *testing.T) {
	before := unix.Umask(0o077)
	defer unix.Umask(before)
	p := newProvider(t)
	spec := testSpec("umask")
	spec.AllowHosts = []string{"registry.npmjs.org:443"}
	s := newSandbox(t, p, spec)
	require.NoError(t, s.Upload(t.Context(), textFiles(map[string]string{"a/b.txt": "b"})))
	got := sh(t, s, "cat a/b.txt /etc/hostname; ls /etc/ssl/certs; ls /opt; echo > /tmp/x; stat -c %a /tmp/x a")
	require.Zero(t, got.ExitCode, got.Output)
	require.Equal(t, "bslipway\nca-certificates.crt\ntoolchain\n644\n755\n", got.Output)
	require.NoError(t, p.Check(t.Context()))
}

func TestBuild_leavesTheProcessorToWhatServes(t *testing.T) {
	p := newProvider(t)
	shares := func(r *record) uint64 { return *p.linux(r).Resources.CPU.Shares }
	build := newRecord(sandbox.Spec{ID: "a", UIDBase: testUIDBase, UIDCount: sandbox.MinUIDCount, Limits: sandbox.Limits{CPUs: 1}})
	service := *build
	service.Service = true
	require.Less(t, shares(build), shares(&service))
	require.Less(t, shares(&service), uint64(1024), "a program of the host comes first")
}
