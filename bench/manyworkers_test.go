package main

import (
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPercentile_isAValueThatOccurred(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	require.InDelta(t, 99, percentile(hundred, 0.99), 0)
	require.InDelta(t, 50, percentile(hundred, 0.5), 0)
	require.InDelta(t, 3, percentile([]float64{1, 3, 2}, 0.99), 0)
	require.True(t, math.IsNaN(percentile(nil, 0.99)))
}

func TestPrivateMemory_isPartOfWhatIsResident(t *testing.T) {
	private, err := privateMemory(os.Getpid())
	require.NoError(t, err)
	require.Positive(t, private)
	_, err = memoryField(os.Getpid(), "status", "NoSuchField:")
	require.ErrorContains(t, err, "NoSuchField:")
}

func TestWorkerdProcesses_areThoseOfTheFamily(t *testing.T) {
	pids, err := workerdProcesses(os.Getpid())
	require.NoError(t, err)
	require.Empty(t, pids)
}
