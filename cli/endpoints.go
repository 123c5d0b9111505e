package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// Project is a project as the API shows it.
type Project struct {
	ID            string    `json:"id"`
	OrgID         string    `json:"orgId"`
	Name          string    `json:"name"`
	WorkerName    string    `json:"workerName"`
	URL           string    `json:"url"`
	LiveReleaseID string    `json:"liveReleaseId"`
	CreatedAt     time.Time `json:"createdAt"`
}

// Deployment is a row of the history as the API shows it.
type Deployment struct {
	ID          string                  `json:"id"`
	ProjectID   string                  `json:"projectId"`
	Status      models.DeploymentStatus `json:"status"`
	Outcome     models.Outcome          `json:"outcome"`
	CurrentStep models.Step             `json:"currentStep"`
	Progress    int                     `json:"progress"`
	Error       string                  `json:"error"`
	ErrorCode   models.Code             `json:"errorCode"`
	ReleaseID   string                  `json:"releaseId"`
	CreatedAt   time.Time               `json:"createdAt"`
	UpdatedAt   time.Time               `json:"updatedAt"`
	FinishedAt  *time.Time              `json:"finishedAt"`
}

// Release is a release as the API shows it.
type Release struct {
	ID           string    `json:"id"`
	DeploymentID string    `json:"deploymentId"`
	Framework    string    `json:"framework"`
	Files        int       `json:"files"`
	Bytes        int64     `json:"bytes"`
	Live         bool      `json:"live"`
	CreatedAt    time.Time `json:"createdAt"`
}

// Page is one page of a list; NextCursor is empty on the last.
type Page[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"nextCursor,omitempty"`
}

// DeployRequest is the body of POST /deploy with files sent by digest.
type DeployRequest struct {
	ProjectID    string `json:"projectId"`
	OrgID        string `json:"orgId"`
	UserID       string `json:"userId"`
	CustomDomain string `json:"customDomain,omitempty"`
	// Priority is 1 (first) to 5; 0 leaves it to the API.
	Priority int `json:"priority,omitempty"`
	// Preview makes the release without bringing it live.
	Preview bool `json:"preview,omitempty"`
	// Commit is the commit the files are of, for events and commit statuses.
	Commit string `json:"commit,omitempty"`
	// Files are the whole source; the API has their bytes already.
	Files []FileReference `json:"files"`
}

// FileReference is a file by its digest.
type FileReference struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	// Mode is 0644 or 0755, in decimal in JSON.
	Mode uint32 `json:"mode"`
}

// DeployAnswer is the answer of POST /deploy.
type DeployAnswer struct {
	Success      bool      `json:"success"`
	DeploymentID string    `json:"deploymentId"`
	Status       string    `json:"status"`
	Message      string    `json:"message"`
	Timestamp    time.Time `json:"timestamp"`
}

// CreateProject takes a worker name. CodeNameTaken when it belongs to somebody already.
func (c *Client) CreateProject(ctx context.Context, name, workerName string) (Project, error) {
	var project Project
	body := map[string]string{"name": name, "workerName": workerName}
	return project, c.do(ctx, call{method: http.MethodPost, path: "/projects", body: body}, &project)
}

// Project gets a project by id. CodeProjectNotFound when the caller has none like it.
func (c *Client) Project(ctx context.Context, id string) (Project, error) {
	var project Project
	return project, c.get(ctx, "/projects/"+url.PathEscape(id), nil, &project)
}

// ProjectByWorker finds the caller's project with that worker name; CodeProjectNotFound when there is none.
func (c *Client) ProjectByWorker(ctx context.Context, worker string) (Project, error) {
	worker = models.FoldWorkerName(worker)
	cursor := ""
	for {
		page, err := list[Project](ctx, c, "/projects", nil, 100, cursor)
		if err != nil {
			return Project{}, err
		}
		for _, project := range page.Items {
			if project.WorkerName == worker {
				return project, nil
			}
		}
		if page.NextCursor == "" {
			return Project{}, &APIError{Status: http.StatusNotFound, Code: models.CodeProjectNotFound,
				Message: "Your organization has no project named " + worker + "."}
		}
		cursor = page.NextCursor
	}
}

// MissingBlobs gives those of the digests whose bytes the API does not have.
func (c *Client) MissingBlobs(ctx context.Context, digests []string) ([]string, error) {
	var answer struct {
		Missing []string `json:"missing"`
	}
	body := map[string][]string{"sha256": digests}
	err := c.do(ctx, call{method: http.MethodPost, path: "/blobs/missing", body: body, repeatable: true}, &answer)
	return answer.Missing, err
}

// PutBlob sends the bytes that have that digest. CodeDigestMismatch when they have another.
func (c *Client) PutBlob(ctx context.Context, digest string, content []byte) error {
	return c.do(ctx, call{method: http.MethodPut, path: "/blobs/" + digest, body: content, repeatable: true}, nil)
}

// Deploy starts a deployment. The key makes it safe to send again: the same key
// and body give the same deployment.
func (c *Client) Deploy(ctx context.Context, request DeployRequest, idempotencyKey string) (DeployAnswer, error) {
	var answer DeployAnswer
	return answer, c.do(ctx, call{
		method: http.MethodPost, path: "/deploy", body: request, repeatable: true,
		header: map[string]string{"Idempotency-Key": idempotencyKey},
	}, &answer)
}

// Status is the state of a deployment; raw is the same as the API wrote it.
func (c *Client) Status(ctx context.Context, id string) (status models.Status, raw json.RawMessage, err error) {
	if err := c.get(ctx, "/deploy-status", url.Values{"id": {id}}, &raw); err != nil {
		return status, nil, err
	}
	return status, raw, json.Unmarshal(raw, &status)
}

// Actions an operator takes on a deployment.
const (
	// ActionRetry lets a parked deployment go on at the step where it stopped.
	// CodeNotParked when it is not parked.
	ActionRetry = "retry"
	// ActionAbandon gives a parked deployment up. CodeNotParked when it is not parked.
	ActionAbandon = "abandon"
	// ActionCancel stops a deployment. CodeNotRunning when it has ended.
	ActionCancel = "cancel"
)

// Act takes an action on a deployment and gives the API's answer as it wrote it.
func (c *Client) Act(ctx context.Context, id, action string) (answer json.RawMessage, err error) {
	return answer, c.do(ctx, call{
		method: http.MethodPost, path: "/deployments/" + url.PathEscape(id) + "/" + action, body: struct{}{},
	}, &answer)
}

// RollbackAnswer says what a rollback put live.
type RollbackAnswer struct {
	ReleaseID         string `json:"releaseId"`
	PreviousReleaseID string `json:"previousReleaseId"`
	URL               string `json:"url"`
}

// Rollback puts a release live again; an empty id means the one before the live
// one. CodeReleaseNotFound when there is none such. raw is the answer as the API
// wrote it.
func (c *Client) Rollback(ctx context.Context, projectID, releaseID string) (answer RollbackAnswer, raw json.RawMessage, err error) {
	body := map[string]string{}
	if releaseID != "" {
		body["releaseId"] = releaseID
	}
	if err := c.do(ctx, call{method: http.MethodPost, path: "/projects/" + url.PathEscape(projectID) + "/rollback", body: body}, &raw); err != nil {
		return answer, nil, err
	}
	return answer, raw, json.Unmarshal(raw, &answer)
}

func (c *Client) get(ctx context.Context, path string, query url.Values, out any) error {
	return c.do(ctx, call{method: http.MethodGet, path: path, query: query, repeatable: true}, out)
}

// list gets one page.
func list[T any](ctx context.Context, c *Client, path string, query url.Values, limit int, cursor string) (Page[T], error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	for key, values := range query {
		q[key] = values
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	var page Page[T]
	return page, c.get(ctx, path, q, &page)
}

// pageSize is how many items are asked for at once.
const pageSize = 100

// collect gets up to limit items over as many pages as that takes. NextCursor
// is set when there are more.
func collect[T any](ctx context.Context, c *Client, path string, query url.Values, limit int) (Page[T], error) {
	all := Page[T]{Items: []T{}}
	for len(all.Items) < limit {
		page, err := list[T](ctx, c, path, query, min(pageSize, limit-len(all.Items)), all.NextCursor)
		if err != nil {
			return all, err
		}
		all.Items = append(all.Items, page.Items...)
		all.NextCursor = page.NextCursor
		if page.NextCursor == "" || len(page.Items) == 0 {
			break
		}
	}
	return all, nil
}
