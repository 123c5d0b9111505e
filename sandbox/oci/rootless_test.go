package oci

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/sandbox/guest"
)

const rootlessUID = 61234

// asNobody runs one of this program's tests as a user without privilege.
func asNobody(t *testing.T, test, cgroupParent string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	newProvider(t)
	folder, err := os.MkdirTemp("", "slipway-rootless-*")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(folder)) })
	require.NoError(t, os.Chmod(folder, 0o755))
	program := filepath.Join(folder, "program")
	content, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, content, 0o755))
	state := filepath.Join(folder, "state")
	require.NoError(t, os.Mkdir(state, 0o700))
	require.NoError(t, os.Chown(state, rootlessUID, rootlessUID))
	child := exec.Command(program, "-test.run=^"+test+"$", "-test.v")
	child.Dir = state
	child.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + state, "SLIPWAY_TEST_ROOTLESS=" + state,
		"SLIPWAY_TEST_CGROUP=" + cgroupParent,
	}
	child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: rootlessUID, Gid: rootlessUID}}
	output, err := child.CombinedOutput()
	require.NoError(t, err, string(output))
	return string(output)
}

func rootlessProvider(t *testing.T) *Provider {
	state := os.Getenv("SLIPWAY_TEST_ROOTLESS")
	if state == "" {
		// Not a test of its own: TestRootless_… starts it as another user.
		return nil
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	p, err := New(Options{StateDir: state, CgroupParent: os.Getenv("SLIPWAY_TEST_CGROUP"), Log: log})
	require.NoError(t, err)
	return p
}

func TestRootless_refusesWhereLimitsCannotBeSet(t *testing.T) {
	asNobody(t, "TestAsNobody_refuses", "")
}

func TestAsNobody_refuses(t *testing.T) {
	p := rootlessProvider(t)
	if p == nil {
		return
	}
	err := p.Check(t.Context())
	require.Equal(t, models.CodeSandbox, models.CodeOf(err))
	t.Log(models.MessageOf(err))
	require.Contains(t, models.MessageOf(err), "control group")
	ids, err := p.home.ids()
	require.NoError(t, err)
	require.Empty(t, ids)
}

// With control groups of its own, a user without privilege has sandboxes that
// pass the same self-test.
func TestRootless_worksBelowADelegatedControlGroup(t *testing.T) {
	if unified() {
		t.Skip("delegation differs in the unified hierarchy and needs a user session")
	}
	const parent = "slipway-test-delegated"
	for _, root := range hierarchies() {
		folder := filepath.Join(root, parent)
		require.NoError(t, os.MkdirAll(folder, 0o755))
		t.Cleanup(func() { require.NoError(t, removeGroup(folder)) })
		require.NoError(t, os.Chown(folder, rootlessUID, rootlessUID))
		for _, name := range []string{"cgroup.procs", "tasks"} {
			if _, err := os.Stat(filepath.Join(folder, name)); err == nil {
				require.NoError(t, os.Chown(filepath.Join(folder, name), rootlessUID, rootlessUID))
			}
		}
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
			if value := firstLine(filepath.Join(root, name)); value != "" {
				require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(value), 0))
			}
		}
	}
	asNobody(t, "TestAsNobody_builds", parent)
	asNobody(t, "TestAsNobody_serves", parent)
}

func TestAsNobody_builds(t *testing.T) {
	p := rootlessProvider(t)
	if p == nil {
		return
	}
	require.NoError(t, p.Check(t.Context()))
	spec := testSpec("rootless")
	spec.AllowHosts = []string{"registry.npmjs.org:443"}
	s := newSandbox(t, p, spec)
	require.NoError(t, s.Upload(t.Context(), textFiles(map[string]string{"a.txt": "hello"})))
	got := sh(t, s, "cat a.txt; mkdir -p node_modules/x && echo one > node_modules/x/y; setsid sleep 1000 & kill -9 1; echo; kill -9 -1")
	require.Contains(t, got.Output, "hello")
	require.Len(t, p.cgroups.pids("rootless"), 1)
	require.Equal(t, sandbox.LimitMemory, sh(t, s, "head -c 2G /dev/zero | tail > /dev/null; exit 1").LimitHit)
	require.NotZero(t, sh(t, s, "cat /proc/1/environ").ExitCode)
	require.NotZero(t, sh(t, s, guest.Path+" init").ExitCode)
	dest := filepath.Join(t.TempDir(), "snapshot")
	require.NoError(t, publish(t, s, dest))
	spec.ID, spec.ModulesSnapshot = "rootless2", dest
	second := newSandbox(t, p, spec)
	got = sh(t, second, "echo two > node_modules/x/y && cat node_modules/x/y")
	require.Equal(t, "two\n", got.Output)
	for _, made := range []sandbox.Sandbox{s, second} {
		require.NoError(t, made.Destroy(t.Context()))
		require.Empty(t, p.cgroups.folders(made.ID()))
	}
	require.NoError(t, p.Close())
}

func TestAsNobody_serves(t *testing.T) {
	p := rootlessProvider(t)
	if p == nil {
		return
	}
	s, output := shService(t, p, "rootless", "id -u; sleep 600 & wait")
	eventually(t, "it runs", func() bool { return output.String() == "0\n" })
	usage, err := s.Usage()
	require.NoError(t, err)
	require.Positive(t, usage.MemoryBytes)
	require.NoError(t, s.Destroy(t.Context()))
	require.Empty(t, p.cgroups.folders("rootless"))
	require.NoError(t, p.Close())
	require.NoDirExists(t, p.home.dir)
}
