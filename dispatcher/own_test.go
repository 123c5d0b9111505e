package dispatcher_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/edge"
)

func TestOwn_answersHeadAndOptions(t *testing.T) {
	w := newWorld(t, nil)
	for _, path := range []string{"/health", "/health/detailed", "/dispatch", "/api/dispatch", "/docs", "/openapi.json"} {
		a := w.get("localhost", path)
		require.Equal(t, 200, a.status, path)
		head := w.do("HEAD", "localhost", path)
		require.Equal(t, 200, head.status, path)
		require.Empty(t, head.body)
		require.Equal(t, a.header.Get("Content-Type"), head.header.Get("Content-Type"))
		options := w.do("OPTIONS", "localhost", path)
		require.Equal(t, 204, options.status, path)
		require.Equal(t, "GET, HEAD, OPTIONS", options.header.Get("Allow"))
		refused := w.do("DELETE", "localhost", path)
		require.Equal(t, 405, refused.status, path)
		require.NotEmpty(t, refused.header.Get("Allow"))
		require.Contains(t, refused.body, `"requestId"`)
	}
}

func TestOwn_keepsThePathsOfSigningIn(t *testing.T) {
	w := newWorld(t, nil)
	for _, method := range []string{"GET", "POST", "DELETE"} {
		a := w.do(method, "localhost", "/api/auth/sign-in/email", "Content-Length", "0")
		require.Equal(t, 404, a.status)
		var body struct{ Error, Message, RequestID, Timestamp string }
		require.NoError(t, json.Unmarshal([]byte(a.body), &body))
		require.Equal(t, "Not found", body.Error)
		require.Contains(t, body.Message, "/api/auth")
	}
}

func TestOwn_letsPeopleSignInAtItsOwnHostsAlone(t *testing.T) {
	w := newWorld(t, func(o *dispatcher.Options) {
		o.Auth = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, r.Method+" "+r.URL.Path)
		})
	})
	for _, method := range []string{"GET", "POST"} {
		a := w.do(method, "localhost", "/api/auth/sign-in/email", "Content-Length", "0")
		require.Equal(t, http.StatusTeapot, a.status)
		require.Equal(t, method+" /api/auth/sign-in/email", a.body)
	}
	// A site may have such a path of its own.
	require.Equal(t, 404, w.get("nobody.localhost", "/api/auth/ok").status)
}

func TestOwn_documentDescribesWhatAnswers(t *testing.T) {
	w := newWorld(t, nil)
	a := w.get("localhost", "/openapi.json")
	var document struct {
		OpenAPI string
		Info    struct{ Title, Version string }
		Paths   map[string]map[string]json.RawMessage
	}
	require.NoError(t, json.Unmarshal([]byte(a.body), &document))
	require.Equal(t, "3.1.0", document.OpenAPI)
	require.Equal(t, "1.2.3", document.Info.Version)
	require.NotEmpty(t, document.Info.Title)
	ids := make(map[string]bool)
	for path, item := range document.Paths {
		for method, raw := range item {
			if method == "parameters" {
				continue
			}
			var operation struct {
				OperationID, Summary string
				Responses            map[string]struct{ Description string }
			}
			require.NoError(t, json.Unmarshal(raw, &operation), path)
			require.False(t, ids[operation.OperationID], operation.OperationID)
			ids[operation.OperationID] = true
			require.NotEmpty(t, operation.Summary)
			for _, response := range operation.Responses {
				require.NotEmpty(t, response.Description, path)
			}
		}
		if strings.Contains(path, "dispatch") {
			require.Len(t, item, 8, "every method and the parameters")
		} else {
			require.Equal(t, 200, w.get("localhost", path).status, path)
		}
	}
	require.Contains(t, document.Paths, "/dispatch/{worker}/{path}")
	require.Contains(t, document.Paths, "/api/dispatch")
	// The fields the document promises are those of the answers.
	var promised, got map[string]any
	require.NoError(t, json.Unmarshal(exampleOf(t, document.Paths["/health/detailed"]["get"]), &promised))
	require.NoError(t, json.Unmarshal([]byte(w.get("localhost", "/health/detailed").body), &got))
	for name := range got {
		require.Contains(t, promised, name)
	}
	require.Equal(t, len(promised), len(got))

	page := w.get("localhost", "/docs")
	require.Contains(t, page.header.Get("Content-Security-Policy"), "default-src 'none'")
	require.Contains(t, page.body, "Slipway Dispatcher")
}

func exampleOf(t *testing.T, raw json.RawMessage) json.RawMessage {
	t.Helper()
	var operation struct {
		Responses map[string]struct {
			Content map[string]struct{ Example json.RawMessage }
		}
	}
	require.NoError(t, json.Unmarshal(raw, &operation))
	return operation.Responses["200"].Content["application/json"].Example
}

// hostOfWorkers only says how it is.
type hostOfWorkers struct{ edge.Workers }

func (hostOfWorkers) Status() edge.Status {
	return edge.Status{Workers: make([]edge.WorkerStatus, 3), MaxWorkers: 500, MemoryBytes: 1 << 20, MemoryLimit: 1 << 30}
}

func TestHealth_showsTheHostOfWorkersWhenThereIsOne(t *testing.T) {
	w := newWorld(t, func(o *dispatcher.Options) { o.Workers = hostOfWorkers{} })
	var body struct{ Checks map[string]map[string]any }
	require.NoError(t, json.Unmarshal([]byte(w.get("localhost", "/health/detailed").body), &body))
	require.Equal(t, map[string]any{
		"status": "available", "workers": 3.0, "max_workers": 500.0, "memory_bytes": 1048576.0, "memory_limit_bytes": 1073741824.0,
		"starts": 0.0, "crashes": 0.0, "exceeded_cpu": 0.0, "exceeded_memory": 0.0,
	}, body.Checks["edge"])
	require.Contains(t, body.Checks, "hyperdrive")
}

// slowDatabase answers when it is told to, and counts who asks.
type slowDatabase struct {
	asked  atomic.Int64
	answer chan struct{}
}

func (s *slowDatabase) Ping(context.Context) error {
	s.asked.Add(1)
	<-s.answer // for longer than its caller has, should the test be held up
	return nil
}

func TestHealth_manyWhoAskAtOnceAskTheDatabaseOnce(t *testing.T) {
	database := &slowDatabase{answer: make(chan struct{})}
	w := newWorld(t, func(o *dispatcher.Options) { o.Database = database })
	const many = 50
	var began atomic.Int64
	var asking sync.WaitGroup
	for range many {
		asking.Go(func() {
			recorder := httptest.NewRecorder()
			began.Add(1)
			w.d.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "http://localhost/health/detailed", nil))
			assert.Equal(t, 200, recorder.Code)
		})
	}
	eventually(t, func() bool { return began.Load() == many && database.asked.Load() > 0 })
	close(database.answer)
	asking.Wait()
	require.Less(t, database.asked.Load(), int64(many/2))
}
