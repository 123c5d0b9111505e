package models

import "context"

// EarlierDeployment finds the deployment an idempotency key was used for; found
// is false when it was not. With another body it is CodeIdempotency. It lets a
// repeated request be answered before checks that may have changed their
// answer since; CreateDeployment decides.
func (s *Store) EarlierDeployment(ctx context.Context, organizationID, key, bodyHash string) (row Deployment, found bool, err error) {
	row, err = earlier(s.with(ctx), NewDeployment{
		Input: DeploymentInput{OrgID: organizationID}, IdempotencyKey: key, BodyHash: bodyHash,
	})
	return row, row.ID != "", dbError(err)
}
