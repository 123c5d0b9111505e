package activities

import (
	"context"

	"github.com/slipwayhq/slipway/models"
)

// Validate checks again what the gateway checked when it took the request, and
// reserves what the deployment will use. Running it twice is harmless: the
// checks only read, the quota reservation is keyed by the deployment, and a
// domain that is the project's own may be claimed again.
func (a *Activities) Validate(ctx context.Context, in models.StepInput) (models.ValidateResult, error) {
	d := in.Deployment
	a.measureQueued(ctx, d.DeploymentID)
	if d.ProjectID == "" || d.OrgID == "" || d.UserID == "" {
		return models.ValidateResult{}, models.Errorf(models.CodeValidation, "Missing required parameters: projectId, orgId and userId are needed.")
	}
	project, err := a.Store.Project(ctx, d.OrgID, d.ProjectID)
	if err != nil {
		return models.ValidateResult{}, err
	}
	if err := a.Store.CheckMember(ctx, d.OrgID, d.UserID); err != nil {
		return models.ValidateResult{}, err
	}
	if d.CustomDomain != "" {
		if _, err := a.Store.AddDomain(ctx, project, d.CustomDomain); err != nil {
			return models.ValidateResult{}, err
		}
	}
	// Last, so that nothing above leaves a reservation behind when it refuses.
	if err := a.Store.ReserveQuota(ctx, d.OrgID, d.DeploymentID); err != nil {
		return models.ValidateResult{}, err
	}
	return models.ValidateResult{WorkerName: project.WorkerName}, nil
}
