package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

// defaultPriority of a deployment that does not say.
const defaultPriority = 3

// DeployRequest is the body of POST /deploy.
type DeployRequest struct {
	ProjectID       string           `json:"projectId" minLength:"1" maxLength:"64" doc:"The project to deploy" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	OrgID           string           `json:"orgId" minLength:"1" maxLength:"64" doc:"The organization of the token" example:"org_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	UserID          string           `json:"userId" minLength:"1" maxLength:"64" doc:"The user of the token" example:"usr_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	CustomDomain    string           `json:"customDomain,omitempty" maxLength:"253" doc:"A host name of your own to add to the project, as POST /projects/{id}/domains does" example:"example.com"`
	InitFiles       []InitFile       `json:"initFiles,omitempty" doc:"Files put on top of the project's latest source"`
	HistoryMessages []HistoryMessage `json:"historyMessages,omitempty" doc:"The conversation that led to the files; kept with the project"`
	Files           []FileReference  `json:"files,omitempty" doc:"The whole source by content, replacing the project's latest. Upload what POST /blobs/missing names first. Not together with initFiles"`
	Preview         bool             `json:"preview,omitempty" doc:"Make the release without bringing it live; it answers at its own address, and a rollback or a rollout brings it live"`
	Commit          string           `json:"commit,omitempty" pattern:"^([0-9a-f]{40}|[0-9a-f]{64})?$" patternDescription:"40 or 64 lower-case hexadecimal digits" doc:"The commit the files are of; events name it, and webhooks of the format github set its status" example:"8f70b34c1d2e3f405162738495a6b7c8d9e0f1a2"`
	Priority        int              `json:"priority,omitempty" minimum:"1" maximum:"5" doc:"1 is the most urgent; 3 when left out"`
}

// InitFile is a file in a request.
type InitFile struct {
	Path     string `json:"path" doc:"Relative path with forward slashes, at most 255 bytes" example:"index.html"`
	Content  string `json:"content" doc:"The content, as text or as base64" example:"<h1>Hello</h1>"`
	Encoding string `json:"encoding,omitempty" enum:"utf-8,base64" doc:"How content is written; utf-8 when left out"`
}

// FileReference is a file that was uploaded before.
type FileReference struct {
	Path   string `json:"path" doc:"Relative path with forward slashes, at most 255 bytes" example:"src/main.ts"`
	SHA256 string `json:"sha256" pattern:"^[0-9a-f]{64}$" patternDescription:"64 lower-case hexadecimal digits" doc:"Digest of the content"`
	Mode   uint32 `json:"mode,omitempty" doc:"File mode in decimal: 420 (0644, the default) or 493 (0755)"`
}

// HistoryMessage is one entry of a conversation.
type HistoryMessage struct {
	Role    string `json:"role" enum:"user,assistant" doc:"Who said it"`
	Content string `json:"content" doc:"What was said" example:"Make the headline blue."`
}

// DeployAnswer is the answer of POST /deploy.
type DeployAnswer struct {
	Success      bool                    `json:"success" doc:"Always true" example:"true"`
	DeploymentID string                  `json:"deploymentId" doc:"Deployment id" example:"dep_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Status       models.DeploymentStatus `json:"status" enum:"queued" doc:"Always queued"`
	Message      string                  `json:"message" doc:"What happened" example:"Deployment queued successfully"`
	Timestamp    time.Time               `json:"timestamp" doc:"When it was queued"`
}

type deployInput struct {
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"255" pattern:"^[!-~]+( [!-~]+)*$" patternDescription:"printable ASCII" doc:"A repeated request with the same key and body returns the first one's deployment; with another body it is a 409" example:"order-42"`
	Body           DeployRequest
	RawBody        []byte
}

type deployOutput struct{ Body DeployAnswer }

func (s *Server) registerDeploy() {
	register(s, route{
		id: "deploy", method: http.MethodPost, path: "/deploy", tag: "Deployments",
		summary: "Deploy a project",
		description: "Stores the files, writes the deployment and queues it. Ask `GET /deploy-status` how it gets on.\n\n" +
			"`initFiles` is put on top of the project's latest source, `files` replaces it; with neither, the latest source is deployed again.",
		maxBody: s.opts.Limits.BodyBytes, example: exampleDeploy(),
		errors: []models.Code{
			models.CodeForbidden, models.CodeQuotaExceeded, models.CodeProjectNotFound, models.CodeDomainUnavailable,
			models.CodeIdempotency, models.CodeStorage,
		},
	}, s.deploy)
}

func (s *Server) deploy(ctx context.Context, in *deployInput) (*deployOutput, error) {
	identity := identityOf(ctx)
	if err := mustActAs(identity, in.Body.OrgID, in.Body.UserID); err != nil {
		return nil, err
	}
	contents, err := s.checkDeploy(&in.Body)
	if err != nil {
		return nil, err
	}
	project, err := s.projectOf(ctx, in.Body.ProjectID)
	if err != nil {
		return nil, err
	}
	bodyHash := blob.Digest(in.RawBody)
	if in.IdempotencyKey != "" {
		earlier, found, err := s.opts.Store.EarlierDeployment(ctx, identity.OrganizationID, in.IdempotencyKey, bodyHash)
		if err != nil {
			return nil, err
		}
		if found {
			return queued(earlier), nil
		}
	}
	if err := s.opts.Store.CheckQuota(ctx, identity.OrganizationID); err != nil {
		return nil, err
	}
	if in.Body.CustomDomain != "" {
		if err := s.opts.Store.CheckDomain(ctx, project.ID, in.Body.CustomDomain); err != nil {
			return nil, err
		}
	}
	digest, err := s.storeRequest(ctx, identity.OrganizationID, in.Body, contents)
	if err != nil {
		return nil, err
	}
	row, created, err := s.opts.Store.CreateDeployment(ctx, models.NewDeployment{
		Input: models.DeploymentInput{
			DeploymentID: models.NewID(models.PrefixDeployment), ProjectID: project.ID, OrgID: identity.OrganizationID, UserID: identity.UserID,
			CustomDomain: in.Body.CustomDomain, RequestDigest: digest, Preview: in.Body.Preview, Commit: in.Body.Commit,
			ActiveTimeout: s.opts.ActiveTimeout, ParkTimeout: s.opts.ParkTimeout, BuildQueue: s.opts.BuildQueue,
		},
		Priority: in.Body.Priority, IdempotencyKey: in.IdempotencyKey, BodyHash: bodyHash,
	})
	if err != nil {
		return nil, err
	}
	noteTarget(ctx, "projectId", row.ProjectID)
	noteTarget(ctx, "deploymentId", row.ID)
	if created {
		s.start(ctx, row)
		s.verifyDomainOf(ctx, row)
	}
	return queued(row), nil
}

func queued(row models.Deployment) *deployOutput {
	return &deployOutput{DeployAnswer{
		Success: true, DeploymentID: row.ID, Status: models.StatusQueued,
		Message: "Deployment queued successfully", Timestamp: stamp(row.CreatedAt),
	}}
}

// start starts the workflow. From here on the deployment exists whatever
// happens, so a failure is only noted: the reconciler starts it later.
func (s *Server) start(ctx context.Context, row models.Deployment) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Limits.StartTimeout)
	defer cancel()
	log := s.logOf(ctx).WithField("deployment", row.ID)
	runID, err := s.opts.Start(ctx, row)
	if err != nil {
		log.WithError(err).Warn("workflow not started; the reconciler will start it")
		return
	}
	if err := s.opts.Store.MarkStarted(ctx, row.ID, runID); err != nil {
		log.WithError(err).Warn("workflow started, but its row does not say so yet")
	}
}

// verifyDomainOf has the custom domain verified that was claimed with a deployment.
// What fails is mended by the reconciler.
func (s *Server) verifyDomainOf(ctx context.Context, row models.Deployment) {
	if row.CustomDomain == "" {
		return
	}
	domain, err := s.opts.Store.DomainOf(ctx, row.ProjectID, row.CustomDomain)
	if err != nil {
		s.logOf(ctx).WithField("domain", row.CustomDomain).WithError(err).Warn("verification not started; the reconciler will start it")
		return
	}
	s.verify(ctx, domain)
}

// storeConcurrency bounds the blobs written or looked up at once per request.
const storeConcurrency = 16

// storeRequest stores the files and the list of them, and returns the digest of
// the list; "" when the request brought nothing. Blobs are named by content, so
// doing it again is harmless.
func (s *Server) storeRequest(ctx context.Context, scope string, req DeployRequest, contents [][]byte) (string, error) {
	if len(req.InitFiles) == 0 && len(req.Files) == 0 && len(req.HistoryMessages) == 0 {
		return "", nil
	}
	set := models.FileSet{Replace: len(req.Files) > 0}
	var err error
	if set.Replace {
		set.Files, err = s.findUploaded(ctx, scope, req.Files)
	} else {
		set.Files, err = s.storeFiles(ctx, scope, req.InitFiles, contents)
	}
	if err != nil {
		return "", err
	}
	if len(req.HistoryMessages) > 0 {
		messages := make([]models.Message, 0, len(req.HistoryMessages))
		for _, m := range req.HistoryMessages {
			messages = append(messages, models.Message{Role: m.Role, Content: m.Content})
		}
		data, err := json.Marshal(messages)
		if err != nil {
			return "", err
		}
		key, err := blob.PutBytes(ctx, s.opts.Blobs, scope, data)
		if err != nil {
			return "", err
		}
		set.HistoryDigest = key.Digest
	}
	data, err := set.Encode()
	if err != nil {
		return "", err
	}
	key, err := blob.PutBytes(ctx, s.opts.Blobs, scope, data)
	return key.Digest, err
}

func (s *Server) storeFiles(ctx context.Context, scope string, files []InitFile, contents [][]byte) ([]models.File, error) {
	stored := make([]models.File, len(files))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(storeConcurrency)
	for i, file := range files {
		group.Go(func() error {
			content := contents[i]
			key := blob.Key{Scope: scope, Digest: blob.Digest(content)}
			stored[i] = models.File{Path: file.Path, Digest: key.Digest, Size: int64(len(content)), Mode: 0o644}
			return s.opts.Blobs.Put(ctx, key, int64(len(content)), bytes.NewReader(content))
		})
	}
	return stored, group.Wait()
}
