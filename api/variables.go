package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// Variable is a variable or secret as clients see it.
type Variable struct {
	Name      string    `json:"name" doc:"Its name in the worker's env" example:"GREETING"`
	Value     *string   `json:"value,omitempty" doc:"The value; never there for secrets" example:"hello"`
	Secret    bool      `json:"secret" doc:"Whether the value is a secret: never returned, masked in logs"`
	UpdatedAt time.Time `json:"updatedAt" doc:"When it was last set"`
}

// VariableList is one page of a project's variables.
type VariableList struct {
	Items      []Variable `json:"items" nullable:"false" doc:"By name"`
	NextCursor string     `json:"nextCursor,omitempty" doc:"Pass it as cursor for the next page; not there on the last"`
}

// VariableValue is one variable in a request.
type VariableValue struct {
	Name   string `json:"name" maxLength:"128" doc:"Letters, digits and _, not starting with a digit" example:"GREETING"`
	Value  string `json:"value" doc:"Text, 5 KiB at most" example:"hello"`
	Secret bool   `json:"secret,omitempty" doc:"Keep the value out of answers and logs for good"`
}

// VariablesRequest is the body of PATCH /projects/{id}/variables.
type VariablesRequest struct {
	Set    []VariableValue `json:"set,omitempty" maxItems:"128" doc:"Variables to write"`
	Remove []string        `json:"remove,omitempty" maxItems:"128" doc:"Names of variables to remove; absent ones are no error" example:"OLD_GREETING"`
	Deploy *bool           `json:"deploy,omitempty" doc:"Put the change live now, as a new release without a build; true when left out. Otherwise it counts from the next deployment on"`
}

// VariablesAnswer is all variables after a change.
type VariablesAnswer struct {
	Items        []Variable `json:"items" nullable:"false" doc:"By name"`
	DeploymentID string     `json:"deploymentId,omitempty" doc:"The deployment that brings the change live; not there when nothing is live yet or deploy was false"`
}

type variablesInput struct {
	NamePaging
	ID string `path:"id" maxLength:"64" doc:"Project id" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
}

type variablesOutput struct{ Body VariableList }

type changeVariablesInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Project id" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Body VariablesRequest
}

type changeVariablesOutput struct{ Body VariablesAnswer }

func (s *Server) registerVariables() {
	register(s, route{
		id: "list-variables", method: http.MethodGet, path: "/projects/{id}/variables", tag: "Variables",
		summary: "Variables and secrets of a project", errors: []models.Code{models.CodeProjectNotFound},
	}, s.variables)
	register(s, route{
		id: "change-variables", method: http.MethodPatch, path: "/projects/{id}/variables", tag: "Variables",
		// Every value at its longest, each byte written as an escape of six.
		maxBody: 6 * models.MaxVariables * models.MaxVariableBytes,
		summary: "Set and remove variables and secrets",
		description: "All or none. The worker finds them in `env`, over those of its own settings file; one with the name of a binding fails the deployment. A release keeps the values it was made with, " +
			"so a rollback brings the old ones back; a change makes a new release of what is live, without a build.",
		errors: []models.Code{models.CodeProjectNotFound, models.CodeQuotaExceeded},
	}, s.changeVariables)
}

func (s *Server) variables(ctx context.Context, in *variablesInput) (*variablesOutput, error) {
	project, err := s.projectOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	items, err := s.variableViews(ctx, project.ID)
	if err != nil {
		return nil, err
	}
	items, next, err := pageByName(items, in.NamePaging, func(v Variable) string { return v.Name })
	return &variablesOutput{VariableList{Items: items, NextCursor: next}}, err
}

func (s *Server) changeVariables(ctx context.Context, in *changeVariablesInput) (*changeVariablesOutput, error) {
	project, err := s.projectOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	set, err := variablesOf(in.Body)
	if err != nil {
		return nil, err
	}
	deploy := project.LiveReleaseID != "" && (in.Body.Deploy == nil || *in.Body.Deploy)
	if deploy {
		if err := s.opts.Store.CheckQuota(ctx, project.OrganizationID); err != nil {
			return nil, err
		}
	}
	if err := s.opts.Variables.Set(ctx, project.ID, set, in.Body.Remove); err != nil {
		return nil, err
	}
	var answer VariablesAnswer
	if deploy {
		if answer.DeploymentID, err = s.deployRelease(ctx, project); err != nil {
			return nil, err
		}
	}
	noteTarget(ctx, "deploymentId", answer.DeploymentID)
	answer.Items, err = s.variableViews(ctx, project.ID)
	return &changeVariablesOutput{answer}, err
}

// variablesOf checks the whole request before anything of it is done.
func variablesOf(r VariablesRequest) (models.Environment, error) {
	if len(r.Set) == 0 && len(r.Remove) == 0 {
		return nil, models.Errorf(models.CodeValidation, "There is nothing to change: give set, remove or both.")
	}
	set := make(models.Environment, len(r.Set))
	for i, v := range r.Set {
		err := models.ValidateVariable(v.Name, v.Value)
		if _, twice := set[v.Name]; err == nil && (twice || slices.Contains(r.Remove, v.Name)) {
			err = models.Errorf(models.CodeValidation, "The variable %s is in the request twice.", v.Name)
		}
		if err != nil {
			return nil, invalid([]FieldError{{Field: fmt.Sprintf("set[%d]", i), In: "body", Message: models.MessageOf(err)}})
		}
		set[v.Name] = models.EnvironmentValue{Value: v.Value, Secret: v.Secret}
	}
	return set, nil
}

// deployRelease queues a new release of what is live, with the variables of now.
func (s *Server) deployRelease(ctx context.Context, project models.Project) (string, error) {
	identity := identityOf(ctx)
	row, _, err := s.opts.Store.CreateDeployment(ctx, models.NewDeployment{
		Input: models.DeploymentInput{
			DeploymentID: models.NewID(models.PrefixDeployment), ProjectID: project.ID, OrgID: identity.OrganizationID, UserID: identity.UserID,
			FromReleaseID: project.LiveReleaseID,
			ActiveTimeout: s.opts.ActiveTimeout, ParkTimeout: s.opts.ParkTimeout, BuildQueue: s.opts.BuildQueue,
		},
		Priority: defaultPriority,
	})
	if err != nil {
		return "", err
	}
	s.start(ctx, row)
	return row.ID, nil
}

func (s *Server) variableViews(ctx context.Context, projectID string) ([]Variable, error) {
	rows, err := s.opts.Store.Variables(ctx, projectID)
	if err != nil {
		return nil, err
	}
	environment, err := s.opts.Variables.Open(projectID, rows)
	if err != nil {
		return nil, err
	}
	items := make([]Variable, 0, len(rows))
	for _, row := range rows {
		v := Variable{Name: row.Name, Secret: row.Secret, UpdatedAt: stamp(row.UpdatedAt)}
		if !row.Secret {
			value := environment[row.Name].Value
			v.Value = &value
		}
		items = append(items, v)
	}
	return items, nil
}
