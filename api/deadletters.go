package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/models"
)

// DeadLettersRequest says which parked deployments an action is for.
type DeadLettersRequest struct {
	ProjectID string      `json:"projectId,omitempty" maxLength:"64" doc:"Only this project's" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	ErrorCode models.Code `json:"errorCode,omitempty" maxLength:"64" doc:"Only those that failed with this code" example:"STORAGE_UNAVAILABLE"`
	Step      models.Step `json:"step,omitempty" enum:"validate,sync,sandbox,build,deploy,cleanup" doc:"Only those that failed at this step" example:"deploy"`
	Before    *time.Time  `json:"before,omitempty" doc:"Only those that were parked before this time, in RFC 3339" example:"2025-07-22T10:30:00Z"`
	Limit     int         `json:"limit,omitempty" minimum:"1" maximum:"100" default:"100" doc:"How many at most; those that wait longest first"`
	Reason    string      `json:"reason,omitempty" maxLength:"500" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"one line of text" doc:"Shown in the deployments' step lines" example:"The storage is back"`
}

// DeadLetterResult is what an action on one of them came to.
type DeadLetterResult struct {
	DeploymentID string           `json:"deploymentId" doc:"Deployment id" example:"dep_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	OK           bool             `json:"ok" doc:"Whether the action was taken"`
	Error        *DeadLetterError `json:"error,omitempty" doc:"Why it was not"`
}

// DeadLetterError is why an action was not taken on a deployment.
type DeadLetterError struct {
	Code    models.Code `json:"code" doc:"What kind of error this is" example:"DEPLOYMENT_NOT_PARKED"`
	Message string      `json:"message" doc:"What is wrong" example:"Only a parked deployment can be retried or abandoned."`
}

// DeadLettersAnswer says what came of each.
type DeadLettersAnswer struct {
	Items  []DeadLetterResult `json:"items" nullable:"false" doc:"One for each deployment that the request was for"`
	Failed int                `json:"failed" doc:"How many of them were not acted on"`
	More   bool               `json:"more" doc:"True when there are others that match, beyond the limit"`
}

type deadLettersInput struct{ Body DeadLettersRequest }

type deadLettersOutput struct{ Body DeadLettersAnswer }

// bulkConcurrency bounds the actions at once: the 100 there may be are over in
// time even when no worker answers.
const bulkConcurrency = 16

func (s *Server) registerDeadLetters(actions []action) {
	for _, a := range actions {
		if a.bulk == "" {
			continue
		}
		register(s, route{
			id: a.name + "-dead-letters", method: http.MethodPost, path: "/dead-letters/" + a.name, tag: "Deployments",
			summary: a.bulk,
			description: "Those that match the body, `{}` for all, at most 100 at once; each on its own, as by `POST /deployments/{id}/" + a.name + "`. " +
				"The answer says what came of each; one that fails keeps no other from going on.",
			maxBody: 16 << 10, errors: []models.Code{models.CodeProjectNotFound},
		}, func(ctx context.Context, in *deadLettersInput) (*deadLettersOutput, error) {
			return s.actOnAll(ctx, a, in.Body)
		})
	}
}

func (s *Server) actOnAll(ctx context.Context, a action, r DeadLettersRequest) (*deadLettersOutput, error) {
	identity := identityOf(ctx)
	if r.ProjectID != "" {
		if _, err := s.projectOf(ctx, r.ProjectID); err != nil {
			return nil, err
		}
	}
	filter := models.DeadLetterFilter{
		OrganizationID: identity.OrganizationID, ProjectID: r.ProjectID, ErrorCode: r.ErrorCode, Step: r.Step, Limit: r.Limit + 1,
	}
	if identity.ProjectID != "" {
		filter.ProjectID = identity.ProjectID
	}
	if r.Before != nil {
		filter.Before = *r.Before
	}
	rows, err := s.opts.Store.DeadLetters(ctx, filter)
	if err != nil {
		return nil, err
	}
	answer := DeadLettersAnswer{More: len(rows) > r.Limit}
	rows = rows[:min(len(rows), r.Limit)]
	answer.Items = make([]DeadLetterResult, len(rows))
	var failed sync.Mutex
	var group errgroup.Group
	group.SetLimit(bulkConcurrency)
	for i, row := range rows {
		group.Go(func() error {
			result := DeadLetterResult{DeploymentID: row.ID, OK: true}
			if err := s.actOn(ctx, a, row, r.Reason); err != nil {
				e := envelopeOf(err)
				s.logOf(ctx).WithError(err).WithField("deployment", row.ID).Warn(a.name + " of a dead letter not taken")
				result.OK, result.Error = false, &DeadLetterError{Code: e.Code, Message: e.Message}
				failed.Lock()
				answer.Failed++
				failed.Unlock()
			}
			answer.Items[i] = result
			return nil
		})
	}
	_ = group.Wait()
	for _, item := range answer.Items {
		if item.OK {
			noteTarget(ctx, item.DeploymentID, a.name)
		}
	}
	return &deadLettersOutput{answer}, nil
}
