package workflows

import (
	"context"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/slipwayhq/slipway/models"
)

// registerWait bounds the wait until new search attributes can be used.
const registerWait = 30 * time.Second

// RegisterAttributes adds the search attributes of deployments to a namespace
// that lacks them, and returns once they can be used. It may be repeated.
// CodeQueue when Temporal does not answer or does not let this client do it.
func RegisterAttributes(ctx context.Context, c client.Client, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, registerWait)
	defer cancel()
	missing, err := missingAttributes(ctx, c, namespace)
	if err != nil || len(missing) == 0 {
		return err
	}
	_, err = c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: missing})
	if err != nil {
		return models.Wrap(models.CodeQueue, err, "The search attributes could not be registered. Register them with the cluster's own tool; docs/operations.md names them.")
	}
	for {
		missing, err := missingAttributes(ctx, c, namespace)
		if err != nil || len(missing) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return models.Wrap(models.CodeQueue, ctx.Err(), "The search attributes are registered but cannot be used yet. Run this again in a moment.")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func missingAttributes(ctx context.Context, c client.Client, namespace string) (map[string]enumspb.IndexedValueType, error) {
	known, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return nil, models.Wrap(models.CodeQueue, err, "Temporal did not answer; check TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE.")
	}
	missing := map[string]enumspb.IndexedValueType{}
	for _, name := range []string{models.AttributeStatus, models.AttributeOrganization, models.AttributeProject, models.AttributeStep} {
		if _, ok := known.GetCustomAttributes()[name]; !ok {
			missing[name] = enumspb.INDEXED_VALUE_TYPE_KEYWORD
		}
	}
	return missing, nil
}
