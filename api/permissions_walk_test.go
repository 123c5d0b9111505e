package api_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/models"
)

// expected says again, apart from the table that the gateway goes by, who may
// call what: change both, knowingly. "everybody" needs nobody, "person" somebody
// who is signed in, "anybody" a person or a token; else the least role, the least
// scope of a token, and whether a token of one project will do for it.
var expected = map[string]string{
	"service":             "everybody",
	"health":              "everybody",
	"deploy-status":       "everybody",
	"create-device-code":  "everybody",
	"create-device-token": "everybody",

	"me":                 "anybody",
	"list-organizations": "anybody",

	"create-organization":  "person",
	"list-own-invitations": "person",
	"accept-invitation":    "person",
	"list-own-audit":       "person",
	"export-own-audit":     "person",
	"get-device":           "person",
	"approve-device":       "person",
	"deny-device":          "person",

	"list-deployments":       "viewer read project",
	"get-deployment":         "viewer read project",
	"deployment-logs":        "viewer read project",
	"stream-deployment-logs": "viewer read project",
	"list-dead-letters":      "viewer read project",
	"list-projects":          "viewer read project",
	"get-project":            "viewer read project",
	"stream-project-logs":    "viewer read project",
	"stream-events":          "viewer read project",
	"list-releases":          "viewer read project",
	"list-rollouts":          "viewer read project",
	"get-rollout":            "viewer read project",
	"list-variables":         "viewer read project",
	"list-domains":           "viewer read project",
	"get-domain":             "viewer read project",
	"list-tokens":            "viewer read project",
	"get-token":              "viewer read project",

	"get-organization": "viewer read",
	"get-usage":        "viewer read",
	"list-members":     "viewer read",
	"list-webhooks":    "viewer read",
	"get-webhook":      "viewer read",
	"list-deliveries":  "viewer read",
	"get-delivery":     "viewer read",

	// Of these the rows decide the rest: which tokens one sees, and that only an
	// admin removes another.
	"revoke-token":  "viewer read project",
	"create-token":  "viewer admin project",
	"remove-member": "viewer admin",

	"deploy":               "developer deploy project",
	"missing-blobs":        "developer deploy project",
	"put-blob":             "developer deploy project",
	"retry-deployment":     "developer deploy project",
	"abandon-deployment":   "developer deploy project",
	"cancel-deployment":    "developer deploy project",
	"retry-dead-letters":   "developer deploy project",
	"abandon-dead-letters": "developer deploy project",
	"rollback":             "developer deploy project",
	"create-rollout":       "developer deploy project",
	"cancel-rollout":       "developer deploy project",
	"create-project":       "developer deploy",

	"change-project":   "developer admin project",
	"change-variables": "developer admin project",
	"add-domain":       "developer admin project",
	"check-domain":     "developer admin project",
	"remove-domain":    "developer admin project",

	"list-audit":       "admin read",
	"export-audit":     "admin read",
	"list-invitations": "admin read",

	"delete-project":        "admin admin",
	"transfer-project":      "admin admin",
	"create-webhook":        "admin admin",
	"change-webhook":        "admin admin",
	"delete-webhook":        "admin admin",
	"rotate-webhook-secret": "admin admin",
	"test-webhook":          "admin admin",
	"redeliver":             "admin admin",
	"change-organization":   "admin admin",
	"change-member":         "admin admin",
	"invite-member":         "admin admin",
	"withdraw-invitation":   "admin admin",

	"delete-organization": "owner admin",
}

// caller is one way to call.
type caller struct {
	name    string
	headers header
	// session and token say what it is; neither is nobody.
	session, token bool
	role           models.Role
	scope          models.Scope
	// project is of a token of one project: the scene's, or another.
	project string
	foreign bool
}

// callers are every role with a session and tokens of every scope, of all
// projects and of one, people of another organization, and nobody.
func (s *scene) callers() []caller {
	s.Helper()
	other, err := s.store.CreateProject(s.Context(), s.org, "Other", "other")
	require.NoError(s, err)
	var all []caller
	token := func(c caller, user, organization string) {
		_, secret, err := s.store.CreateToken(s.Context(), models.NewToken{
			OrganizationID: organization, UserID: user, Name: "walk", Scope: c.scope, ProjectID: c.project,
		})
		require.NoError(s, err)
		if c.headers == nil {
			c.headers = header{}
		}
		c.headers["Authorization"], c.token = "Bearer "+secret, true
		all = append(all, c)
	}
	for _, role := range models.Roles() {
		p := s.people[role]
		all = append(all, caller{name: string(role) + "'s session", headers: p.in(s.org), session: true, role: role, scope: models.ScopeAdmin})
		for _, scope := range models.Scopes() {
			token(caller{name: fmt.Sprintf("%s's %s token", role, scope), role: role, scope: scope}, p.id, s.org)
			token(caller{name: fmt.Sprintf("%s's %s token of the project", role, scope), role: role, scope: scope, project: s.ids["prj"]}, p.id, s.org)
		}
		token(caller{name: string(role) + "'s token of another project", role: role, scope: models.ScopeAdmin, project: other.ID}, p.id, s.org)
	}
	all = append(all,
		caller{name: "a foreign session", headers: s.foreign.in(""), session: true, foreign: true},
		caller{name: "a foreign session that names the organization", headers: s.foreign.in(s.org), session: true, foreign: true},
		caller{name: "nobody", headers: header{}},
		caller{name: "an unknown token", headers: header{"Authorization": "Bearer slp_" + strings.Repeat("A", 43)}},
		caller{name: "an unknown session", headers: header{"Cookie": "better-auth.session_token=x.y", "Origin": appURL}},
	)
	token(caller{name: "a foreign token", foreign: true, scope: models.ScopeAdmin}, s.foreign.id, s.foreignOrg)
	token(caller{name: "a foreign token that names the organization", foreign: true, scope: models.ScopeAdmin, headers: header{organizationHeader: s.org}}, s.foreign.id, s.foreignOrg)
	return all
}

// may says whether the expectation lets a caller through to the organization.
func (c caller) may(rule string) bool {
	switch rule {
	case "everybody":
		return true
	case "person":
		return c.session
	case "anybody":
		return c.session || c.token
	}
	words := strings.Fields(rule)
	return !c.foreign && c.role.Includes(models.Role(words[0])) && c.scope.Includes(models.Scope(words[1])) && (c.project == "" || slices.Contains(words, "project"))
}

// walk calls every operation as every caller, and says what was not as expected:
// those who may are let through to something that is not there, so that nothing
// is done; everybody else asks for what would do something and gets nowhere.
func (s *scene) walk(ops []walked, callers []caller) []string {
	var mu sync.Mutex
	var wrong []string
	var wg sync.WaitGroup
	work := make(chan func() string)
	for range 4 {
		wg.Go(func() {
			for try := range work {
				if problem := try(); problem != "" {
					mu.Lock()
					wrong = append(wrong, problem)
					mu.Unlock()
				}
			}
		})
	}
	for _, op := range ops {
		for _, c := range callers {
			work <- func() string {
				problem := s.try(op, c)
				if problem == "" {
					problem = s.tryCrossed(op, c)
				}
				if problem != "" {
					return op.id + ": " + c.name + ": " + problem
				}
				return ""
			}
		}
	}
	close(work)
	wg.Wait()
	slices.Sort(wrong)
	return wrong
}

func (s *scene) try(op walked, c caller) string {
	rule := expected[op.id]
	other := c.project != "" && c.project != s.ids["prj"]
	if rule == "everybody" || c.may(rule) && !other && !c.foreign {
		return s.tryAllowed(op, c)
	}
	target, body := s.target(op, false), s.meaningful(op)
	encoded, _ := json.Marshal([]any{target, body, c.headers})
	sent := string(encoded)
	// named says that the request is about what the organization has.
	named := slices.ContainsFunc(s.markers, func(marker string) bool { return strings.Contains(sent, marker) }) || strings.HasPrefix(op.path, "/device/")
	if op.method != "GET" && !named && (c.foreign || other && c.may(rule)) {
		// They may, in what is theirs.
		return ""
	}
	if op.id == "deny-device" && c.session {
		// Whoever has a code may refuse it, which would be the end of it.
		return ""
	}
	status, answer := s.call(op, target, body, c.headers)
	code := codeOf(answer)
	for _, marker := range s.markers {
		if strings.Contains(answer, marker) && !strings.Contains(sent, marker) && !s.theirs(c, marker) {
			return fmt.Sprintf("learns of %q: %d %s", marker, status, answer)
		}
	}
	switch {
	case status >= 500:
		return fmt.Sprintf("breaks it: %d %s", status, answer)
	case !c.session && !c.token:
		if status != 401 || code != models.CodeUnauthorized {
			return fmt.Sprintf("is answered %d %s, not 401", status, answer)
		}
	case !c.may(rule) && !c.foreign:
		if status != 403 || code != models.CodeForbidden {
			return fmt.Sprintf("is answered %d %s, not 403", status, answer)
		}
	case rule == "person" && !c.session:
		if status != 403 {
			return fmt.Sprintf("is answered %d %s, not 403", status, answer)
		}
	case rule == "person" && strings.HasPrefix(op.path, "/device/"):
		// Whoever has a code may see and refuse what it is for.
		if op.id == "approve-device" && status != 404 {
			return fmt.Sprintf("is answered %d %s, not 404", status, answer)
		}
	case rule == "person" && op.id != "accept-invitation":
		// About themselves, whatever organization the request names.
	case named && status != 404 && status != 403:
		return fmt.Sprintf("is answered %d %s, neither 403 nor 404", status, answer)
	case named && len(op.parameters) > 0 && c.may(rule) && status != 404:
		return fmt.Sprintf("is told that what it names exists: %d %s", status, answer)
	}
	return ""
}

// tryAllowed asks for something that is not there, or in a way that is refused
// as malformed: what matters is that it was not refused for who asks.
func (s *scene) tryAllowed(op walked, c caller) string {
	target, body := s.target(op, op.method != "GET"), any(nil)
	switch {
	case op.body != nil:
		// A field that there is not is also how a body would assign what is not a
		// caller's to choose.
		target, body = s.target(op, false), map[string]any{"organizationId": s.foreignOrg, "role": "owner", "isAdmin": true}
	case op.id == "put-blob":
		body = []byte("x")
	}
	status, answer := s.call(op, target, body, c.headers)
	code := codeOf(answer)
	switch {
	case op.body != nil && (status != 400 || code != models.CodeValidation):
		return fmt.Sprintf("assigns fields that there are not: %d %s", status, answer)
	case status == 401, status == 403, code == models.CodeOrganizationNotFound:
		return fmt.Sprintf("is refused: %d %s", status, answer)
	case status >= 500 && op.id != "health":
		return fmt.Sprintf("breaks it: %d %s", status, answer)
	}
	return ""
}

// tryCrossed asks for what the organization has below something of the caller's
// own: another's delivery under one's own webhook.
func (s *scene) tryCrossed(op walked, c caller) string {
	own := s.foreignIDs
	if !c.foreign {
		own = map[string]string{"prj": c.project}
	}
	if len(op.parameters) < 2 || !c.foreign && (c.project == "" || c.project == s.ids["prj"]) || c.foreign && c.headers[organizationHeader] != "" {
		return ""
	}
	target := s.path(op, false, own)
	if target == s.target(op, false) || op.id == "delete-project" {
		// It is not below anything, or the rest does not name what is another's.
		return ""
	}
	status, answer := s.call(op, target, s.meaningful(op), c.headers)
	if status != 404 && !(status == 403 && !c.foreign) {
		return fmt.Sprintf("reaches into another's from its own, %s: %d %s", target, status, answer)
	}
	return ""
}

// theirs says whether a marker is the caller's own business.
func (s *scene) theirs(c caller, marker string) bool {
	return c.role != "" && (marker == s.org || strings.EqualFold(marker, "zanzibar") || marker == s.people[c.role].id) ||
		// Members look at one another.
		c.role != "" && strings.HasPrefix(marker, models.PrefixUser+"_")
}

func codeOf(answer string) models.Code {
	var envelope struct{ Error models.Code }
	_ = json.Unmarshal([]byte(answer), &envelope)
	return envelope.Error
}

func TestPermissions_holdForEveryOperationAndEveryKindOfCaller(t *testing.T) {
	s := newScene(t)
	var ids []string
	for _, op := range s.ops {
		ids = append(ids, op.id)
		require.Contains(t, expected, op.id, "say in this file who may call it")
	}
	for id := range expected {
		require.Contains(t, ids, id, "there is no such operation any more")
	}
	callers := s.callers()
	before := s.rows()
	begin := time.Now()
	wrong := s.walk(s.ops, callers)
	t.Logf("%d operations as %d callers in %s", len(s.ops), len(callers), time.Since(begin))
	require.True(t, len(wrong) == 0, "%d are not as expected, such as\n%s", len(wrong), strings.Join(wrong[:min(len(wrong), 20)], "\n"))
	require.Equal(t, before, s.rows(), "somebody who may not changed something")

	// The walk would notice: opened to everybody, or to every member, it finds it.
	for _, id := range []string{"list-members", "delete-project", "get-deployment"} {
		at := slices.IndexFunc(s.ops, func(op walked) bool { return op.id == id })
		restore := api.OpenOperation(id)
		require.NotEmpty(t, s.walk(s.ops[at:at+1], []caller{callers[len(callers)-5]}), id)
		restore()
	}
	for _, id := range []string{"change-webhook", "change-variables", "list-audit"} {
		at := slices.IndexFunc(s.ops, func(op walked) bool { return op.id == id })
		restore := api.LowerOperation(id)
		require.NotEmpty(t, s.walk(s.ops[at:at+1], callers[:2]), id)
		restore()
	}

	// What the others were refused does work: the owner does it all.
	s.worksForTheOwner()
}

// worksForTheOwner makes every request of the walk as the owner. Those with an
// exception are refused for another reason than who asks.
func (s *scene) worksForTheOwner() {
	s.Helper()
	owner := s.people[models.RoleOwner].in(s.org)
	exceptions := map[string]models.Code{
		"retry-deployment":    models.CodeQueue,
		"abandon-deployment":  models.CodeQueue,
		"cancel-deployment":   models.CodeQueue,
		"put-blob":            models.CodeDigestMismatch,
		"accept-invitation":   models.CodeForbidden,
		"create-device-token": models.CodeExpiredToken,
		"deny-device":         models.CodeConflict,
		"delete-project":      models.CodeQueue,
		"transfer-project":    models.CodeOrganizationNotFound,
		"delete-organization": models.CodeConflict,
		"create-rollout":      models.CodeConflict,
	}
	for _, op := range s.ops {
		if op.id == "health" {
			continue
		}
		status, answer := s.call(op, s.target(op, false), s.meaningful(op), owner)
		if code, ok := exceptions[op.id]; ok {
			assert.Equal(s, code, codeOf(answer), "%s: %d %s", op.id, status, answer)
			continue
		}
		assert.True(s, status < 300, "%s: %d %s", op.id, status, answer)
	}
}
