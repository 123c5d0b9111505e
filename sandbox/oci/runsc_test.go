package oci

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
)

// newRunscProvider makes a provider on gVisor. It is no part of what a host
// must have, so that its tests are skipped without it, in CI too: Debian has no
// package of it, and CI's machines do not either.
func newRunscProvider(t testing.TB) *Provider {
	t.Helper()
	if _, err := exec.LookPath("runsc"); err != nil {
		t.Skip("runsc is not installed (CI's machines have none): https://gvisor.dev/docs/user_guide/install/")
	}
	if rootless() {
		t.Skip("runsc is supported for root only")
	}
	return providerOf(t, "runsc")
}

func TestRunsc_livesFromCreateToDestroyAndLeavesNothing(t *testing.T) {
	p := newRunscProvider(t)
	require.NoError(t, p.Check(t.Context()))
	spec := testSpec("runsc")
	spec.AllowHosts = []string{"registry.npmjs.org:443"}
	s := newSandbox(t, p, spec)
	require.NoError(t, s.Upload(t.Context(), textFiles(map[string]string{"a.txt": "hello", "node_modules/x/y": "one"})))
	got := sh(t, s, "cat a.txt; id -u; pwd; echo $HOME; echo built > out; exit 7")
	require.Equal(t, "hello1000\n/workspace\n/home/build\n", got.Output)
	require.Equal(t, 7, got.ExitCode)
	_, err := s.Exec(t.Context(), sandbox.Command{Args: []string{"true"}, Dir: "absent"})
	require.ErrorContains(t, err, "does not exist in the sandbox")

	opened, err := p.Open(t.Context(), "runsc")
	require.NoError(t, err)
	files, err := collected(t, opened, ".", sandbox.CollectLimits{})
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(files), "out")
	dest := filepath.Join(t.TempDir(), "snapshot")
	require.NoError(t, os.Chmod(filepath.Dir(dest), 0o755))
	require.NoError(t, publish(t, s, dest))
	require.NoError(t, s.Destroy(t.Context()))
	requireNothingLeft(t, p, "runsc")
	_, err = s.Exec(t.Context(), sandbox.Command{Args: []string{"true"}})
	require.ErrorIs(t, err, sandbox.ErrGone)

	spec.ModulesSnapshot = dest
	second := newSandbox(t, p, spec)
	require.Equal(t, "onetwo\n", sh(t, second, "cat node_modules/x/y; echo two > node_modules/x/y; cat node_modules/x/y").Output)
	content, err := os.ReadFile(filepath.Join(dest, "x/y"))
	require.NoError(t, err)
	require.Equal(t, "one", string(content))
}

// What a command left is killed inside, where the host sees nothing.
func TestRunsc_killsWhatACommandLeft(t *testing.T) {
	p := newRunscProvider(t)
	s := newSandbox(t, p, testSpec("left"))
	requireAlone := func() {
		t.Helper()
		left, err := s.(*box).processesInside(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, left, "only process 1 lives")
		require.Equal(t, "usable\n", sh(t, s, "echo usable").Output)
	}
	require.Equal(t, "done\n", sh(t, s, "setsid sleep 1000 & (setsid sh -c 'sleep 1000 & sleep 1000' &) ; echo done").Output)
	requireAlone()
	require.Equal(t, 137, sh(t, s, "setsid sleep 1000 & kill -9 -1; kill -9 $PPID; kill -9 1; sleep 1000").ExitCode)
	requireAlone()
	require.Equal(t, 137, sh(t, s, "setsid sh -c 'while :; do kill -9 -1; done' & sleep 1000").ExitCode)
	requireAlone()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
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
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	requireAlone()
	result, err := s.Exec(t.Context(), sandbox.Command{
		Args: []string{"sh", "-c", "setsid sleep 600 & trap '' TERM; while :; do :; done"}, Timeout: time.Second,
	})
	require.NoError(t, err)
	require.Equal(t, sandbox.LimitTimeout, result.LimitHit)
	requireAlone()
}

// A limit of the host's may end gVisor's kernel and the sandbox with it. That is
// the build's failure, by its name, and no reason to build again.
func TestRunsc_namesTheLimitThatEndedACommand(t *testing.T) {
	for _, greed := range []struct {
		name, script string
		limit        sandbox.Limit
	}{
		{"memory", "head -c 2G /dev/zero | tail > /dev/null; exit 1", sandbox.LimitMemory},
		{"disk", "head -c 100M /dev/zero > big; sleep 0.2; rm -f big; exit 1", sandbox.LimitDisk},
		{"forks", "bomb() { bomb | bomb & }; bomb; sleep 1; exit 1", sandbox.LimitPIDs},
		{"processes", "for i in $(seq 1000); do setsid sleep 600 & done; exit 1", sandbox.LimitPIDs},
	} {
		t.Run(greed.name, func(t *testing.T) {
			p := newRunscProvider(t)
			s := newSandbox(t, p, testSpec(greed.name))
			got := sh(t, s, greed.script)
			require.NotZero(t, got.ExitCode)
			require.Equal(t, greed.limit, got.LimitHit, lastPart(got.Output))
			require.NoError(t, s.Destroy(t.Context()))
			requireNothingLeft(t, p, greed.name)
		})
	}
}

func TestRunsc_everyEscapeIsRefused(t *testing.T) {
	requireNoEscape(t, newRunscProvider(t), []string{
		"clone3 into a user namespace",                        // see seccomp
		"make containers",                                     // /dev/fuse
		"set the core pattern",                                // there is none to read
		"use sysfs",                                           // its own
		"run at real-time priority", "run at higher priority", // accepted without effect
	})
}

func TestRunsc_reachesTheRegistryThroughTheProxyOnly(t *testing.T) {
	requireInstalls(t, withToolchain(t, newRunscProvider(t)))
}

// The self-test looks at gVisor from both sides, and would see it laid open.
func TestRunsc_isRefusedWhereItIsolatesLess(t *testing.T) {
	for says, spoil := range map[string]func([]string) []string{
		"no system call filter": func(flags []string) []string {
			return slices.DeleteFunc(flags, func(flag string) bool { return flag == "--oci-seccomp" })
		},
		"own loopback":    func(flags []string) []string { return append(flags, "--network=host") },
		"uids are mapped": func(flags []string) []string { return append(flags, "--directfs=false") },
	} {
		p := newRunscProvider(t)
		p.engine.flags = spoil(slices.Clone(p.engine.flags))
		err := p.Check(t.Context())
		require.Equal(t, models.CodeSandbox, models.CodeOf(err), "%s: %v", says, err)
		require.Contains(t, models.MessageOf(err), says)
	}
}
