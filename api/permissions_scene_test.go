package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/alexedwards/argon2id"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/auth"
	"github.com/slipwayhq/slipway/mail"
	"github.com/slipwayhq/slipway/models"
)

// organizationHeader names the organization that a session acts in.
const organizationHeader = "X-Slipway-Organization"

// appURL is the address that the scene's browsers use.
const appURL = "http://example.com"

// postbox keeps the mails that were sent. Safe for concurrent use.
type postbox struct {
	mu          sync.Mutex
	invitations []api.InvitationMail
}

func (p *postbox) Send(context.Context, mail.Message) error { return nil }

func (p *postbox) SendInvitation(_ context.Context, m api.InvitationMail) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.invitations = append(p.invitations, m)
	return nil
}

// last is the newest invitation's token.
func (p *postbox) last(t *testing.T) string {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.NotEmpty(t, p.invitations)
	_, token, found := strings.Cut(p.invitations[len(p.invitations)-1].Link, "?token=")
	require.True(t, found)
	return token
}

// withAccounts gives a gateway people who sign in.
func withAccounts(t *testing.T, post *postbox) func(*api.Options) {
	return func(o *api.Options) {
		accounts, err := auth.New(auth.Options{
			Store: o.Store, Secret: "a secret of thirty-two characters", AppURL: appURL, SignUp: auth.SignUpOpen, Mail: post, Log: o.Log,
			GitHub:       auth.GitHub{ID: "an-app", Secret: "of GitHub", URL: "https://github.test", APIURL: "https://api.github.test"},
			PasswordCost: &argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32},
		})
		require.NoError(t, err)
		t.Cleanup(accounts.Close)
		o.Sessions, o.Auth, o.Mail, o.AppURL = accounts, accounts.Handler(), post, appURL
	}
}

// person is somebody who is signed in.
type person struct {
	id, email, cookie string
}

// signUp makes an account and signs it in.
func (g *gateway) signUp(email string) person {
	g.Helper()
	body, err := json.Marshal(map[string]string{"email": email, "password": "correct horse battery staple", "name": strings.ToUpper(email)})
	require.NoError(g, err)
	r := httptest.NewRequest("POST", appURL+"/api/auth/sign-up/email", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", appURL)
	w := httptest.NewRecorder()
	g.server.ServeHTTP(w, r)
	require.Equal(g, 200, w.Code, "%s", w.Body)
	var answer struct {
		User struct{ ID string }
	}
	require.NoError(g, json.Unmarshal(w.Body.Bytes(), &answer))
	p := person{id: answer.User.ID, email: email}
	for _, c := range w.Result().Cookies() {
		if strings.HasSuffix(c.Name, auth.SessionCookie) {
			p.cookie = c.Name + "=" + c.Value
		}
	}
	require.NotEmpty(g, p.cookie, "%v", w.Header())
	return p
}

// in are the headers of a request that the person makes in an organization.
func (p person) in(organization string) header {
	h := header{"Authorization": "", "Cookie": p.cookie, "Origin": appURL}
	if organization != "" {
		h[organizationHeader] = organization
	}
	return h
}

// scene is an organization with one of everything, and people in it and outside.
type scene struct {
	*gateway
	post *postbox
	conn *pgx.Conn
	org  string
	// people of the organization by role, and one of another.
	people  map[models.Role]person
	foreign person
	// foreignOrg is what the foreign person owns.
	foreignOrg string
	// foreignIDs are of what that organization has, by prefix.
	foreignIDs map[string]string
	// ids of what the organization has, by prefix; names by name of parameter.
	ids, names map[string]string
	// secrets that no answer to others may hold.
	markers []string
	ops     []walked
}

// walked is what the walk needs of one in the OpenAPI document.
type walked struct {
	id, method, path string
	// parameters are required, in path or query, with their examples.
	parameters []need
	// body is the example of a JSON body; nil when there is none.
	body     map[string]any
	required bool
}

type need struct{ name, in, example string }

func newScene(t *testing.T) *scene {
	s := &scene{post: &postbox{}, people: map[models.Role]person{}, ids: map[string]string{}, names: map[string]string{}}
	s.gateway = newGateway(t, withAccounts(t, s.post))
	conn, err := pgx.Connect(t.Context(), s.databaseURL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	s.conn = conn
	s.foreign = s.signUp("foreign@elsewhere.example")
	membership, err := s.store.MembershipOf(t.Context(), s.foreign.id, "", "")
	require.NoError(t, err)
	s.foreignOrg = membership.OrganizationID
	for _, role := range models.Roles() {
		s.people[role] = s.signUp(string(role) + "@zanzibar.example")
	}
	owner := s.people[models.RoleOwner]
	org, err := s.store.FoundOrganization(t.Context(), owner.id, "Zanzibar Trading")
	require.NoError(t, err)
	s.org = org.ID
	for _, role := range models.Roles()[:3] {
		s.join(s.people[role], role)
	}
	bystander := s.signUp("bystander@zanzibar.example")
	s.join(bystander, models.RoleViewer)
	s.fill(bystander)
	own, err := s.store.CreateProject(t.Context(), s.foreignOrg, "Theirs", "theirs")
	require.NoError(t, err)
	hook := s.do("POST", "/webhooks", map[string]any{"url": "https://hooks.example.com/theirs"}, s.foreign.in("")).fields()["id"].(string)
	s.foreignIDs = map[string]string{"org": s.foreignOrg, "prj": own.ID, "whk": hook}
	s.ops = s.operations()
	return s
}

func (s *scene) join(p person, role models.Role) {
	s.Helper()
	_, secret, err := s.store.Invite(s.Context(), s.org, s.people[models.RoleOwner].id, p.email, role)
	require.NoError(s, err)
	_, err = s.store.AcceptInvitation(s.Context(), p.id, secret)
	require.NoError(s, err)
}

// fill gives the organization one of everything.
func (s *scene) fill(bystander person) {
	owner := s.people[models.RoleOwner]
	as := owner.in(s.org)
	made := func(path string, body any) map[string]any {
		s.Helper()
		a := s.do("POST", path, body, as)
		require.Less(s, a.status, 300, "%s %s", path, a.body)
		return a.fields()
	}
	text := func(fields map[string]any, name string) string {
		s.Helper()
		value, ok := fields[name].(string)
		require.True(s, ok, "%s in %v", name, fields)
		return value
	}
	project := text(made("/projects", map[string]any{"name": "Cinnamon", "workerName": "cinnamon"}), "id")
	s.ids = map[string]string{"org": s.org, "usr": bystander.id, "prj": project}
	deploy := map[string]any{"projectId": project, "orgId": s.org, "userId": owner.id, "initFiles": []any{map[string]any{"path": "index.html", "content": "x"}}}
	for range 2 {
		s.ids["dep"] = text(made("/deploy", deploy), "deploymentId")
		row, err := s.store.Deployment(s.Context(), s.ids["dep"])
		require.NoError(s, err)
		if former := s.ids["rel"]; former == "" {
			s.ids["rel"] = s.goLive(row).ID
			continue
		}
		s.goLive(row)
	}
	made("/projects/"+project+"/domains", map[string]any{"host": "cinnamon.example"})
	require.Equal(s, 200, s.do("PATCH", "/projects/"+project+"/variables", map[string]any{"set": []any{map[string]any{"name": "SPICE", "value": "clove"}}, "deploy": false}, as).status)
	s.ids["tok"] = text(made("/tokens", map[string]any{"name": "bystander", "scope": "read"}), "id")
	s.ids["inv"] = text(made("/orgs/"+s.org+"/invitations", map[string]any{"email": "invited@zanzibar.example", "role": "viewer"}), "id")
	s.ids["whk"] = text(made("/webhooks", map[string]any{"url": "https://hooks.example.com/zanzibar"}), "id")
	s.ids["dlv"] = text(made("/webhooks/"+s.ids["whk"]+"/test", nil), "id")
	s.ids["rol"] = text(made("/projects/"+project+"/rollouts", map[string]any{"releaseId": s.ids["rel"]}), "id")
	device, _, err := s.store.RequestDevice(s.Context(), "laptop", "", models.ScopeDeploy)
	require.NoError(s, err)
	s.names = map[string]string{"host": "cinnamon.example", "userCode": device.UserCode, "sha256": strings.Repeat("0", 64), "confirm": "cinnamon"}
	s.markers = []string{"zanzibar", "Zanzibar", "Cinnamon", "cinnamon", "SPICE", "clove"}
	for _, id := range s.ids {
		s.markers = append(s.markers, id)
	}
	for _, p := range s.people {
		s.markers = append(s.markers, p.id)
	}
}

var idExample = regexp.MustCompile(`^([a-z]{3})_[a-z2-7]{26}$`)

// operations reads the OpenAPI document, those that change and delete last.
func (s *scene) operations() []walked {
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string
			Parameters  []struct {
				Name, In string
				Required bool
				Example  any
			}
			RequestBody struct {
				Required bool
				Content  map[string]struct{ Example map[string]any }
			}
		}
	}
	s.do("GET", "/openapi.json", nil).into(200, &doc)
	var ops []walked
	for path, item := range doc.Paths {
		if strings.HasPrefix(path, auth.Prefix) {
			continue // of no organization; TestAccounts_answerWhoTheyAreFor
		}
		for method, o := range item {
			op := walked{id: o.OperationID, method: strings.ToUpper(method), path: path, required: o.RequestBody.Required}
			for _, p := range o.Parameters {
				if p.Required {
					op.parameters = append(op.parameters, need{p.Name, p.In, fmt.Sprint(p.Example)})
				}
			}
			if content, ok := o.RequestBody.Content["application/json"]; ok {
				op.body = content.Example
				if op.body == nil {
					op.body = map[string]any{}
				}
			}
			ops = append(ops, op)
		}
	}
	rank := func(op walked) int { return slices.Index([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, op.method) }
	slices.SortFunc(ops, func(a, b walked) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		// What is within something goes before it.
		if d := strings.Count(b.path, "/") - strings.Count(a.path, "/"); d != 0 {
			return d
		}
		return strings.Compare(a.id, b.id)
	})
	return ops
}

// target is the operation's path with what the organization has in it; absent
// puts a made-up id in the place of the last, so that nothing is done.
func (s *scene) target(op walked, absent bool) string { return s.path(op, absent, nil) }

// path is target with the first parameter out of own, by prefix, where that has one.
func (s *scene) path(op walked, absent bool, own map[string]string) string {
	s.Helper()
	path, query := op.path, ""
	for i, p := range op.parameters {
		var value string
		last := absent && i == len(op.parameters)-1
		if match := idExample.FindStringSubmatch(p.example); match != nil {
			value = s.ids[match[1]]
			if first := own[match[1]]; i == 0 && first != "" {
				value = first
			}
			if last && match[1] != "org" {
				value = models.NewID(match[1])
			}
		} else {
			value = s.names[p.name]
			if last {
				value = map[string]string{"host": "absent.example", "userCode": "BBBBBBBB", "sha256": strings.Repeat("1", 64), "confirm": "absent"}[p.name]
			}
		}
		require.NotEmpty(s, value, "the scene has nothing for the parameter %s of %s: %q", p.name, op.id, p.example)
		if p.in == "query" {
			query = "?" + p.name + "=" + value
			continue
		}
		path = strings.Replace(path, "{"+p.name+"}", value, 1)
	}
	return path + query
}

// meaningful is a body with which the operation does something to what the
// organization has; nil without a body.
func (s *scene) meaningful(op walked) any {
	if op.id == "put-blob" {
		return []byte("x")
	}
	if op.body == nil {
		return nil
	}
	own := map[string]any{
		"deploy": map[string]any{
			"projectId": s.ids["prj"], "orgId": s.org, "userId": s.people[models.RoleOwner].id, "initFiles": []any{map[string]any{"path": "a.html", "content": "x"}},
		},
		"missing-blobs":       map[string]any{"sha256": []string{s.names["sha256"]}},
		"create-token":        map[string]any{"name": "walk", "scope": "read", "projectId": s.ids["prj"]},
		"change-project":      map[string]any{"name": "Changed"},
		"transfer-project":    map[string]any{"orgId": s.foreignOrg},
		"create-project":      map[string]any{"name": "Walked"},
		"create-rollout":      map[string]any{"releaseId": s.ids["rel"]},
		"rollback":            map[string]any{"releaseId": s.ids["rel"]},
		"change-variables":    map[string]any{"remove": []string{"SPICE"}, "deploy": false},
		"add-domain":          map[string]any{"host": "another.example"},
		"create-webhook":      map[string]any{"url": "https://hooks.example.com/other", "projectId": s.ids["prj"]},
		"change-webhook":      map[string]any{"events": []string{"deployment.*"}},
		"accept-invitation":   map[string]any{"token": s.post.last(s.T)},
		"change-member":       map[string]any{"role": "developer"},
		"create-device-token": map[string]any{"deviceCode": "sld_unknown"},
	}
	if body, ok := own[op.id]; ok {
		return body
	}
	return s.replaceIDs(op.body)
}

// replaceIDs puts the organization's ids in the place of an example's.
func (s *scene) replaceIDs(value any) any {
	switch value := value.(type) {
	case string:
		if match := idExample.FindStringSubmatch(value); match != nil && s.ids[match[1]] != "" {
			return s.ids[match[1]]
		}
	case map[string]any:
		out := map[string]any{}
		for name, v := range value {
			out[name] = s.replaceIDs(v)
		}
		return out
	case []any:
		out := []any{}
		for _, v := range value {
			out = append(out, s.replaceIDs(v))
		}
		return out
	}
	return value
}

// call sends a request straight to the gateway. A stream is left at its first byte.
func (s *scene) call(op walked, target string, body any, h header) (status int, answer string) {
	var reader bytes.Buffer
	kind := "application/json"
	switch b := body.(type) {
	case nil:
		kind = ""
	case []byte:
		reader.Write(b)
		kind = "application/octet-stream"
	default:
		if err := json.NewEncoder(&reader).Encode(b); err != nil {
			s.Errorf("%s: %v", op.id, err)
		}
	}
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	r := httptest.NewRequest(op.method, appURL+target, &reader).WithContext(ctx)
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for name, value := range h {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	w := &briefly{ResponseRecorder: httptest.NewRecorder()}
	if strings.HasPrefix(op.id, "stream-") {
		w.leave = cancel
	}
	s.server.ServeHTTP(w, r)
	return w.status, w.Body.String()
}

// briefly records an answer and goes away when a stream has begun.
type briefly struct {
	*httptest.ResponseRecorder
	status int
	leave  func()
}

func (b *briefly) WriteHeader(status int) {
	if b.status == 0 {
		b.status = status
	}
	b.ResponseRecorder.WriteHeader(status)
	if b.leave != nil {
		b.leave()
	}
}

func (b *briefly) Write(p []byte) (int, error) {
	if b.status == 0 {
		b.WriteHeader(http.StatusOK)
	}
	return b.ResponseRecorder.Write(p)
}

// rows is every row of the database that names the organization or anything in
// it, without what every request may note.
func (s *scene) rows() map[string][]string {
	s.Helper()
	names, err := s.conn.Query(s.Context(), `SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
		AND table_name NOT IN ('audit_log', 'sessions', 'rate_limits', 'goose_db_version')`)
	require.NoError(s, err)
	tables, err := pgx.CollectRows(names, pgx.RowTo[string])
	require.NoError(s, err)
	patterns := []string{}
	for _, id := range s.ids {
		patterns = append(patterns, "%"+id+"%")
	}
	rows := map[string][]string{}
	for _, table := range tables {
		found, err := s.conn.Query(s.Context(), `SELECT row FROM (SELECT (to_jsonb(t) - 'last_used_at')::text AS row FROM `+pgx.Identifier{table}.Sanitize()+` t) r
			WHERE row LIKE ANY($1) ORDER BY row`, patterns)
		require.NoError(s, err)
		rows[table], err = pgx.CollectRows(found, pgx.RowTo[string])
		require.NoError(s, err)
	}
	return rows
}
