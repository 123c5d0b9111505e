package api

import (
	"context"
	"net/http"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// Domain is a custom domain as clients see it.
type Domain struct {
	ID           string              `json:"id" doc:"Domain id; also the id of the workflow that verifies it" example:"dom_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	ProjectID    string              `json:"projectId" doc:"The project that answers there"`
	Host         string              `json:"host" doc:"The host name, in lower-case ASCII" example:"shop.example.com"`
	Status       models.DomainStatus `json:"status" enum:"pending,verified,active,failed" doc:"pending until the TXT record proves who owns it, verified until it points here, then active; failed when that did not come about in time, or has not been so for days"`
	Reason       string              `json:"reason,omitempty" doc:"What is still missing; of an active domain, why it may not stay active" example:"There is no TXT record _slipway-challenge.shop.example.com yet."`
	DNS          []DNSRecord         `json:"dns" nullable:"false" doc:"What to put into DNS"`
	CreatedAt    time.Time           `json:"createdAt" doc:"When it was added"`
	ActiveAt     *time.Time          `json:"activeAt,omitempty" doc:"When it became active"`
	CheckedAt    *time.Time          `json:"checkedAt,omitempty" doc:"When an active domain's DNS was last looked at"`
	FailingSince *time.Time          `json:"failingSince,omitempty" doc:"Since when an active domain has had no address; it goes on being answered, and fails when this lasts for days"`
}

// DNSRecord is a record to put into DNS.
type DNSRecord struct {
	Type    string `json:"type" enum:"CNAME,TXT" doc:"Its type"`
	Name    string `json:"name" doc:"Its name" example:"_slipway-challenge.shop.example.com"`
	Value   string `json:"value" doc:"Its value" example:"dispatcher.example.net"`
	Purpose string `json:"purpose" doc:"What it is for" example:"leads visitors here"`
}

// DomainList is one page of a project's domains.
type DomainList struct {
	Items      []Domain `json:"items" nullable:"false" doc:"By host"`
	NextCursor string   `json:"nextCursor,omitempty" doc:"Pass it as cursor for the next page; not there on the last"`
}

// DomainRequest is the body of POST /projects/{id}/domains.
type DomainRequest struct {
	Host string `json:"host" minLength:"1" maxLength:"253" doc:"The host name; letters of any script" example:"shop.example.com"`
}

type addDomainInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Project id" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Body DomainRequest
}

type addDomainOutput struct {
	Location string `header:"Location" doc:"The domain's path"`
	Body     Domain
}

type domainInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Project id" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Host string `path:"host" maxLength:"253" doc:"The host name" example:"shop.example.com"`
}

type domainOutput struct{ Body Domain }

type domainsInput struct {
	NamePaging
	ID string `path:"id" maxLength:"64" doc:"Project id" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
}

type domainsOutput struct{ Body DomainList }

type emptyOutput struct{}

func (s *Server) registerDomains() {
	const path = "/projects/{id}/domains"
	known := []models.Code{models.CodeProjectNotFound, models.CodeDomainNotFound}
	register(s, route{
		id: "add-domain", method: http.MethodPost, path: path, tag: "Domains", status: http.StatusCreated, maxBody: 16 << 10,
		summary: "Add a domain of your own",
		description: "The answer says what to put into DNS. The domain is looked at until both records are there, and then answers like the worker name. " +
			"Adding it again is harmless and has a failed one looked at anew.",
		errors: []models.Code{models.CodeProjectNotFound, models.CodeDomainUnavailable},
	}, s.addDomain)
	register(s, route{
		id: "list-domains", method: http.MethodGet, path: path, tag: "Domains",
		summary: "Domains of a project", errors: []models.Code{models.CodeProjectNotFound},
	}, s.domains)
	register(s, route{
		id: "get-domain", method: http.MethodGet, path: path + "/{host}", tag: "Domains", summary: "One domain", errors: known,
	}, s.domain)
	register(s, route{
		id: "check-domain", method: http.MethodPost, path: path + "/{host}/check", tag: "Domains",
		summary: "Look at a domain's DNS now", description: "It is looked at by itself as well: less and less often until it is active, and about once a day from then on. A failed domain is verified anew.",
		errors: append(known, models.CodeDomainUnavailable, models.CodeQueue),
	}, s.checkDomain)
	register(s, route{
		id: "remove-domain", method: http.MethodDelete, path: path + "/{host}", tag: "Domains", status: http.StatusNoContent,
		summary: "Remove a domain", description: "It stops answering at once.", errors: known,
	}, s.removeDomain)
}

func (s *Server) addDomain(ctx context.Context, in *addDomainInput) (*addDomainOutput, error) {
	project, err := s.projectOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	host, problem := checkHost(in.Body.Host, s.opts.Domain)
	if problem != "" {
		return nil, invalid([]FieldError{{Field: "host", In: "body", Message: problem}})
	}
	row, err := s.opts.Store.AddDomain(ctx, project, host)
	if err != nil {
		return nil, err
	}
	s.verify(ctx, row)
	return &addDomainOutput{Location: "/projects/" + project.ID + "/domains/" + host, Body: s.domainView(row)}, nil
}

// verify has a claim that was written verified. A verification that cannot be
// started now is started by the reconciler.
func (s *Server) verify(ctx context.Context, row models.Domain) {
	if row.WorkflowRunID != "" || row.Status == models.DomainActive {
		return
	}
	if err := s.lookAt(ctx, row); err != nil {
		s.logOf(ctx).WithField("domain", row.Host).WithError(err).Warn("verification not started; the reconciler will start it")
	}
}

func (s *Server) lookAt(ctx context.Context, row models.Domain) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Limits.StartTimeout)
	defer cancel()
	runID, err := s.opts.CheckDomain(ctx, row)
	if err != nil {
		return err
	}
	return s.opts.Store.MarkDomainStarted(ctx, row.ID, runID)
}

func (s *Server) domains(ctx context.Context, in *domainsInput) (*domainsOutput, error) {
	project, err := s.projectOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	rows, err := s.opts.Store.Domains(ctx, project.ID)
	if err != nil {
		return nil, err
	}
	rows, next, err := pageByName(rows, in.NamePaging, func(d models.Domain) string { return d.Host })
	list := DomainList{Items: make([]Domain, 0, len(rows)), NextCursor: next}
	for _, row := range rows {
		list.Items = append(list.Items, s.domainView(row))
	}
	return &domainsOutput{list}, err
}

// domainOf reads a domain of a project of the caller's.
func (s *Server) domainOf(ctx context.Context, in *domainInput) (models.Domain, error) {
	project, err := s.projectOf(ctx, in.ID)
	if err != nil {
		return models.Domain{}, err
	}
	host, problem := checkHost(in.Host, "")
	if problem != "" {
		return models.Domain{}, models.Errorf(models.CodeDomainNotFound, "The project has no domain %q.", shorten(in.Host))
	}
	return s.opts.Store.DomainOf(ctx, project.ID, host)
}

func (s *Server) domain(ctx context.Context, in *domainInput) (*domainOutput, error) {
	row, err := s.domainOf(ctx, in)
	return &domainOutput{s.domainView(row)}, err
}

func (s *Server) checkDomain(ctx context.Context, in *domainInput) (*domainOutput, error) {
	row, err := s.domainOf(ctx, in)
	if err != nil {
		return nil, err
	}
	if row.Status == models.DomainFailed {
		if row, err = s.opts.Store.AddDomain(ctx, models.Project{ID: row.ProjectID, OrganizationID: row.OrganizationID}, row.Host); err != nil {
			return nil, err
		}
	}
	return &domainOutput{s.domainView(row)}, s.lookAt(ctx, row)
}

func (s *Server) removeDomain(ctx context.Context, in *domainInput) (*emptyOutput, error) {
	row, err := s.domainOf(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := s.opts.Store.RemoveDomain(ctx, row.ProjectID, row.Host); err != nil {
		return nil, err
	}
	s.logOf(ctx).WithField("domain", row.Host).WithField("project", row.ProjectID).Info("domain removed")
	return &emptyOutput{}, nil
}

func (s *Server) domainView(row models.Domain) Domain {
	view := Domain{
		ID: row.ID, ProjectID: row.ProjectID, Host: row.Host, Status: row.Status, Reason: row.Reason, CreatedAt: stamp(row.CreatedAt), ActiveAt: stampOf(row.ActiveAt),
		DNS: []DNSRecord{
			{Type: "TXT", Name: models.ChallengeLabel + row.Host, Value: row.Token, Purpose: "Proves that the domain is yours. It may go once the domain is verified."},
			{Type: "CNAME", Name: row.Host, Value: s.opts.CNAMETarget, Purpose: "Sends visitors here. At the top of a zone, where no CNAME can be, use the same addresses (ALIAS, ANAME or A and AAAA)."},
		},
	}
	if row.Status == models.DomainActive {
		view.CheckedAt, view.FailingSince = stampOf(row.CheckedAt), stampOf(row.FailingSince)
	}
	return view
}
