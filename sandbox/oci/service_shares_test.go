package oci

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestService_yieldsTheProcessorsWhileItIsToldTo(t *testing.T) {
	p := newProvider(t)
	s, _ := shService(t, p, "yields", "sleep 60")
	share := func() string {
		for _, name := range []string{"cpu" + p.cgroups.path("yields") + "/cpu.shares", p.cgroups.path("yields") + "/cpu.weight"} {
			if text, err := os.ReadFile(filepath.Join(cgroupRoot, name)); err == nil {
				return strings.TrimSpace(string(text))
			}
		}
		t.Fatal("the service has no share")
		return ""
	}
	before := share()
	require.NoError(t, s.Yield(true))
	require.Less(t, len(share()), len(before), "a tenth or less of %s", before)
	require.NoError(t, s.Yield(false))
	require.Equal(t, before, share())
	require.NoError(t, s.Destroy(t.Context()))
	require.NoError(t, s.Yield(true), "one that is gone yields already")
}
