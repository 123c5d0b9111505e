package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.temporal.io/api/serviceerror"

	"github.com/slipwayhq/slipway/models"
)

type statusInput struct {
	ID string `query:"id" required:"true" maxLength:"64" doc:"Deployment id" example:"dep_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
}

type statusOutput struct{ Body models.Status }

func (s *Server) registerStatus() {
	register(s, route{
		id: "deploy-status", method: http.MethodGet, path: "/deploy-status", tag: "Deployments",
		summary: "How a deployment is getting on",
		description: "Needs no token: whoever knows the id, which cannot be guessed, may ask. It shows step lines only; the build log needs a token.\n\n" +
			"The workflow itself is asked. When no worker answers within a second, the last recorded status is given with `stale: true`. " +
			"An answer may be half a second old.",
		errors: []models.Code{models.CodeDeploymentNotFound, models.CodeDatabase},
	}, s.deployStatus)
}

func (s *Server) deployStatus(ctx context.Context, in *statusInput) (*statusOutput, error) {
	if err := checkDeploymentID(in.ID); err != nil {
		return nil, err
	}
	if status, ok := s.statuses.get(in.ID); ok {
		return &statusOutput{status}, nil
	}
	row, err := s.opts.Store.Deployment(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	status, err := s.currentStatus(ctx, row)
	if err != nil {
		return nil, err
	}
	s.statuses.put(in.ID, status)
	return &statusOutput{status}, nil
}

// checkDeploymentID answers an id that cannot exist like one that does not,
// without asking the database.
func checkDeploymentID(id string) error {
	if !models.ValidID(models.PrefixDeployment, id) {
		return models.Errorf(models.CodeDeploymentNotFound, "There is no deployment %q.", shorten(id))
	}
	return nil
}

// currentStatus asks the workflow, unless the row is final, and falls back to
// the row.
func (s *Server) currentStatus(ctx context.Context, row models.Deployment) (models.Status, error) {
	recorded, err := recordedStatus(row)
	if err != nil || row.FinishedAt != nil {
		return recorded, err
	}
	live, err := s.queryStatus(ctx, row.ID)
	if err == nil {
		return stampStatus(live), nil
	}
	var notFound *serviceerror.NotFound
	if errors.As(err, &notFound) && row.WorkflowRunID == "" {
		// Not started yet: the row is all there is to know.
		return recorded, nil
	}
	s.logOf(ctx).WithError(err).WithField("deployment", row.ID).Debug("status query not answered")
	recorded.Stale = true
	return recorded, nil
}

// recordedStatus is the status on the row.
func recordedStatus(row models.Deployment) (models.Status, error) {
	status, err := row.RecordedStatus()
	return stampStatus(status), err
}

// stampStatus gives a status its times as answers show them. The one given may be
// shared, so it stays as it is.
func stampStatus(status models.Status) models.Status {
	status.Timestamp = stamp(status.Timestamp)
	for _, step := range []*models.StepStatus{
		&status.Steps.Validate, &status.Steps.Sync, &status.Steps.Sandbox, &status.Steps.Build, &status.Steps.Deploy, &status.Steps.Cleanup,
	} {
		step.Timestamp, step.StartedAt = stampOf(step.Timestamp), stampOf(step.StartedAt)
	}
	return status
}

// queryStatus asks the workflow once for all who want to know at the same time.
func (s *Server) queryStatus(ctx context.Context, id string) (models.Status, error) {
	// The query is shared, so it must not end with the first caller's request.
	shared := context.WithoutCancel(ctx)
	answer := s.flights.DoChan("status "+id, func() (any, error) {
		query, cancel := context.WithTimeout(shared, s.opts.Limits.QueryTimeout)
		defer cancel()
		var status models.Status
		value, err := s.opts.Temporal.QueryWorkflow(query, id, "", models.QueryStatus)
		if err == nil {
			err = value.Get(&status)
		}
		return status, err
	})
	// The client may hold on to a connection attempt past its deadline.
	waiting, cancel := context.WithTimeout(ctx, s.opts.Limits.QueryTimeout+100*time.Millisecond)
	defer cancel()
	select {
	case result := <-answer:
		if result.Err != nil {
			return models.Status{}, result.Err
		}
		return result.Val.(models.Status), nil
	case <-waiting.Done():
		return models.Status{}, waiting.Err()
	}
}
