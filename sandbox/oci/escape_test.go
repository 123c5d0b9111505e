package oci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/sandbox/guest"
)

// bait is what a host has that a build must not reach. It counts who came.
type bait struct {
	port, address, abstract string
	process                 *exec.Cmd
	visits                  atomic.Int64
}

// newBait listens where a database would, on loopback and on the machine's own
// address, on an abstract socket, and runs a process with a secret.
func newBait(t *testing.T) *bait {
	t.Helper()
	b := &bait{abstract: fmt.Sprintf("slipway-bait-%d", os.Getpid())}
	everywhere, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	_, b.port, err = net.SplitHostPort(everywhere.Addr().String())
	require.NoError(t, err)
	abstract, err := net.Listen("unix", "@"+b.abstract)
	require.NoError(t, err)
	for _, listener := range []net.Listener{everywhere, abstract} {
		t.Cleanup(func() { listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				b.visits.Add(1)
				conn.Close()
			}
		}()
	}
	b.address = "127.0.0.1"
	addresses, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addresses {
		if network, ok := a.(*net.IPNet); ok && network.IP.IsGlobalUnicast() && network.IP.To4() != nil {
			b.address = network.IP.String()
		}
	}
	b.process = exec.Command("sleep", "600")
	b.process.Env = []string{"HOST_SECRET_MARK=hunter2"}
	require.NoError(t, b.process.Start())
	t.Cleanup(func() {
		_ = b.process.Process.Kill()
		_ = b.process.Wait()
	})
	return b
}

// environment tells an intruder in a sandbox of p where the bait is, and which
// folder is its own.
func (b *bait) environment(p *Provider, own string) map[string]string {
	return map[string]string{
		"HOST_PORT": b.port, "HOST_ADDRESS": b.address, "HOST_ABSTRACT": b.abstract, "HOST_STATE": p.home.dir,
		"HOST_PID": fmt.Sprint(b.process.Process.Pid), "HOST_ACCOUNT": "www-data", "OWN_MARK": "own", "OWN_FOLDER": own,
	}
}

func TestEscape_everyAttemptIsRefusedAndItsPermittedTwinWorks(t *testing.T) {
	requireNoEscape(t, newProvider(t), nil)
}

// requireNoEscape makes every attempt in a sandbox of p. Those in emulated are
// acts on a kernel of the sandbox's own: how they end says nothing of the host.
func requireNoEscape(t *testing.T, p *Provider, emulated []string) {
	t.Helper()
	b := newBait(t)
	// The bait works from here, or it would prove nothing.
	for _, address := range []string{"127.0.0.1", b.address} {
		require.NoError(t, dial(net.JoinHostPort(address, b.port))())
	}
	require.NoError(t, dialUnix("@"+b.abstract)())
	eventually(t, "the bait counts", func() bool { return b.visits.Load() == 3 })
	corePattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	require.NoError(t, err)
	hostname, err := os.Hostname()
	require.NoError(t, err)

	spec := testSpec("escape")
	// With a proxy, so that its socket and process are there to be attacked.
	spec.AllowHosts = []string{"registry.npmjs.org:443"}
	s := newSandbox(t, p, spec)
	var out, said bytes.Buffer
	result, err := s.Exec(t.Context(), sandbox.Command{
		Args: []string{guest.Path, intruderCommand}, Stdout: &out, Stderr: &said, Timeout: 2 * time.Minute,
		Env: b.environment(p, sandbox.WorkspaceDir),
	})
	require.NoError(t, err)
	require.Zero(t, result.ExitCode, said.String())
	var report map[string]outcome
	require.NoError(t, json.Unmarshal(out.Bytes(), &report), out.String())
	for _, a := range attempts() {
		t.Run(a.name, func(t *testing.T) {
			got, tried := report[a.name]
			require.True(t, tried)
			if slices.Contains(emulated, a.name) {
				return
			}
			require.NotEmpty(t, got.Act, "it was allowed")
			require.Empty(t, got.Twin, "its permitted twin failed")
		})
	}

	require.EqualValues(t, 3, b.visits.Load(), "nobody reached the bait")
	after, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	require.NoError(t, err)
	require.Equal(t, string(corePattern), string(after))
	name, err := os.Hostname()
	require.NoError(t, err)
	require.Equal(t, hostname, name)
	require.NoError(t, b.process.Process.Signal(syscall.Signal(0)), "the host's process lives")
	require.NoError(t, s.Destroy(t.Context()))
	requireNothingLeft(t, p, "escape")
}

// Exhaustion: each greed ends with its limit named, and the modest form works
// in the same sandbox before and after.
func TestEscape_greedIsStoppedAndNamed(t *testing.T) {
	p := newProvider(t)
	spec := testSpec("greed")
	spec.Limits.PIDs = 128
	s := newSandbox(t, p, spec)
	modest := map[string]string{
		"memory": "head -c 64M /dev/zero | tail > /dev/null",
		"disk":   "head -c 32M /dev/zero > some && rm some",
		"forks":  "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.01 & done; wait",
		"files":  "seq 1000 | xargs touch && rm -f [0-9]*",
	}
	for _, greed := range []struct {
		name, script string
		limit        sandbox.Limit
		timeout      time.Duration
	}{
		{"memory", "head -c 4G /dev/zero | tail > /dev/null; exit 1", sandbox.LimitMemory, time.Minute},
		{"disk", "cat /dev/zero > all & cat /dev/zero > all2 & cat /dev/zero > all3 & wait; sleep 2; rm -f all*; exit 1", sandbox.LimitDisk, time.Minute},
		{"forks", "bomb() { bomb | bomb & }; bomb; sleep 3; exit 1", sandbox.LimitPIDs, time.Minute},
		{"forks", "for i in $(seq 1000); do setsid sleep 600 & done; exit 1", sandbox.LimitPIDs, time.Minute},
		{"forks", "setsid sleep 600 & trap '' TERM HUP INT; while :; do :; done", sandbox.LimitTimeout, time.Second},
	} {
		t.Run(greed.name, func(t *testing.T) {
			require.Zero(t, sh(t, s, modest[greed.name]).ExitCode, "the modest form, before")
			var out bytes.Buffer
			result, err := s.Exec(t.Context(), sandbox.Command{
				Args: []string{"/bin/sh", "-c", greed.script}, Stdout: &out, Stderr: &out, Timeout: greed.timeout,
			})
			require.NoError(t, err)
			require.NotZero(t, result.ExitCode)
			require.Equal(t, greed.limit, result.LimitHit, lastPart(out.String()))
			require.Len(t, p.cgroups.pids("greed"), 1, "nothing goes on")
			sh(t, s, "rm -rf all*")
			got := sh(t, s, modest[greed.name])
			require.Zero(t, got.ExitCode, "the modest form, after: "+got.Output)
		})
	}
	require.NoError(t, s.Destroy(t.Context()))
	requireNothingLeft(t, p, "greed")
}

// A build that fills every writable place at once stays within its memory.
func TestEscape_allWritablePlacesTogetherStayWithinMemory(t *testing.T) {
	p := newProvider(t)
	spec := testSpec("tmpfs")
	spec.Limits = sandbox.Limits{MemoryBytes: 128 << 20, CPUs: 1, PIDs: 64, DiskBytes: 100 << 20}
	s := newSandbox(t, p, spec)
	got := sh(t, s, "for d in /workspace /home/build /tmp /dev/shm; do head -c 100M /dev/zero > $d/x; done; exit 1")
	require.NotEqual(t, sandbox.LimitNone, got.LimitHit)
	for _, folder := range p.cgroups.folders("tmpfs") {
		// The kernel charges in batches and lets a dying process go over a little.
		require.LessOrEqual(t, readNumber(folder+"/memory.max_usage_in_bytes"), int64(129<<20))
	}
	// Nothing more may fit: that is still the build's failure, not ours.
	if next := sh(t, s, "true"); next.ExitCode != 0 {
		require.Equal(t, sandbox.LimitMemory, next.LimitHit)
		_, err := collected(t, s, ".", sandbox.CollectLimits{})
		require.Equal(t, models.CodeBuildFailed, models.CodeOf(err), "%v", err)
	}
	require.NoError(t, s.Destroy(t.Context()))
	requireNothingLeft(t, p, "tmpfs")
}

func TestEscape_nothingOfTheHostsEnvironmentIsInside(t *testing.T) {
	t.Setenv("SLIPWAY_TEST_TOKEN", "hunter2")
	p := newProvider(t)
	s := newSandbox(t, p, testSpec("environment"))
	got := sh(t, s, "env; tr '\\0' '\\n' < /proc/self/environ")
	require.Zero(t, got.ExitCode)
	require.Contains(t, got.Output, "HOME=/home/build")
	require.NotContains(t, got.Output, "SLIPWAY_TEST_TOKEN")
	require.NotContains(t, got.Output, "hunter2")
}

func lastPart(text string) string {
	if len(text) > 2000 {
		return text[len(text)-2000:]
	}
	return text
}

func readNumber(file string) (n int64) {
	_, _ = fmt.Sscan(firstLine(file), &n)
	return n
}
