package activities

import (
	"context"

	"github.com/slipwayhq/slipway/models"
)

// Validate checks again what the gateway checked when it took the request, and
// reserves what the deployment will use. Running it twice is harmless: the
// checks only read, and the quota reservation is keyed by the deployment.
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
	if err := a.checkClaim(ctx, d); err != nil {
		return models.ValidateResult{}, err
	}
	// Last, so that nothing above leaves a reservation behind when it refuses.
	if err := a.Store.ReserveQuota(ctx, d.OrgID, d.DeploymentID); err != nil {
		return models.ValidateResult{}, err
	}
	return models.ValidateResult{WorkerName: project.WorkerName}, nil
}

// checkClaim says whether the custom domain that was claimed with the deployment
// can still become the project's: CodeDomainUnavailable when another one proved
// meanwhile that it is theirs. A claim that is gone was removed by somebody, and is
// not made again.
func (a *Activities) checkClaim(ctx context.Context, d models.DeploymentInput) error {
	if d.CustomDomain == "" {
		return nil
	}
	_, err := a.Store.DomainOf(ctx, d.ProjectID, d.CustomDomain)
	if models.CodeOf(err) == models.CodeDomainNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	return a.Store.CheckDomain(ctx, d.ProjectID, d.CustomDomain)
}
