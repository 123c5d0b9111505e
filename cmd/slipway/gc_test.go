package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGCPercent_boundsGarbageInBytesToo(t *testing.T) {
	require.Equal(t, 400, gcPercent(0))
	require.Equal(t, 400, gcPercent(10<<20))
	require.Equal(t, 100, gcPercent(256<<20))
	require.Equal(t, 25, gcPercent(64<<30))
	for live := uint64(64 << 20); live < 1<<30; live += 1 << 20 {
		require.LessOrEqual(t, live*uint64(gcPercent(live))/100, uint64(garbageBytes))
	}
}
