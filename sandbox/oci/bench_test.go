package oci

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/sandbox"
)

// What a deployment pays for isolation, command included.
func BenchmarkSandbox_createRunDestroy(b *testing.B) {
	p := newProvider(b)
	for b.Loop() {
		s := newSandbox(b, p, testSpec("bench"))
		result, err := s.Exec(b.Context(), sandbox.Command{Args: []string{"true"}})
		require.NoError(b, err)
		require.Zero(b, result.ExitCode)
		require.NoError(b, s.Destroy(b.Context()))
	}
}

// What each further command costs.
func BenchmarkSandbox_run(b *testing.B) {
	p := newProvider(b)
	s := newSandbox(b, p, testSpec("bench"))
	for b.Loop() {
		result, err := s.Exec(b.Context(), sandbox.Command{Args: []string{"true"}})
		require.NoError(b, err)
		require.Zero(b, result.ExitCode)
	}
}
