package workflows

import (
	"go.temporal.io/sdk/temporal"

	"github.com/slipwayhq/slipway/models"
)

// The search attributes of a deployment, all of type Keyword.
var (
	// AttributeStatus is queued or in_progress, then the outcome: so that
	// DeploymentStatus = 'dead_letter' lists what waits for an operator.
	AttributeStatus = temporal.NewSearchAttributeKeyKeyword(models.AttributeStatus)
	// AttributeOrganization and AttributeProject are set at the start.
	AttributeOrganization = temporal.NewSearchAttributeKeyKeyword(models.AttributeOrganization)
	AttributeProject      = temporal.NewSearchAttributeKeyKeyword(models.AttributeProject)
	// AttributeStep is the step that runs, or at which it stopped.
	AttributeStep = temporal.NewSearchAttributeKeyKeyword(models.AttributeStep)
)

// attributeStatus is the value of AttributeStatus that goes with a status.
func attributeStatus(s models.Status) string {
	if s.Outcome != models.OutcomeNone {
		return string(s.Outcome)
	}
	return string(s.Status)
}

// attributeUpdates are the updates from old values to new ones.
func attributeUpdates(status, oldStatus string, step, oldStep models.Step) []temporal.SearchAttributeUpdate {
	var updates []temporal.SearchAttributeUpdate
	if status != oldStatus {
		updates = append(updates, AttributeStatus.ValueSet(status))
	}
	if step != oldStep {
		updates = append(updates, AttributeStep.ValueSet(string(step)))
	}
	return updates
}
