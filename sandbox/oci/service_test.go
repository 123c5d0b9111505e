package oci

import (
	"testing"

	"github.com/stretchr/testify/require"
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
	require.NoError(t, s.Destroy(t.Context()))
	require.Equal(t, 137, awaitEnd(t, s).Code)
	requireNothingLeft(t, p, "worker")
}
