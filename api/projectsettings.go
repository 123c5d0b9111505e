package api

import (
	"context"
	"errors"
	"net/http"

	"go.temporal.io/api/serviceerror"
	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/models"
)

// ProjectChange is the body of PATCH /projects/{id}; what is left out stays.
type ProjectChange struct {
	Name       *string `json:"name,omitempty" minLength:"1" maxLength:"1600" doc:"Its name, for people: one line of at most 100 characters" example:"My shop"`
	WorkerName *string `json:"workerName,omitempty" minLength:"1" maxLength:"63" doc:"The label it answers under, at most 40 letters, digits and single hyphens" example:"my-shop"`
}

type changeProjectInput struct {
	ID string `path:"id" maxLength:"64" doc:"Project id" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	IfMatch
	Body ProjectChange
}

type changeProjectOutput struct {
	ETag string `header:"ETag" doc:"Names this state of the project; send it as If-Match with the next change"`
	Body Project
}

type deleteProjectInput struct {
	ID      string `path:"id" maxLength:"64" doc:"Project id" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Confirm string `query:"confirm" required:"true" maxLength:"63" doc:"The project's worker name, to show that this is the one you mean" example:"my-shop"`
	IfMatch
}

func (s *Server) registerProjectSettings() {
	register(s, route{
		id: "change-project", method: http.MethodPatch, path: "/projects/{id}", tag: "Projects", maxBody: 16 << 10,
		summary: "Change a project's settings",
		description: "What is left out stays as it is. With a new worker name the project answers there at once and no longer under the old one, nor under previews of it; " +
			"its own domains go on. The old name stays reserved for your organization for 30 days, unless you give up a hundred others after it. How a project is built stands in its source.",
		errors: []models.Code{models.CodeProjectNotFound, models.CodeNameTaken, models.CodePreconditionFailed},
	}, s.changeProject)
	register(s, route{
		id: "delete-project", method: http.MethodDelete, path: "/projects/{id}", tag: "Projects", status: http.StatusNoContent,
		summary: "Delete a project with everything it owns",
		description: "It stops answering at once, also on its own domains. Deployments and rollouts under way are canceled. Gone are releases, variables, domains and their certificates, " +
			"logs, the key-value namespaces that are the project's own, and the tokens limited to it. There is no way back. The worker name stays reserved for your organization for 30 days.",
		errors: []models.Code{models.CodeProjectNotFound, models.CodePreconditionFailed, models.CodeQueue},
	}, s.deleteProject)
}

func (s *Server) changeProject(ctx context.Context, in *changeProjectInput) (*changeProjectOutput, error) {
	project, err := s.projectOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	versions, err := in.versions()
	if err != nil {
		return nil, err
	}
	change, err := s.projectChange(in.Body, project)
	if err != nil {
		return nil, err
	}
	row, err := s.opts.Store.ChangeProject(ctx, project.OrganizationID, project.ID, change, versions)
	if err != nil {
		return nil, err
	}
	if row.WorkerName != project.WorkerName {
		log := s.logOf(ctx).WithField("project", project.ID).WithField("user", identityOf(ctx).UserID)
		log.WithField("from", project.WorkerName).WithField("to", row.WorkerName).Info("project renamed")
		await, cancel := context.WithTimeout(ctx, rollbackAwait)
		defer cancel()
		if err := s.opts.Store.AwaitRoutes(await, project.ID); err != nil {
			log.WithError(err).Warn("renamed, but not every dispatcher has taken note of it yet")
		}
	}
	return &changeProjectOutput{ETag: entityTag(row.Version), Body: s.projectView(row)}, nil
}

// projectChange checks all of a change before anything of it is done. The name a
// project has is not taken anew: older names may be longer than new ones.
func (s *Server) projectChange(body ProjectChange, project models.Project) (models.ProjectChange, error) {
	change := models.ProjectChange{WorkerName: body.WorkerName}
	var wrong []FieldError
	if body.Name != nil {
		name, err := models.CleanDisplayName(*body.Name)
		if err != nil {
			wrong = append(wrong, FieldError{Field: "name", In: "body", Message: models.MessageOf(err)})
		}
		change.Name = &name
	}
	if body.WorkerName != nil && models.FoldWorkerName(*body.WorkerName) != project.WorkerName {
		if err := models.ValidateNewWorkerName(*body.WorkerName, s.opts.Reserved); err != nil {
			wrong = append(wrong, FieldError{Field: "workerName", In: "body", Message: models.MessageOf(err)})
		}
	}
	return change, invalid(wrong)
}

func (s *Server) deleteProject(ctx context.Context, in *deleteProjectInput) (*emptyOutput, error) {
	project, err := s.projectOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	versions, err := in.versions()
	if err != nil {
		return nil, err
	}
	if models.FoldWorkerName(in.Confirm) != project.WorkerName {
		return nil, invalid([]FieldError{{Field: "confirm", In: "query", Message: "must be the project's worker name, " + project.WorkerName}})
	}
	work, err := s.opts.Store.UnfinishedOf(ctx, project.ID)
	if err != nil {
		return nil, err
	}
	// Told first, so that nothing goes on holding a build slot for a project that
	// is gone. When they cannot be told, nothing is deleted.
	if err := s.stopWork(ctx, work); err != nil {
		return nil, err
	}
	late, err := s.opts.Store.DeleteProject(ctx, project.OrganizationID, project.ID, versions)
	if err != nil {
		return nil, err
	}
	log := s.logOf(ctx).WithField("project", project.ID).WithField("user", identityOf(ctx).UserID)
	log.WithField("worker", project.WorkerName).Info("project deleted")
	// What began meanwhile. If it is not heard of, its next step finds no project.
	if err := s.stopWork(ctx, late); err != nil {
		log.WithError(err).Warn("what was under way was not told that its project is gone; it ends when it notices")
	}
	s.lookAtRemoved(ctx, late.Domains)
	return &emptyOutput{}, nil
}

// stopConcurrency bounds the workflows told at once.
const stopConcurrency = 16

// stopWork cancels workflows; one that has ended, or has not begun, is as
// canceled. CodeQueue when Temporal does not answer.
func (s *Server) stopWork(ctx context.Context, work models.UnfinishedWork) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(stopConcurrency)
	for _, id := range append(work.Deployments, work.Rollouts...) {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, s.opts.Limits.ActionTimeout)
			defer cancel()
			err := s.opts.Temporal.CancelWorkflow(ctx, id, "")
			var gone *serviceerror.NotFound
			if err == nil || errors.As(err, &gone) {
				return nil
			}
			return models.Wrap(models.CodeQueue, err, "What is under way could not be told to stop. Try again in a moment.")
		})
	}
	return group.Wait()
}

// lookAtRemoved has the workflows of domains that are gone notice it now rather
// than at their next look, hours away.
func (s *Server) lookAtRemoved(ctx context.Context, domains []models.Domain) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Limits.StartTimeout)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(stopConcurrency)
	for _, d := range domains {
		if d.WorkflowRunID == "" {
			continue
		}
		group.Go(func() error {
			_, err := s.opts.CheckDomain(ctx, d)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		s.logOf(ctx).WithError(err).Warn("verifications of removed domains go on until their next look")
	}
}
