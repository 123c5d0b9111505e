package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/slipwayhq/slipway/models"
)

func TestRegisterAttributes_addsWhatANamespaceLacksOnce(t *testing.T) {
	t.Parallel()
	c := dial(t)
	namespace := "bare-" + models.NewID("ns")[3:9]
	_, err := c.WorkflowService().RegisterNamespace(t.Context(), &workflowservice.RegisterNamespaceRequest{
		Namespace: namespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour)})
	require.NoError(t, err)
	// A new namespace is known everywhere a moment after it was made.
	require.Eventually(t, func() bool {
		missing, err := missingAttributes(t.Context(), c, namespace)
		return err == nil && len(missing) == 4
	}, patience, 100*time.Millisecond)
	for range 2 {
		require.NoError(t, RegisterAttributes(t.Context(), c, namespace))
	}
	missing, err := missingAttributes(t.Context(), c, namespace)
	require.NoError(t, err)
	require.Empty(t, missing)
}
