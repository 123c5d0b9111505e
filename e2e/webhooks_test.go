package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// message is one request that a receiver got.
type message struct {
	id, timestamp, signatures string
	header                    http.Header
	body                      []byte
}

// event is the body of a message.
type event struct {
	Type      string
	Timestamp time.Time
	Data      struct {
		ProjectID, DeploymentID, WorkerName, Step, StepStatus, Outcome, URL, ReleaseID string
	}
}

// receiver takes messages and refuses the first one.
type receiver struct {
	mu  sync.Mutex
	got []message
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, message{q.Header.Get("Webhook-Id"), q.Header.Get("Webhook-Timestamp"), q.Header.Get("Webhook-Signature"), q.Header, body})
	if len(r.got) == 1 {
		http.Error(w, "not now", http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) messages() []message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]message(nil), r.got...)
}

// signedWith verifies a message as https://www.standardwebhooks.com says, and gives
// whether one of its signatures is by that secret.
func (m message) signedWith(s *system, secret string) bool {
	s.t.Helper()
	sent, err := strconv.ParseInt(m.timestamp, 10, 64)
	require.NoError(s.t, err)
	require.Less(s.t, math.Abs(time.Since(time.Unix(sent, 0)).Seconds()), 300.0)
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	require.NoError(s.t, err)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(m.id + "." + m.timestamp + "."))
	mac.Write(m.body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for signature := range strings.SplitSeq(m.signatures, " ") {
		if hmac.Equal([]byte(signature), []byte(want)) {
			return true
		}
	}
	return false
}

// delivery is what the delivery log says of one.
type delivery struct {
	ID, EventID, Event, Status string
	Attempts, LastStatus       int
	Payload                    json.RawMessage
	AttemptLog                 []struct {
		Number, Status int
		Answer, Error  string
	}
}

// deliveries is the whole log of a webhook, oldest first, with what was sent.
func (s *system) deliveries(hook string) []delivery {
	s.t.Helper()
	var list struct {
		Items      []delivery
		NextCursor string
	}
	s.must(http.MethodGet, "/webhooks/"+hook+"/deliveries?limit=100", nil, &list)
	require.Empty(s.t, list.NextCursor)
	all := make([]delivery, len(list.Items))
	for i, d := range list.Items {
		s.must(http.MethodGet, "/webhooks/"+hook+"/deliveries/"+d.ID, nil, &all[len(all)-1-i])
	}
	return all
}

// tellsWebhooks follows one deployment by what a receiver is told.
func tellsWebhooks(s *system, _ []string) {
	received := &receiver{}
	server := httptest.NewServer(received)
	s.t.Cleanup(server.Close)
	const name = "told"
	project := s.newProject(name)
	var hook struct{ ID, Secret string }
	status, body := s.call(http.MethodPost, "/webhooks", map[string]any{"url": server.URL + "/hook?key=hidden", "projectId": project, "events": []string{"deployment.*"}}, nil)
	require.Equal(s.t, http.StatusCreated, status, body)
	decode(s.t, body, &hook)
	require.NotContains(s.t, body, "hidden")

	id := s.deploy(project, worker(name, says("hello")))
	st := s.succeed(id)
	// The first message was refused; it comes again some five seconds later.
	var log []delivery
	s.wait(patience, "every delivery to arrive", func() bool {
		log = s.deliveries(hook.ID)
		ended, cleaned := false, false
		for _, d := range log {
			if d.Status != "succeeded" {
				return false
			}
			var e event
			decode(s.t, string(d.Payload), &e)
			ended = ended || e.Type == "deployment.succeeded"
			cleaned = cleaned || e.Data.Step == string(models.StepCleanup) && e.Data.StepStatus == string(models.StepCompleted)
		}
		return ended && cleaned
	})

	came := map[string][]message{}
	for _, m := range received.messages() {
		require.True(s.t, m.signedWith(s, hook.Secret), m.id)
		require.Equal(s.t, "application/json", m.header.Get("Content-Type"))
		came[m.id] = append(came[m.id], m)
	}
	require.Len(s.t, came, len(log), "every event of the log came, and no other")
	retried := 0
	counted := map[string]int{}
	for _, d := range log {
		require.Len(s.t, came[d.EventID], d.Attempts, "%s %s", d.Event, d.ID)
		for _, m := range came[d.EventID] {
			require.JSONEq(s.t, string(d.Payload), string(m.body))
		}
		require.Len(s.t, d.AttemptLog, d.Attempts)
		if last := d.AttemptLog[d.Attempts-1]; true {
			require.Equal(s.t, http.StatusNoContent, last.Status)
		}
		if d.Attempts == 2 {
			retried++
			require.Equal(s.t, http.StatusInternalServerError, d.AttemptLog[0].Status)
			require.Equal(s.t, "not now\n", d.AttemptLog[0].Answer)
			require.Equal(s.t, received.messages()[0].id, d.EventID)
		}
		var e event
		decode(s.t, string(d.Payload), &e)
		require.Equal(s.t, d.Event, e.Type)
		require.Equal(s.t, []string{project, id, name}, []string{e.Data.ProjectID, e.Data.DeploymentID, e.Data.WorkerName})
		counted[strings.TrimSpace(e.Type+" "+e.Data.Step+" "+e.Data.StepStatus)]++
		if e.Type == "deployment.succeeded" {
			require.Equal(s.t, []string{"succeeded", st.ReleaseID, st.URL}, []string{e.Data.Outcome, e.Data.ReleaseID, e.Data.URL})
		}
	}
	require.Equal(s.t, 1, retried)
	want := map[string]int{"deployment.queued": 1, "deployment.started": 1, "deployment.succeeded": 1}
	for _, step := range models.AllSteps() {
		want["deployment.step "+string(step)+" completed"] = 1
		// A step that ends as soon as it has begun is told of once.
		if begun := "deployment.step " + string(step) + " in_progress"; counted[begun] > 0 {
			want[begun] = 1
		}
	}
	require.Equal(s.t, want, counted)
	require.Equal(s.t, "deployment.queued", log[0].Event)

	s.redelivers(hook.ID, hook.Secret, log[0], received)
}

// redelivers sends a delivery again by hand, after the secret was replaced.
func (s *system) redelivers(hook, secret string, d delivery, received *receiver) {
	s.t.Helper()
	var rotated struct{ Secret string }
	s.must(http.MethodPost, "/webhooks/"+hook+"/rotate-secret", nil, &rotated)
	before := len(received.messages())
	_, stderr, err := s.slipway("webhooks", "redeliver", hook, d.ID)
	require.NoError(s.t, err, stderr)
	s.wait(patience, "the message once more", func() bool { return len(received.messages()) > before })
	again := received.messages()[before]
	require.Equal(s.t, d.EventID, again.id, "the same event")
	require.JSONEq(s.t, string(d.Payload), string(again.body))
	require.True(s.t, again.signedWith(s, rotated.Secret), "signed with the new secret")
	require.True(s.t, again.signedWith(s, secret), "and, for a day, with the one before")
	s.wait(patience, "the log to tell of it", func() bool {
		var now delivery
		s.must(http.MethodGet, "/webhooks/"+hook+"/deliveries/"+d.ID, nil, &now)
		return now.Status == "succeeded" && now.Attempts == d.Attempts+1 && len(now.AttemptLog) == now.Attempts
	})
	require.Len(s.t, received.messages(), before+1)
}
