package api

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

// TransferRequest is the body of POST /projects/{id}/transfer.
type TransferRequest struct {
	OrgID    string `json:"orgId" minLength:"1" maxLength:"64" doc:"The organization that gets the project" example:"org_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	OrgToken string `json:"orgToken,omitempty" maxLength:"512" doc:"A token of that organization with the scope admin, of an admin of it. Needed when the request itself is made with a token, which stands for one organization alone" example:"slp_…"`
}

type transferInput struct {
	ID string `path:"id" maxLength:"64" doc:"Project id" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	IfMatch
	Body TransferRequest
}

func (s *Server) registerTransfer() {
	register(s, route{
		id: "transfer-project", method: http.MethodPost, path: "/projects/{id}/transfer", tag: "Projects", maxBody: 16 << 10,
		summary: "Give a project to another organization",
		description: "You have to be an admin of both. Its addresses, domains, variables, secrets, deployments and own key-value namespaces go along, and of its releases the live one and " +
			"the latest others, ten together; older ones are removed. Tokens and webhooks limited to it are removed. It answers all the while.\n\n" +
			"What it is made of is copied first. When that takes longer than an answer may, it is a 503, and asking again goes on where it was.",
		errors: []models.Code{
			models.CodeProjectNotFound, models.CodeConflict, models.CodeQuotaExceeded, models.CodePreconditionFailed, models.CodeStorage,
		},
	}, s.transferProject)
}

func (s *Server) transferProject(ctx context.Context, in *transferInput) (*changeProjectOutput, error) {
	project, err := s.projectOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	versions, err := in.versions()
	if err != nil {
		return nil, err
	}
	if err := models.CheckVersion(project, versions); err != nil {
		return nil, err
	}
	if in.Body.OrgID == project.OrganizationID {
		return nil, invalid([]FieldError{{Field: "orgId", In: "body", Message: "is the organization that has the project"}})
	}
	receiver, err := s.mayReceive(ctx, in.Body)
	if err != nil {
		return nil, err
	}
	transfer, err := s.opts.Store.TransferParts(ctx, project)
	if err != nil {
		return nil, err
	}
	transfer.To, transfer.Versions = receiver.OrganizationID, versions
	if transfer, err = s.copyParts(ctx, transfer, project.LiveReleaseID); err != nil {
		return nil, err
	}
	row, err := s.opts.Store.TransferProject(ctx, transfer)
	if err != nil {
		return nil, err
	}
	log := s.logOf(ctx).WithField("project", project.ID).WithField("user", identityOf(ctx).UserID)
	log.WithField("from", transfer.From).WithField("to", transfer.To).Info("project transferred")
	s.auditReceipt(ctx, receiver, transfer)
	await, cancel := context.WithTimeout(ctx, rollbackAwait)
	defer cancel()
	if err := s.opts.Store.AwaitRoutes(await, project.ID); err != nil {
		log.WithError(err).Warn("transferred, but not every dispatcher has taken note of it yet")
	}
	return &changeProjectOutput{ETag: entityTag(row.Version), Body: s.projectView(row)}, nil
}

// mayReceive gives who acts for the organization that gets the project, who must
// be an admin of it. A session is its person everywhere; a token stands for one
// organization and must not bring code into another that its person also belongs
// to, so that one takes a token of its own.
func (s *Server) mayReceive(ctx context.Context, r TransferRequest) (models.Identity, error) {
	identity := identityOf(ctx)
	if !models.ValidID(models.PrefixOrganization, r.OrgID) {
		return identity, models.NoOrganization(shorten(r.OrgID))
	}
	switch {
	case r.OrgToken != "":
		receiver, err := s.opts.Store.Authenticate(ctx, r.OrgToken)
		if models.CodeOf(err) == models.CodeUnauthorized || err == nil && receiver.OrganizationID != r.OrgID {
			return identity, models.Errorf(models.CodeForbidden, "orgToken is not a valid token of the organization %s.", r.OrgID)
		}
		if err != nil {
			return identity, err
		}
		identity = receiver
	case identity.SessionID == "":
		return identity, models.Errorf(models.CodeForbidden, "A token stands for one organization alone: send a token of the other one as orgToken, or do this signed in.")
	default:
		membership, err := s.opts.Store.MembershipOf(ctx, identity.UserID, r.OrgID, "")
		if err != nil {
			return identity, err
		}
		identity.OrganizationID, identity.Role = membership.OrganizationID, membership.Role
	}
	return identity, governing.check(identity)
}

// auditReceipt records a transfer for the organization that got the project, too.
func (s *Server) auditReceipt(ctx context.Context, receiver models.Identity, t models.Transfer) {
	noteTarget(ctx, "orgId", t.To)
	entry := models.AuditBy(receiver, "transfer-project")
	entry.Targets = models.AuditTargets{"id": t.ProjectID, "fromOrgId": t.From}
	entry.RequestID, _ = ctx.Value(requestIDKey).(string)
	if a := attemptOf(ctx); a != nil {
		entry.Address, entry.UserAgent = a.address, a.userAgent
	}
	s.appendAudit(ctx, entry)
}

// maxPartList bounds a list of files or a manifest.
const maxPartList = 64 << 20

// copyConcurrency bounds the objects copied at once.
const copyConcurrency = 16

// copyParts copies what a project is made of to the scope of who gets it, and
// gives the transfer of what could be copied. Objects are named by their content,
// so that what was copied before a failure is not copied again.
func (s *Server) copyParts(ctx context.Context, t models.Transfer, live string) (models.Transfer, error) {
	all := parts{blobs: s.opts.Blobs, scope: t.From, digests: map[string]bool{}}
	all.add(t.Logs...)
	if err := all.files(ctx, t.Source); err != nil {
		return t, unfinishedCopy(ctx, err)
	}
	if err := s.copyAll(ctx, t, all.digests); err != nil {
		return t, unfinishedCopy(ctx, err)
	}
	releases := t.Releases
	t.Releases = nil
	for _, r := range releases {
		one := parts{blobs: s.opts.Blobs, scope: t.From, digests: map[string]bool{}, known: all.digests}
		err := one.release(ctx, r)
		if err == nil {
			err = s.copyAll(ctx, t, one.digests)
		}
		if models.CodeOf(err) == models.CodeBlobNotFound && r.ID != live && ctx.Err() == nil {
			// Nobody can go back to a release that has lost objects.
			s.logOf(ctx).WithError(err).WithField("release", r.ID).Warn("a release that is not whole is left behind")
			continue
		}
		if err != nil {
			return t, unfinishedCopy(ctx, err)
		}
		maps.Copy(all.digests, one.digests)
		t.Releases = append(t.Releases, r)
	}
	return t, nil
}

// copyAll copies those of the objects that are not there yet.
func (s *Server) copyAll(ctx context.Context, t models.Transfer, digests map[string]bool) error {
	missing, err := blob.Missing(ctx, s.opts.Blobs, t.To, slices.Sorted(maps.Keys(digests)))
	if err != nil {
		return err
	}
	group, copying := errgroup.WithContext(ctx)
	group.SetLimit(copyConcurrency)
	for _, digest := range missing {
		group.Go(func() error { return s.copyBlob(copying, t, digest) })
	}
	return group.Wait()
}

func (s *Server) copyBlob(ctx context.Context, t models.Transfer, digest string) error {
	object, err := s.opts.Blobs.Stat(ctx, blob.Key{Scope: t.From, Digest: digest})
	if err != nil {
		return err
	}
	r, err := s.opts.Blobs.Get(ctx, object.Key)
	if err != nil {
		return err
	}
	defer r.Close()
	return s.opts.Blobs.Put(ctx, blob.Key{Scope: t.To, Digest: digest}, object.Size, r)
}

// unfinishedCopy says what to do about a copy that did not come to its end.
func unfinishedCopy(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return models.Wrap(models.CodeStorage, err, "The project is large: not all of it is copied yet. Nothing has changed; ask again, and it goes on where it was.")
	case models.CodeOf(err) == models.CodeBlobNotFound:
		return models.Wrap(models.CodeStorage, err, "An object that the project is made of is missing from blob storage. Deploy the project again before you transfer it.")
	}
	return err
}

// parts gathers the digests of everything that something is made of.
type parts struct {
	blobs   blob.Store
	scope   string
	digests map[string]bool
	// known are those that were gathered before.
	known map[string]bool
}

func (p *parts) release(ctx context.Context, r models.Release) error {
	if err := p.files(ctx, r.SourceDigest); err != nil {
		return err
	}
	if err := p.files(ctx, r.OutputDigest); err != nil {
		return err
	}
	if data, err := p.list(ctx, r.ManifestDigest); err != nil {
		return err
	} else if data != nil {
		manifest, err := assets.ParseManifest(data)
		if err != nil {
			return err
		}
		p.add(manifest.Digests()...)
	}
	data, err := p.list(ctx, r.WorkerDigest)
	if err != nil || data == nil {
		return err
	}
	worker, err := models.DecodeWorkerBundle(data)
	if err != nil {
		return err
	}
	p.add(worker.Digests()...)
	return nil
}

// files adds a list of files with all that is on it.
func (p *parts) files(ctx context.Context, digest string) error {
	data, err := p.list(ctx, digest)
	if err != nil || data == nil {
		return err
	}
	set, err := models.DecodeFileSet(data)
	if err != nil {
		return err
	}
	p.add(set.HistoryDigest)
	p.add(set.Digests()...)
	return nil
}

// list reads an object that names others; nil when there is none, or it was read
// before.
func (p *parts) list(ctx context.Context, digest string) ([]byte, error) {
	if digest == "" || p.digests[digest] || p.known[digest] {
		return nil, nil
	}
	data, err := blob.ReadAll(ctx, p.blobs, blob.Key{Scope: p.scope, Digest: digest}, maxPartList)
	if err != nil {
		return nil, err
	}
	p.add(digest)
	return data, nil
}

func (p *parts) add(digests ...string) {
	for _, digest := range digests {
		if digest != "" && !p.known[digest] {
			p.digests[digest] = true
		}
	}
}
