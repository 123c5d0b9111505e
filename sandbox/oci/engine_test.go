package oci

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEngine_isKnownByItsProgramsName(t *testing.T) {
	for program, own := range map[string]bool{
		"runc": false, "/usr/sbin/runc": false, "crun": false, "/opt/runsc-tools/runc": false,
		"runsc": true, "/usr/local/bin/runsc": true, "runsc-20260905": true,
	} {
		require.Equal(t, own, engineOf(program).ownKernel, program)
	}
}
