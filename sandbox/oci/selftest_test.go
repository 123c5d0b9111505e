package oci

import (
	"context"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
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
	log := logrus.New()
	log.SetOutput(io.Discard)
	p, err := New(Options{StateDir: t.TempDir(), Log: log})
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := p.Sweep(context.Background(), func(string) bool { return false })
		require.NoError(t, err)
		require.NoError(t, p.Close())
		require.NoError(t, os.RemoveAll(p.home.dir))
	})
	return p
}

func TestCheck_passesOnThisHost(t *testing.T) {
	require.NoError(t, newProvider(t).Check(t.Context()))
}
