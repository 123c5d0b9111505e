package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/slipwayhq/slipway/models"
)

// ActionRequest is the body of retry, abandon and cancel; all of it is optional.
type ActionRequest struct {
	Reason string `json:"reason,omitempty" maxLength:"500" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"one line of text" doc:"Shown in the deployment's step lines" example:"The disk is mended."`
}

// ActionAnswer says that an action was taken.
type ActionAnswer struct {
	Success      bool      `json:"success" doc:"Always true"`
	DeploymentID string    `json:"deploymentId" doc:"Deployment id"`
	Message      string    `json:"message" doc:"What happens now" example:"The deployment goes on."`
	Timestamp    time.Time `json:"timestamp" doc:"When it was accepted"`
}

type actionInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Deployment id" example:"dep_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Body *ActionRequest
}

type actionOutput struct{ Body ActionAnswer }

// action is an operator's action on a deployment.
type action struct {
	name, summary, description, done string
	// refused is the code when the deployment is in no state for it.
	refused models.Code
	// ended is the message when the deployment has ended.
	ended string
	// bulk is the summary of the action on all that match; "" when there is none.
	bulk string
}

func (s *Server) registerActions() {
	actions := []action{
		{
			name: models.SignalRetry, summary: "Retry a parked deployment at the step that failed",
			description: "The steps before it are not run again.",
			done:        "Deployment resumes at the step that failed",
			refused:     models.CodeNotParked, ended: "The deployment has ended; only a parked one can be retried. Deploy again instead.",
			bulk: "Retry parked deployments",
		},
		{
			name: models.SignalAbandon, summary: "Give a parked deployment up",
			description: "Its quota reservation is given back.",
			done:        "Deployment abandoned",
			refused:     models.CodeNotParked, ended: "The deployment has ended; only a parked one can be abandoned.",
			bulk: "Give parked deployments up",
		},
		{
			name: models.SignalCancel, summary: "Cancel a deployment",
			description: "What it holds is given back. A release that is live stays live.",
			done:        "Deployment is being canceled",
			refused:     models.CodeNotRunning, ended: "The deployment has ended; there is nothing to cancel.",
		},
	}
	for _, a := range actions {
		register(s, route{
			id: a.name + "-deployment", method: http.MethodPost, path: "/deployments/{id}/" + a.name, tag: "Deployments",
			summary: a.summary, description: a.description, maxBody: 16 << 10,
			errors: []models.Code{models.CodeDeploymentNotFound, a.refused, models.CodeQueue},
		}, func(ctx context.Context, in *actionInput) (*actionOutput, error) { return s.act(ctx, a, in) })
	}
	s.registerDeadLetters(actions)
}

// act sends a validated Update, which shares its handler with the bare signal
// of the same name: unlike the signal it can be refused.
func (s *Server) act(ctx context.Context, a action, in *actionInput) (*actionOutput, error) {
	row, err := s.rowOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	reason := ""
	if in.Body != nil {
		reason = in.Body.Reason
	}
	if err := s.actOn(ctx, a, row, reason); err != nil {
		return nil, err
	}
	return &actionOutput{ActionAnswer{Success: true, DeploymentID: row.ID, Message: a.done, Timestamp: now()}}, nil
}

// actOn takes an action on a deployment of the caller's.
func (s *Server) actOn(ctx context.Context, a action, row models.Deployment, reason string) error {
	if row.FinishedAt != nil {
		return models.Errorf(a.refused, "%s", a.ended)
	}
	if err := s.update(ctx, row.ID, a.name, models.OperatorAction{By: identityOf(ctx).UserID, Reason: reason}); err != nil {
		return actionError(err, a, row)
	}
	return nil
}

func (s *Server) update(ctx context.Context, id, name string, argument models.OperatorAction) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Limits.ActionTimeout)
	defer cancel()
	handle, err := s.opts.Temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: name, Args: []any{argument}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err != nil {
		return err
	}
	return handle.Get(ctx, nil)
}

// actionError tells a refusal from a workflow that is gone or does not answer.
func actionError(err error, a action, row models.Deployment) error {
	var refused *temporal.ApplicationError
	if errors.As(err, &refused) {
		code := models.Code(refused.Type())
		if code != models.CodeNotParked && code != models.CodeNotRunning {
			return models.Wrap(models.CodeInternal, err, models.MessageOf(nil))
		}
		return models.Wrap(code, err, refused.Message())
	}
	var notFound *serviceerror.NotFound
	if errors.As(err, &notFound) && row.WorkflowRunID != "" {
		return models.Wrap(a.refused, err, a.ended)
	}
	return models.Wrap(models.CodeQueue, err, "No worker took the request in time. It may still take effect; look at the deployment's status before sending it again.")
}
