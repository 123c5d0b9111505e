package oci

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// askProxy says hello to the registry proxy from the inside and prints the
// first line of its answer.
const askProxy = `exec 3<>/dev/tcp/127.0.0.1/3128 && printf 'GET / HTTP/1.1\r\nHost: x\r\n\r\n' >&3 && head -n 1 <&3`

func TestOpen_takesOverTheRegistryProxyOfAnEndedProcess(t *testing.T) {
	p := newProvider(t)
	spec := testSpec("takeover")
	spec.AllowHosts = []string{"registry.npmjs.org:443"}
	spec.Env = map[string]string{"PROJECT": "mine"}
	s := newSandbox(t, p, spec)
	require.Contains(t, sh(t, s, "bash <<'EOF'\n"+askProxy+"\nEOF").Output, "405 Method Not Allowed")
	require.NoError(t, p.Close())
	require.Contains(t, sh(t, s, "bash <<'EOF'\n"+askProxy+"\nEOF").Output, "502 Bad Gateway")

	successor, err := New(p.options)
	require.NoError(t, err)
	defer successor.Close()
	opened, err := successor.Open(t.Context(), "takeover")
	require.NoError(t, err)
	got := sh(t, opened, "echo $PROJECT; bash <<'EOF'\n"+askProxy+"\nEOF")
	require.Contains(t, got.Output, "405 Method Not Allowed")
	require.Contains(t, got.Output, "mine")
	require.NoError(t, opened.Destroy(t.Context()))
	requireNothingLeft(t, p, "takeover")
}

func TestCreate_withoutHostsHasNoProxy(t *testing.T) {
	p := newProvider(t)
	s := newSandbox(t, p, testSpec("offline"))
	require.NotZero(t, sh(t, s, "bash <<'EOF'\n"+askProxy+"\nEOF").ExitCode)
	require.NotContains(t, sh(t, s, "env").Output, "PROXY")
}
