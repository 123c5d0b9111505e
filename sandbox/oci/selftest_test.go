package oci

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox/guest"
)

// newProvider makes a provider on a state folder of its own. Without a runtime
// the test is skipped, except in CI, where that is a failure.
func newProvider(t testing.TB) *Provider {
	t.Helper()
	if _, err := exec.LookPath("runc"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("runc is not installed: apt-get install runc")
		}
		t.Skip("runc is not installed: apt-get install runc")
	}
	return providerOf(t, "runc")
}

func providerOf(t testing.TB, runtime string) *Provider {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	p, err := New(Options{Runtime: runtime, StateDir: t.TempDir(), Log: log})
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := p.Sweep(context.Background(), func(string) bool { return false })
		require.NoError(t, err)
		require.NoError(t, p.Close())
		require.NoDirExists(t, p.home.dir)
	})
	return p
}

func TestCheck_passesOnThisHost(t *testing.T) {
	p := newProvider(t)
	require.NoError(t, p.Check(t.Context()))
	ids, err := p.home.ids()
	require.NoError(t, err)
	require.Empty(t, ids, "it leaves nothing")
}

// A runtime that claims to work is not believed.
func TestCheck_distrustsTheRuntime(t *testing.T) {
	for runtime, says := range map[string]string{
		"/bin/false": "could not be started", "/bin/true": "did not start", "/etc/passwd": "",
	} {
		p := newProvider(t)
		p.options.Runtime = runtime
		err := p.Check(t.Context())
		require.Equal(t, models.CodeSandbox, models.CodeOf(err), "%s: %v", runtime, err)
		require.Contains(t, models.MessageOf(err), says)
	}
}

// A sandbox that is unsound in one way only is refused, by name of that way.
func TestJudge_namesEveryFlaw(t *testing.T) {
	p := newProvider(t)
	spec := testSpec("judge")
	sound := func() *guest.Probe {
		probe := &guest.Probe{
			Status: map[string]string{
				"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000",
				"CapBnd": "0000000000000000", "CapAmb": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2",
			},
			UIDMap:     fmt.Sprintf("         0 %d      65536", spec.UIDBase),
			GIDMap:     fmt.Sprintf("         0 %d      65536", spec.UIDBase),
			Namespaces: map[string]string{}, Interfaces: []string{"lo"}, Attempts: map[string]string{},
		}
		for _, name := range []string{"user", "pid", "net", "ipc", "uts", "mnt", "cgroup"} {
			probe.Namespaces[name] = name + ":[1]"
		}
		for _, act := range guest.Permitted {
			probe.Attempts[act] = ""
		}
		for _, act := range guest.Forbidden {
			probe.Attempts[act] = "operation not permitted"
		}
		return probe
	}
	require.NoError(t, p.judge(sound(), spec))
	hostNetwork, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	flaws := map[string]func(*guest.Probe){
		"uids are mapped":           func(x *guest.Probe) { x.UIDMap = "0 0 4294967295" },
		"gids are mapped":           func(x *guest.Probe) { x.GIDMap = "" },
		"(CapEff 00000000a80425fb)": func(x *guest.Probe) { x.Status["CapEff"] = "00000000a80425fb" },
		"(CapBnd )":                 func(x *guest.Probe) { delete(x.Status, "CapBnd") },
		"may gain privileges":       func(x *guest.Probe) { x.Status["NoNewPrivs"] = "0" },
		"no system call filter":     func(x *guest.Probe) { x.Status["Seccomp"] = "0" },
		"extra group 27":            func(x *guest.Probe) { x.Status["Groups"] = "1000 27" },
		"host's net namespace":      func(x *guest.Probe) { x.Namespaces["net"] = hostNetwork },
		"host's user namespace":     func(x *guest.Probe) { delete(x.Namespaces, "user") },
		"network interfaces":        func(x *guest.Probe) { x.Interfaces = []string{"lo", "eth0"} },
	}
	for _, act := range guest.Permitted {
		flaws[fmt.Sprintf("%q fails", act)] = func(x *guest.Probe) { x.Attempts[act] = "permission denied" }
	}
	for _, act := range guest.Forbidden {
		flaws[fmt.Sprintf("%q succeeds", act)] = func(x *guest.Probe) { x.Attempts[act] = "" }
	}
	for says, spoil := range flaws {
		probe := sound()
		spoil(probe)
		err := p.judge(probe, spec)
		require.Equal(t, models.CodeSandbox, models.CodeOf(err), says)
		require.Contains(t, models.MessageOf(err), says)
	}
	empty := p.judge(&guest.Probe{}, spec)
	require.Error(t, empty, "nothing said is nothing proven")
}
