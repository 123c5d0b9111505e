package oci

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
)

const okWorker = `export default { fetch(request) { return new Response("ok") } }`

func TestService_servesOnAnInheritedSocket(t *testing.T) {
	p := newProvider(t)
	w := newWorker(t, okWorker)
	spec := w.service(t, "worker")
	output := &said{}
	spec.Stdout, spec.Stderr = output, output
	s := startService(t, p, spec)
	answer, err := w.get("/")
	require.NoError(t, err, output.String())
	require.Equal(t, "200 ok", answer)
	usage, err := s.Usage()
	require.NoError(t, err)
	require.Positive(t, usage.CPU)
	require.Greater(t, usage.MemoryBytes, int64(1<<20))
	require.NoError(t, s.Destroy(t.Context()))
	require.Equal(t, 137, awaitEnd(t, s).Code)
	requireNothingLeft(t, p, "worker")
}

func TestService_saysHowItEnded(t *testing.T) {
	p := newProvider(t)
	for script, code := range map[string]int{"exit 0": 0, "exit 7": 7, "trap - TERM; kill -9 $$ ; exit 3": 3} {
		s, _ := shService(t, p, "ends", script)
		require.Equal(t, sandbox.Exit{Code: code}, awaitEnd(t, s), script)
	}
	s, _ := shService(t, p, "ends", "sleep 600 & exec sleep 600")
	require.NoError(t, s.Kill())
	require.Equal(t, sandbox.Exit{Code: 137}, awaitEnd(t, s))
	require.NoError(t, s.Kill(), "killing what has ended")
	require.Empty(t, p.cgroups.pids("ends"), "all of it ends")
	require.NoError(t, s.Destroy(t.Context()))
	require.NoError(t, s.Destroy(t.Context()), "destroying twice")
	requireNothingLeft(t, p, "ends")
}

func TestService_handsOnAllThatItSays(t *testing.T) {
	p := newProvider(t)
	s, output := shService(t, p, "says", "seq 20000; echo error >&2; cat; echo last; exit 1")
	awaitEnd(t, s)
	awaitSaid(t, output, "20000\nerror\nlast\n")
	require.True(t, strings.HasPrefix(output.String(), "1\n2\n3\n"))

	out, errors := &said{}, &said{}
	spec := testService("says", "/bin/sh", "-c", "echo out; echo error >&2")
	spec.Stdout, spec.Stderr = out, errors
	awaitEnd(t, startService(t, p, spec))
	awaitSaid(t, out, "\n")
	awaitSaid(t, errors, "\n")
	require.Equal(t, "out\n", out.String())
	require.Equal(t, "error\n", errors.String())
	spec.Stdout, spec.Stderr = nil, nil
	require.Zero(t, awaitEnd(t, startService(t, p, spec)).Code)
}

// A writer that is stuck holds up the service's output, not the news of its end.
func TestService_endsThoughNobodyTakesItsOutput(t *testing.T) {
	p := newProvider(t)
	spec := testService("stuck", "/bin/sh", "-c", "echo one; exit 4")
	stuck := make(stuckWriter)
	defer close(stuck)
	spec.Stdout = stuck
	require.Equal(t, 4, awaitEnd(t, startService(t, p, spec)).Code)
}

type stuckWriter chan struct{}

func (w stuckWriter) Write(p []byte) (int, error) { <-w; return len(p), nil }

func TestService_seesItsOwnAndNothingElse(t *testing.T) {
	t.Setenv("SLIPWAY_TEST_TOKEN", "hunter2")
	p := newProvider(t)
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "bound"), []byte("bound\n"), 0o644))
	output := &said{}
	spec := testService("sees", "/bin/sh", "-c",
		"echo $$; id -u; env; cat /data/folder/bound /data/file; ls /; ls /opt /home /workspace /.slipway; ls /proc/self/fd; echo x > /data/file; echo x > /data/folder/new; echo x > /tmp/x && cat /tmp/x")
	spec.Env = map[string]string{"OWN": "own value", "LANG": "C"}
	spec.Binds = []sandbox.Bind{
		{Source: folder, Destination: "/data/folder"}, {Source: filepath.Join(folder, "bound"), Destination: "/data/file"},
	}
	spec.Stdout, spec.Stderr = output, output
	awaitEnd(t, startService(t, p, spec))
	awaitSaid(t, output, "\nx\n")
	got := output.String()
	require.True(t, strings.HasPrefix(got, "1\n1000\n"), got)
	require.Contains(t, got, "OWN=own value\n")
	require.Contains(t, got, "LANG=C\n")
	require.Equal(t, 2, strings.Count(got, "bound\n"), got)
	require.Contains(t, got, "bin\ndata\ndev\netc\nlib\n")
	for _, absent := range []string{"/opt", "/home", "/workspace", "/.slipway"} {
		require.Contains(t, got, fmt.Sprintf("cannot access '%s': No such file", absent))
	}
	require.Contains(t, got, "\n0\n1\n2\n3\n", "its own descriptors, 3 being the folder being listed")
	require.NotContains(t, got, "\n4\n")
	require.Equal(t, 2, strings.Count(got, "Read-only file system"), got)
	require.True(t, strings.HasSuffix(got, "x\n"), got)
	require.NotContains(t, got, "hunter2")
	require.NoFileExists(t, filepath.Join(folder, "new"))
}

// A socket of the host's that is bound in is reached when its mode lets the
// service's user, though the folder it is in is closed.
func TestService_connectsToABoundSocket(t *testing.T) {
	p := newProvider(t)
	folder, err := os.MkdirTemp("", "slipway-service-*")
	require.NoError(t, err)
	defer os.RemoveAll(folder)
	require.NoError(t, os.Chmod(folder, 0o700))
	listener, err := net.Listen("unix", filepath.Join(folder, "socket"))
	require.NoError(t, err)
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	for mode, code := range map[os.FileMode]int{0o666: 0, 0o600: 1} {
		require.NoError(t, os.Chmod(filepath.Join(folder, "socket"), mode))
		spec := testService("connects", "/probe", dialCommand, "/run/outside/socket")
		program, err := os.Executable()
		require.NoError(t, err)
		spec.Binds = []sandbox.Bind{
			{Source: program, Destination: "/probe"}, {Source: filepath.Join(folder, "socket"), Destination: "/run/outside/socket"},
		}
		require.Equal(t, code, awaitEnd(t, startService(t, p, spec)).Code, "mode %o", mode)
	}
}

func TestService_isKilledForMemoryAndSaysSo(t *testing.T) {
	p := newProvider(t)
	spec := testService("greedy", "/usr/bin/tail", "/dev/zero")
	spec.Limits.MemoryBytes = 64 << 20
	require.Equal(t, sandbox.Exit{Code: 137, OOMKilled: true}, awaitEnd(t, startService(t, p, spec)))

	w := newWorker(t, `export default { fetch() { const all = []; for (;;) all.push(new Uint8Array(1 << 20).fill(1)) } }`)
	spec = w.service(t, "greedy")
	spec.Limits.MemoryBytes = 128 << 20
	s := startService(t, p, spec)
	_, err := w.get("/")
	require.Error(t, err)
	require.Equal(t, sandbox.Exit{Code: 137, OOMKilled: true}, awaitEnd(t, s))
}

func TestService_reportsUsage(t *testing.T) {
	p := newProvider(t)
	s, _ := shService(t, p, "usage", "sleep 600 & while :; do :; done")
	usage := func() sandbox.Usage {
		usage, err := s.Usage()
		require.NoError(t, err)
		return usage
	}
	eventually(t, "it has used processor time", func() bool { return usage().CPU > 100*time.Millisecond })
	require.EqualValues(t, 2, usage().PIDs)
	require.Positive(t, usage().MemoryBytes)
	before := usage().CPU
	require.NoError(t, s.Destroy(t.Context()))
	require.GreaterOrEqual(t, usage().CPU, before, "what it had used is known afterwards")
	require.Zero(t, usage().MemoryBytes)
}

// The unified hierarchy's files read as those of version 1 do.
func TestMeters_readBothVersionsOfControlGroups(t *testing.T) {
	open := func(content string) *os.File {
		name := filepath.Join(t.TempDir(), "meter")
		require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
		file, err := os.Open(name)
		require.NoError(t, err)
		return file
	}
	for _, m := range []*meters{
		{cpu: open("1500000000\n"), memory: open("4096\n"), pids: open("3\n")},
		{unified: true, cpu: open("usage_usec 1500000\nuser_usec 9\nsystem_usec 8\n"), memory: open("4096\n"), pids: open("3\n")},
	} {
		usage, err := m.read()
		require.NoError(t, err)
		require.Equal(t, sandbox.Usage{CPU: 1500 * time.Millisecond, MemoryBytes: 4096, PIDs: 3}, usage)
		m.close()
		usage, err = m.read()
		require.NoError(t, err)
		require.Equal(t, sandbox.Usage{CPU: 1500 * time.Millisecond}, usage)
	}
}

func TestService_givesEachOrganizationUsersOfItsOwn(t *testing.T) {
	p := newProvider(t)
	bases := []uint32{testUIDBase, testUIDBase + sandbox.MinUIDCount}
	for i, base := range bases {
		spec := testService(fmt.Sprintf("organization%d", i), "/bin/sleep", "600")
		spec.UIDBase = base
		startService(t, p, spec)
	}
	for i, base := range bases {
		var stat unix.Stat_t
		pids := p.cgroups.pids(fmt.Sprintf("organization%d", i))
		require.Len(t, pids, 1)
		// Until it has become the program, /proc gives the runtime's part to root.
		eventually(t, "the program runs as a user of its organization", func() bool {
			return unix.Stat(fmt.Sprintf("/proc/%d", pids[0]), &stat) == nil && stat.Uid == base+buildUID
		})
		require.Equal(t, base+buildGID, stat.Gid)
	}
}

func TestStartService_replacesWhatAnEarlierOneLeft(t *testing.T) {
	p := newProvider(t)
	first := startService(t, p, testService("twice", "/bin/sleep", "600"))
	second := startService(t, p, testService("twice", "/bin/sleep", "600"))
	require.Equal(t, 137, awaitEnd(t, first).Code)
	require.NoError(t, first.Kill())
	require.NoError(t, first.Destroy(t.Context()))
	require.Len(t, p.cgroups.pids("twice"), 1, "the first one's handle does not reach the second")
	_, err := p.Open(t.Context(), "twice")
	require.ErrorIs(t, err, sandbox.ErrGone, "a service takes no commands")
	require.NoError(t, second.Destroy(t.Context()))
	requireNothingLeft(t, p, "twice")
}

func TestStartService_startsManyAtOnce(t *testing.T) {
	p := newProvider(t)
	w := newWorker(t, okWorker)
	var all sync.WaitGroup
	outputs := make([]*said, 12)
	for i := range outputs {
		all.Go(func() {
			output := &said{}
			spec := testService(fmt.Sprintf("many%d", i), w.args("/worker", "/opt/workerd")...)
			spec.Args = append(spec.Args[:1], "--version")
			spec.Binds = []sandbox.Bind{{Source: w.program, Destination: "/opt/workerd"}}
			spec.Stdout = output
			s, err := p.StartService(t.Context(), spec)
			if err != nil {
				t.Error(err)
				return
			}
			<-s.Done()
			if s.Exit().Code != 0 {
				t.Errorf("%d: %v", i, s.Exit())
			}
			outputs[i] = output
		})
	}
	all.Wait()
	for _, output := range outputs {
		require.NotNil(t, output)
		awaitSaid(t, output, "\n")
		require.True(t, strings.HasPrefix(output.String(), "workerd "), output.String())
	}
}

func TestStartService_refusesImpossibleSpecs(t *testing.T) {
	p := newProvider(t)
	for name, spoil := range map[string]func(*sandbox.ServiceSpec){
		"host root":          func(s *sandbox.ServiceSpec) { s.UIDBase = 0 },
		"no limits":          func(s *sandbox.ServiceSpec) { s.Limits = sandbox.Limits{} },
		"no program":         func(s *sandbox.ServiceSpec) { s.Args = nil },
		"a program by name":  func(s *sandbox.ServiceSpec) { s.Args = []string{"sh"} },
		"a NUL":              func(s *sandbox.ServiceSpec) { s.Args = []string{"/bin/sh", "\x00"} },
		"a variable with =":  func(s *sandbox.ServiceSpec) { s.Env = map[string]string{"A=B": ""} },
		"too many files":     func(s *sandbox.ServiceSpec) { s.Files = make([]*os.File, 100) },
		"a closed file":      func(s *sandbox.ServiceSpec) { s.Files = []*os.File{nil} },
		"a bind over /usr":   func(s *sandbox.ServiceSpec) { s.Binds = []sandbox.Bind{{Source: "/tmp", Destination: "/usr/x"}} },
		"a bind over /proc":  func(s *sandbox.ServiceSpec) { s.Binds = []sandbox.Bind{{Source: "/tmp", Destination: "/proc"}} },
		"a bind over all":    func(s *sandbox.ServiceSpec) { s.Binds = []sandbox.Bind{{Source: "/tmp", Destination: "/"}} },
		"a bind that climbs": func(s *sandbox.ServiceSpec) { s.Binds = []sandbox.Bind{{Source: "/tmp", Destination: "/a/../usr"}} },
		"a relative source":  func(s *sandbox.ServiceSpec) { s.Binds = []sandbox.Bind{{Source: "tmp", Destination: "/a"}} },
		"an absent source":   func(s *sandbox.ServiceSpec) { s.Binds = []sandbox.Bind{{Source: "/no/such", Destination: "/a"}} },
		"a bind in a bind": func(s *sandbox.ServiceSpec) {
			s.Binds = []sandbox.Bind{{Source: "/tmp", Destination: "/a/b"}, {Source: "/tmp", Destination: "/a"}}
		},
		"a mount's separator": func(s *sandbox.ServiceSpec) { s.Binds = []sandbox.Bind{{Source: "/tmp", Destination: "/a\x00"}} },
	} {
		t.Run(name, func(t *testing.T) {
			spec := testService("impossible", "/bin/true")
			spoil(&spec)
			_, err := p.StartService(t.Context(), spec)
			require.Equal(t, models.CodeValidation, models.CodeOf(err), "%v", err)
			requireNothingLeft(t, p, "impossible")
		})
	}
}

func TestStartService_saysWhyItCannot(t *testing.T) {
	p := newProvider(t)
	_, err := p.StartService(t.Context(), testService("absent", "/no/such/program"))
	require.Equal(t, models.CodeSandbox, models.CodeOf(err))
	require.Contains(t, models.MessageOf(err), "/no/such/program")
	requireNothingLeft(t, p, "absent")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.StartService(ctx, testService("canceled", "/bin/true"))
	require.ErrorIs(t, err, context.Canceled)
	requireNothingLeft(t, p, "canceled")

	p.engine = runsc
	_, err = p.StartService(t.Context(), testService("runsc", "/bin/true"))
	require.Equal(t, models.CodeSandbox, models.CodeOf(err))
	p.engine = runc

	p.options.Runtime = "no-such-runtime"
	_, err = p.StartService(t.Context(), testService("missing", "/bin/true"))
	require.Contains(t, models.MessageOf(err), "apt-get install runc")
	requireNothingLeft(t, p, "missing")
	p.options.Runtime = "/bin/true"
	_, err = p.StartService(t.Context(), testService("missing", "/bin/true"))
	require.Contains(t, models.MessageOf(err), "did not say what it started")
}

// A runtime that hangs is killed with all it started, and holds nothing up.
func TestStartService_endsARuntimeThatHangs(t *testing.T) {
	p := newProvider(t)
	runtime := filepath.Join(t.TempDir(), "runtime")
	require.NoError(t, os.WriteFile(runtime, []byte("#!/bin/sh\necho $$ > "+runtime+".pid\nsleep 600 & wait\n"), 0o755))
	p.options.Runtime = runtime
	var pid int
	// On a busy machine the time may be over before the runtime has even begun.
	for limit := 200 * time.Millisecond; pid == 0; limit *= 2 {
		require.Less(t, limit, patience, "the runtime does not begin")
		p.options.StartTimeout = limit
		_, err := p.StartService(t.Context(), testService("hangs", "/bin/true"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, models.CodeSandbox, models.CodeOf(err))
		requireNothingLeft(t, p, "hangs")
		_, _ = fmt.Sscan(readTrimmed(runtime+".pid"), &pid)
	}
	require.ErrorIs(t, unix.Kill(pid, 0), unix.ESRCH)
	p.options.Runtime, p.options.StartTimeout = "runc", 30*time.Second
	s, _ := shService(t, p, "hangs", "exit 0")
	require.Zero(t, awaitEnd(t, s).Code)
}
