package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/sandbox/guest"
	"github.com/slipwayhq/slipway/tools/leaks"
)

// Every attempt of the hostile build is made by a hostile service too.
func TestService_everyEscapeIsRefused(t *testing.T) {
	p := newProvider(t)
	b := newBait(t)
	for _, address := range []string{"127.0.0.1", b.address} {
		require.NoError(t, dial(net.JoinHostPort(address, b.port))())
	}
	require.NoError(t, dialUnix("@"+b.abstract)())
	eventually(t, "the bait counts", func() bool { return b.visits.Load() == 3 })
	program, err := os.Executable()
	require.NoError(t, err)
	report, complaints := &said{}, &said{}
	spec := testService("hostile", "/bin/sh", "-c", guest.Path+" "+intruderCommand+"; exit $?")
	spec.Binds = []sandbox.Bind{{Source: program, Destination: guest.Path}}
	spec.Env = b.environment(p, "/tmp")
	spec.Stdout, spec.Stderr = report, complaints
	require.Zero(t, awaitEnd(t, startService(t, p, spec)).Code, complaints.String())
	awaitSaid(t, report, "\n")
	var outcomes map[string]outcome
	require.NoError(t, json.Unmarshal([]byte(report.String()), &outcomes), report.String())
	for _, a := range attempts() {
		if slices.Contains([]string{
			// Process 1 is the service's own.
			"read process 1's environment", "pass through process 1's root", "read process 1's memory",
			"write process 1's memory", "write process 1's score", "signal process 1",
		}, a.name) {
			continue
		}
		got, tried := outcomes[a.name]
		require.True(t, tried, a.name)
		require.NotEmpty(t, got.Act, "%s: it was allowed", a.name)
		require.Empty(t, got.Twin, "%s: its permitted twin failed", a.name)
	}
	require.EqualValues(t, 3, b.visits.Load(), "nobody reached the bait")
}

// What confines a service is what confines a build, seen from the host.
func TestService_isConfinedAsBuildsAre(t *testing.T) {
	p := newProvider(t)
	spec := testService("confined", "/bin/sleep", "600")
	startService(t, p, spec)
	pids := p.cgroups.pids("confined")
	require.Len(t, pids, 1)
	proc := fmt.Sprintf("/proc/%d", pids[0])
	status := readTrimmed(proc + "/status")
	for _, line := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "CapPrm:\t0000000000000000"} {
		require.Contains(t, status, line)
	}
	for _, name := range []string{"user", "pid", "net", "ipc", "uts", "mnt", "cgroup"} {
		own, err := os.Readlink("/proc/self/ns/" + name)
		require.NoError(t, err)
		theirs, err := os.Readlink(proc + "/ns/" + name)
		require.NoError(t, err)
		require.NotEqual(t, own, theirs)
	}
	require.Equal(t, "500", readTrimmed(proc+"/oom_score_adj"))
	require.NoError(t, p.judgeLimits(sandbox.Spec{ID: "confined", Limits: spec.Limits}))
}

func TestService_endsWithItsHost(t *testing.T) {
	p := newProvider(t)
	process := startAbandoned(t, p, testUIDBase)
	require.NoError(t, process.Kill())
	_, _ = process.Wait()
	// Nobody but the monitor is there to end them.
	eventually(t, "the services have ended", func() bool { return len(processesOf(t, testUIDBase)) == 0 })
	removed, err := p.Sweep(t.Context(), func(string) bool { return false })
	require.NoError(t, err)
	require.Equal(t, []string{"abandoned1", "abandoned2"}, removed)
	requireNothingLeft(t, p, "abandoned1")
	requireNothingLeft(t, p, "abandoned2")
}

// A runtime left alone after a crash would finish a service that a sweeper has
// just removed.
func TestStartService_noRuntimeGoesOnWithoutItsHost(t *testing.T) {
	p := newProvider(t)
	runtime := filepath.Join(t.TempDir(), "runtime")
	require.NoError(t, os.WriteFile(runtime, []byte("#!/bin/sh\nsleep 600 &\necho $$ $! > "+runtime+".pids\nwait\n"), 0o755))
	child := abandon(p, testUIDBase, "SLIPWAY_TEST_RUNTIME="+runtime)
	require.NoError(t, child.Start())
	var pids [2]int
	eventually(t, "the runtime runs", func() bool {
		n, _ := fmt.Sscan(readTrimmed(runtime+".pids"), &pids[0], &pids[1])
		return n == 2
	})
	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
	for _, pid := range pids {
		eventually(t, "the runtime has ended", func() bool { return unix.Kill(pid, 0) != nil })
	}
	removed, err := p.Sweep(t.Context(), func(string) bool { return false })
	require.NoError(t, err)
	require.Equal(t, []string{"abandoned1"}, removed)
	requireNothingLeft(t, p, "abandoned1")
}

// Where the monitor was killed as well, the next sweep ends what goes on.
func TestSweep_endsServicesThatWereLeft(t *testing.T) {
	p := newProvider(t)
	process := startAbandoned(t, p, testUIDBase+2*sandbox.MinUIDCount)
	monitors := childrenOf(process.Pid)
	require.NotEmpty(t, monitors)
	// Stopped, it cannot end its services when the monitor does.
	require.NoError(t, process.Signal(unix.SIGSTOP))
	for _, monitor := range monitors {
		require.NoError(t, unix.Kill(monitor, unix.SIGKILL))
	}
	require.NoError(t, process.Kill())
	_, _ = process.Wait()
	require.NotEmpty(t, p.cgroups.pids("abandoned1"))
	removed, err := p.Sweep(t.Context(), func(id string) bool { return id == "abandoned2" })
	require.NoError(t, err)
	require.Equal(t, []string{"abandoned1"}, removed)
	require.NotEmpty(t, p.cgroups.pids("abandoned2"), "one that is wanted stays")
	// The same service again, in this process.
	s, _ := shService(t, p, "abandoned2", "sleep 600")
	require.NoError(t, s.Destroy(t.Context()))
	// The killed ones are zombies until the host's process 1 reaps them.
	requireNoTrace(t, p, "abandoned1")
	requireNoTrace(t, p, "abandoned2")
}

// startAbandoned has another process start two services.
func startAbandoned(t *testing.T, p *Provider, uidBase uint32) *os.Process {
	t.Helper()
	child := abandon(p, uidBase)
	output, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	ready := newLines("abandon-ready")
	go func() { _, _ = io.Copy(ready, output) }()
	select {
	case <-ready.seen:
	case <-time.After(patience):
		t.Fatal("the other process did not get ready")
	}
	require.NotEmpty(t, p.cgroups.pids("abandoned1"))
	require.NotEmpty(t, p.cgroups.pids("abandoned2"))
	return child.Process
}

// abandon is the process to start, with more of an environment.
func abandon(p *Provider, uidBase uint32, env ...string) *exec.Cmd {
	child := exec.Command(os.Args[0], "-test.run=^TestAbandonServices_inAProcessOfItsOwn$", "-test.v")
	child.Env = append(os.Environ(), "SLIPWAY_TEST_ABANDON="+p.options.StateDir, fmt.Sprintf("SLIPWAY_TEST_UIDS=%d", uidBase))
	child.Env = append(child.Env, env...)
	return child
}

func TestAbandonServices_inAProcessOfItsOwn(t *testing.T) {
	state := os.Getenv("SLIPWAY_TEST_ABANDON")
	if state == "" {
		// Not a test of its own: startAbandoned starts it.
		return
	}
	p, err := New(Options{StateDir: state, Runtime: os.Getenv("SLIPWAY_TEST_RUNTIME")})
	require.NoError(t, err)
	for _, id := range []string{"abandoned1", "abandoned2"} {
		spec := testService(id, "/bin/sh", "-c", "trap '' TERM HUP INT; sleep 600 & setsid sleep 600 & wait")
		_, err := fmt.Sscan(os.Getenv("SLIPWAY_TEST_UIDS"), &spec.UIDBase)
		require.NoError(t, err)
		_, err = p.StartService(context.Background(), spec)
		require.NoError(t, err)
	}
	_, _ = os.Stdout.WriteString("abandon-ready\n")
	time.Sleep(time.Minute)
}

// A monitor that was killed takes its services with it, and says so; the next
// service has a new one.
func TestService_endsWithItsMonitor(t *testing.T) {
	p := newProvider(t)
	spec := testService("orphan", "/bin/sleep", "600")
	spec.UIDBase += 2 * sandbox.MinUIDCount // it is a zombie until the host's process 1 reaps it
	s := startService(t, p, spec)
	for _, child := range childrenOf(os.Getpid()) {
		if readTrimmed(fmt.Sprintf("/proc/%d/cmdline", child)) == "slipway-sandbox-monitor\x00" {
			require.NoError(t, unix.Kill(child, unix.SIGKILL))
		}
	}
	require.Equal(t, 137, awaitEnd(t, s).Code)
	eventually(t, "it has ended", func() bool { return len(p.cgroups.pids("orphan")) == 0 })
	again, output := shService(t, p, "orphan", "echo again")
	require.Zero(t, awaitEnd(t, again).Code)
	awaitSaid(t, output, "again\n")
}

// childrenOf lists a process's children.
func childrenOf(parent int) []int {
	var children []int
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	for _, file := range files {
		for _, field := range strings.Fields(readTrimmed(file)) {
			child, _ := strconv.Atoi(field)
			children = append(children, child)
		}
	}
	return children
}

func TestClose_endsServicesAndLeavesNothing(t *testing.T) {
	newProvider(t) // skips without a runtime
	defer leaks.VerifyNone(t, goleak.IgnoreCurrent())
	log := logrus.New()
	log.SetOutput(io.Discard)
	p, err := New(Options{StateDir: t.TempDir(), Log: log})
	require.NoError(t, err)
	s, _ := shService(t, p, "close", "sleep 600")
	ended, _ := shService(t, p, "ended", "exit 0")
	awaitEnd(t, ended)
	require.NoError(t, p.Close())
	require.Equal(t, 137, awaitEnd(t, s).Code)
	requireNothingLeft(t, p, "close")
	requireNothingLeft(t, p, "ended")
	require.NoDirExists(t, p.home.dir)
	require.NoError(t, p.Close())
}

func TestStartService_worksAtAnyPointACreatorWasKilled(t *testing.T) {
	p := newProvider(t)
	spec := testService("halfway", "/bin/sleep", "600")
	r := &record{ID: spec.ID, UIDBase: spec.UIDBase, UIDCount: spec.UIDCount, Limits: spec.Limits, Service: true}
	steps := []func() error{
		func() error { return p.home.write(r) },
		func() error { return p.writeServiceBundle(r, spec) },
		func() error {
			output, err := openOutput(nil, nil)
			if err != nil {
				return err
			}
			defer output.close()
			defer output.closeTheirs()
			_, err = p.launchService(t.Context(), spec, output)
			return err
		},
		func() error { return os.Remove(p.home.file(r.ID, "record.json")) },
		func() error { return os.RemoveAll(p.home.runtimeDir() + "/" + r.ID) },
	}
	for reached := 1; reached <= len(steps); reached++ {
		for _, step := range steps[:reached] {
			require.NoError(t, step())
		}
		if reached%2 == 0 {
			s := startService(t, p, spec)
			require.NoError(t, s.Destroy(t.Context()))
		} else {
			removed, err := p.Sweep(t.Context(), func(string) bool { return false })
			require.NoError(t, err)
			require.Equal(t, []string{"halfway"}, removed)
		}
		requireNothingLeft(t, p, "halfway")
	}
}
