package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	temporallog "go.temporal.io/sdk/log"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/blob/fs"
	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/dev/temporal/temporaltest"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
	"github.com/slipwayhq/slipway/seal"
	"github.com/slipwayhq/slipway/tools/leaks"
	"github.com/slipwayhq/slipway/variables"
	"github.com/slipwayhq/slipway/webhook"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(temporaltest.Wrap(pgtest.Wrap(m))) }

// patience is how long these tests wait for what comes sooner or later, on the
// slowest machine; none of them is about how soon.
const patience = time.Minute

// gateway is a gateway on a database and a blob folder of its own, with one
// organization that has one project.
type gateway struct {
	*testing.T
	server      *api.Server
	opts        api.Options
	http        *httptest.Server
	databaseURL string
	store       *models.Store
	blobs       blob.Store
	log         *lockedBuffer
	owner       models.Identity
	token       string
	project     models.Project
	vault       *webhook.Vault

	mu      sync.Mutex
	started []models.Deployment
	looked  []models.Domain
	// rollouts are those started; canceled the ids of those canceled.
	rollouts []models.Rollout
	canceled []string
	// cancelFails is what canceling a rollout's workflow comes to.
	cancelFails error
	// delivered are those that were to be sent at once.
	delivered []models.Delivery
	// lookFails is what looking at a domain fails with.
	lookFails error
}

// newGateway makes one; change may replace what it is made of.
func newGateway(t *testing.T, change ...func(*api.Options)) *gateway {
	t.Helper()
	g := &gateway{T: t, log: &lockedBuffer{}}
	var err error
	g.databaseURL = modelstest.URL(t)
	g.store, err = models.OpenStore(models.StoreOptions{URL: g.databaseURL})
	require.NoError(t, err)
	t.Cleanup(func() { _ = g.store.Close() })
	g.blobs, err = fs.New(fs.Options{Root: t.TempDir()})
	require.NoError(t, err)

	key, err := seal.FromFile(filepath.Join(t.TempDir(), "secret.key"))
	require.NoError(t, err)
	g.vault = webhook.NewVault(key)
	opts := api.Options{
		Store: g.store, Blobs: blob.Hold(g.blobs, g.store), Variables: variables.New(g.store, key), Temporal: unreachableTemporal(t), Log: g.logger(), Version: "1.2.3",
		Limits: api.Limits{AnswerTimeout: 10 * patience},
		Start:  g.start, BuildQueue: "builds", ActiveTimeout: time.Minute, ParkTimeout: time.Hour,
		SiteURL: func(worker string) string { return "http://" + worker + ".slipway.test/" }, Domain: "slipway.test",
		WebhookVault: g.vault, Deliver: g.deliver,
		CheckDomain: g.checkDomain, StartRollout: g.startRollout, CancelRollout: g.cancelRollout, CNAMETarget: "dispatcher.slipway.test",
	}
	for _, c := range change {
		c(&opts)
	}
	g.opts = opts
	g.server, err = api.New(opts)
	require.NoError(t, err)
	g.http = httptest.NewServer(g.server)
	t.Cleanup(g.http.Close)

	g.owner, g.token = g.newOwner("owner@example.com")
	g.project, err = g.store.CreateProject(t.Context(), g.owner.OrganizationID, "Shop", "shop")
	require.NoError(t, err)
	return g
}

func (g *gateway) logger() logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(g.log)
	log.SetLevel(logrus.DebugLevel)
	log.SetFormatter(&logrus.JSONFormatter{})
	return log
}

// lockedBuffer can be read while requests still write to it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (g *gateway) newOwner(email string) (models.Identity, string) {
	g.Helper()
	identity, err := g.store.EnsureOwner(g.Context(), "Org of "+email, email)
	require.NoError(g, err)
	_, token, err := g.store.CreateToken(g.Context(), models.NewToken{OrganizationID: identity.OrganizationID, UserID: identity.UserID, Name: "test"})
	require.NoError(g, err)
	return identity, token
}

func (g *gateway) start(_ context.Context, d models.Deployment) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.started = append(g.started, d)
	return "run-" + d.ID, nil
}

func (g *gateway) checkDomain(_ context.Context, d models.Domain) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lookFails != nil {
		return "", g.lookFails
	}
	g.looked = append(g.looked, d)
	return "run-" + d.ID, nil
}

func (g *gateway) startRollout(_ context.Context, r models.Rollout) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rollouts = append(g.rollouts, r)
	return "run-" + r.ID, nil
}

func (g *gateway) cancelRollout(_ context.Context, id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.canceled = append(g.canceled, id)
	return g.cancelFails
}

func (g *gateway) deliver(_ context.Context, d models.Delivery) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.delivered = append(g.delivered, d)
	return "run-" + d.ID, nil
}

// own makes a host a project's own.
func (g *gateway) own(p models.Project, host string) models.Domain {
	g.Helper()
	d, err := g.store.AddDomain(g.Context(), p, host)
	require.NoError(g, err)
	require.NoError(g, g.store.VerifyDomain(g.Context(), d.ID))
	d.Status = models.DomainVerified
	return d
}

func (g *gateway) startedWorkflows() []models.Deployment {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]models.Deployment{}, g.started...)
}

// unreachableTemporal is a client of a server that is not there: nobody listens on
// port 1, while a port that was free may be somebody's a moment later.
func unreachableTemporal(t *testing.T) client.Client {
	t.Helper()
	return temporalClient(t, "127.0.0.1:1")
}

func temporalClient(t *testing.T, address string) client.Client {
	t.Helper()
	c, err := client.NewLazyClient(client.Options{HostPort: address, Logger: silent{}})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

type silent struct{}

func (silent) Debug(string, ...any)                  {}
func (silent) Info(string, ...any)                   {}
func (silent) Warn(string, ...any)                   {}
func (silent) Error(string, ...any)                  {}
func (silent) With(...any) temporallog.Logger        { return silent{} }
func (silent) WithCallerSkip(int) temporallog.Logger { return silent{} }

// answer is what came back.
type answer struct {
	*testing.T
	status int
	header http.Header
	body   []byte
}

type header map[string]string

// do sends a request as the owner. A body that is neither nil, a string, bytes
// nor a reader goes as JSON.
func (g *gateway) do(method, path string, body any, headers ...header) answer {
	g.Helper()
	var reader io.Reader
	kind := "application/json"
	switch b := body.(type) {
	case nil:
		kind = ""
	case string:
		reader = strings.NewReader(b)
	case []byte:
		reader = bytes.NewReader(b)
	case io.Reader:
		reader = b
	default:
		data, err := json.Marshal(b)
		require.NoError(g, err)
		reader = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(g.Context(), method, g.http.URL+path, reader)
	require.NoError(g, err)
	request.Header.Set("Authorization", "Bearer "+g.token)
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	for _, h := range headers {
		for name, value := range h {
			request.Header.Del(name)
			if value != "" {
				request.Header.Set(name, value)
			}
		}
	}
	response, err := g.http.Client().Do(request)
	require.NoError(g, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	require.NoError(g, err)
	return answer{T: g.T, status: response.StatusCode, header: response.Header, body: data}
}

// into decodes a successful answer.
func (a answer) into(status int, out any) {
	a.Helper()
	require.Equal(a, status, a.status, "%s", a.body)
	require.NoError(a, json.Unmarshal(a.body, out), "%s", a.body)
}

// fields decodes any JSON object.
func (a answer) fields() map[string]any {
	a.Helper()
	var object map[string]any
	require.NoError(a, json.Unmarshal(a.body, &object), "%s", a.body)
	return object
}

// failed checks that the answer is the error envelope, exactly, with that code.
func (a answer) failed(code models.Code) map[string]any {
	a.Helper()
	require.Equal(a, code.HTTPStatus(), a.status, "%s", a.body)
	require.Equal(a, "application/json", strings.Split(a.header.Get("Content-Type"), ";")[0])
	object := a.fields()
	require.Equal(a, false, object["success"])
	require.Equal(a, string(code), object["error"])
	require.NotEmpty(a, object["message"])
	_, err := time.Parse(time.RFC3339, object["timestamp"].(string))
	require.NoError(a, err)
	for name := range object {
		require.Contains(a, []string{"success", "error", "message", "details", "timestamp"}, name)
	}
	return object
}

// refuses checks for a VALIDATION_ERROR about exactly that field.
func (a answer) refuses(field, message string) {
	a.Helper()
	object := a.failed(models.CodeValidation)
	details, ok := object["details"].([]any)
	require.True(a, ok, "%s", a.body)
	for _, d := range details {
		detail := d.(map[string]any)
		if detail["field"] == field && strings.Contains(detail["message"].(string), message) {
			return
		}
	}
	require.Failf(a, "field not named", "want %s: %s\ngot %s", field, message, a.body)
}

// deployBody is a valid body of POST /deploy with these fields changed; a nil
// value leaves a field out.
func (g *gateway) deployBody(changes map[string]any) map[string]any {
	body := map[string]any{
		"projectId": g.project.ID, "orgId": g.owner.OrganizationID, "userId": g.owner.UserID,
		"initFiles": []any{map[string]any{"path": "index.html", "content": "<h1>hi</h1>"}},
	}
	for name, value := range changes {
		if value == nil {
			delete(body, name)
			continue
		}
		body[name] = value
	}
	return body
}

// deploy posts a valid request and returns the deployment's row.
func (g *gateway) deploy(changes map[string]any) models.Deployment {
	g.Helper()
	var got api.DeployAnswer
	g.do("POST", "/deploy", g.deployBody(changes)).into(200, &got)
	row, err := g.store.Deployment(g.Context(), got.DeploymentID)
	require.NoError(g, err)
	return row
}
