package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// answer is what a worker said.
type answer struct {
	*http.Response
	body []byte
}

func (a answer) text() string { return string(a.body) }

func (a answer) json(t *testing.T, out any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(a.body, out), a.text())
}

// ask sends a request to a worker's host and reads the whole answer.
func (s *system) ask(worker, method, path, body string, header ...string) answer {
	s.t.Helper()
	response := s.open(worker, method, path, body, header...)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	return answer{response, content}
}

// open sends a request and leaves the answer to be read.
func (s *system) open(worker, method, path, body string, header ...string) *http.Response {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.DispatcherURL+path, strings.NewReader(body))
	require.NoError(s.t, err)
	if worker != "" {
		request.Host = worker + ".localhost"
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(request)
	require.NoError(s.t, err)
	return response
}

// ships deploys an example as a project of that name and returns the project.
func (s *system) ships(name string) (project string) {
	s.t.Helper()
	project = s.newProject(name)
	st := s.succeed(s.deploy(project, example(s.t, name)))
	for _, step := range models.AllSteps() {
		require.Equal(s.t, models.StepCompleted, st.Steps.Of(step).Status, step)
	}
	require.False(s.t, st.Steps.Build.Skipped, "a worker is bundled")
	return project
}

// replaced gives the files with one of them changed.
func replaced(t *testing.T, files []initFile, path, old, new string) []initFile {
	t.Helper()
	changed := append([]initFile(nil), files...)
	for i, f := range changed {
		if f.Path == path {
			require.Contains(t, f.Content, old)
			changed[i].Content = strings.ReplaceAll(f.Content, old, new)
			return changed
		}
	}
	t.Fatalf("there is no %s", path)
	return nil
}

// seen waits until a page of a worker says something.
func (s *system) seen(worker, path, words string) {
	s.t.Helper()
	s.wait(patience, worker+path+" to say "+words, func() bool {
		return strings.Contains(s.ask(worker, http.MethodGet, path, "").text(), words)
	})
}

// requireLinksServed fetches every file of its own site that a page names.
func requireLinksServed(t *testing.T, s *system, worker, page string) {
	t.Helper()
	found := references.FindAllStringSubmatch(page, -1)
	require.NotEmpty(t, found, page)
	for _, match := range found {
		file := s.ask(worker, http.MethodGet, match[1], "")
		require.Equal(t, http.StatusOK, file.StatusCode, match[1])
		require.NotEmpty(t, file.body, match[1])
	}
}

type echo struct {
	Method, Path, Body string
	Query, Headers     map[string]string
}

func TestWorkers_examplesAnswer(t *testing.T) {
	s := boot(t)

	t.Run("a plain worker", func(t *testing.T) {
		const name = "worker-plain"
		project := s.ships(name)

		t.Run("answers with its variables and modules", func(t *testing.T) {
			got := s.ask(name, http.MethodGet, "/", "")
			require.Equal(t, http.StatusOK, got.StatusCode)
			require.Equal(t, "Hello from a plain worker.\n"+string(readExample(t, name, "src", "words.txt")), got.text())
			require.Equal(t, http.StatusOK, s.ask(name, http.MethodHead, "/", "").StatusCode)
		})

		t.Run("sees what was sent", func(t *testing.T) {
			for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
				got := s.ask(name, method, "/echo?a=1&b=two%20words", "some words", "X-Sent", "by the test", "X-Slipway-Org", "forged")
				require.Equal(t, http.StatusOK, got.StatusCode, method)
				require.Equal(t, method, got.Header.Get("X-Echo"))
				var said echo
				got.json(t, &said)
				require.Equal(t, method, said.Method)
				require.Equal(t, "/echo", said.Path)
				require.Equal(t, map[string]string{"a": "1", "b": "two words"}, said.Query)
				require.Equal(t, "some words", said.Body)
				require.Equal(t, "by the test", said.Headers["x-sent"])
				require.NotContains(t, said.Headers, "x-slipway-org", "ours never cross")
			}
			large := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
			var said echo
			s.ask(name, http.MethodPost, "/echo", large).json(t, &said)
			require.Equal(t, large, said.Body)
		})

		t.Run("streams", func(t *testing.T) {
			// A busy machine may read the first line late; one that came with the last
			// is never read long before it.
			s.wait(patience, "the first line to come before the last is written", func() bool {
				response := s.open(name, http.MethodGet, "/stream", "")
				defer response.Body.Close()
				lines := bufio.NewScanner(response.Body)
				require.True(t, lines.Scan())
				first := time.Now()
				require.Equal(t, "chunk 1 of 5", lines.Text())
				count := 1
				for lines.Scan() {
					count++
				}
				require.NoError(t, lines.Err())
				require.Equal(t, 5, count)
				return time.Since(first) > 400*time.Millisecond
			})
		})

		t.Run("is asked for every path, and may say that there is nothing", func(t *testing.T) {
			got := s.ask(name, http.MethodGet, "/no/such/path", "")
			require.Equal(t, http.StatusNotFound, got.StatusCode)
			require.Equal(t, "There is no /no/such/path here.\n", got.text())
		})

		t.Run("fails a request without ending", func(t *testing.T) {
			require.GreaterOrEqual(t, s.ask(name, http.MethodGet, "/error", "").StatusCode, 500)
			require.Equal(t, http.StatusOK, s.ask(name, http.MethodGet, "/", "").StatusCode)
		})

		t.Run("is reached by path and by query too", func(t *testing.T) {
			for _, path := range []string{"/dispatch/" + name + "/echo?a=1", "/dispatch?worker=" + name + "&a=1"} {
				got := s.ask("", http.MethodPost, path, "via "+path, "Cookie", "session=ours")
				if strings.HasPrefix(path, "/dispatch?") {
					require.Equal(t, "Hello from a plain worker.\n"+string(readExample(t, name, "src", "words.txt")), got.text())
				} else {
					var said echo
					got.json(t, &said)
					require.Equal(t, "/echo", said.Path)
					require.Equal(t, map[string]string{"a": "1"}, said.Query)
					require.Equal(t, "via "+path, said.Body)
					require.NotContains(t, said.Headers, "cookie", "a tenant never sees a session of ours")
				}
				require.Equal(t, "sandbox", got.Header.Get("Content-Security-Policy"))
			}
		})

		t.Run("is given variables without a build, and a rollback brings the old ones back", func(t *testing.T) {
			var changed struct {
				DeploymentID string `json:"deploymentId"`
				Items        []struct{ Name, Value string }
			}
			s.must(http.MethodPatch, "/projects/"+project+"/variables", map[string]any{"set": []map[string]any{
				{"name": "GREETING", "value": "Good morning"}, {"name": "KEY", "value": "hidden-from-all", "secret": true},
			}}, &changed)
			require.NotEmpty(t, changed.DeploymentID)
			st := s.succeed(changed.DeploymentID)
			require.True(t, st.Steps.Sandbox.Skipped)
			s.seen(name, "/", "Good morning from a plain worker.")
			_, listed := s.call(http.MethodGet, "/projects/"+project+"/variables", nil, nil)
			require.Contains(t, listed, "KEY")
			require.NotContains(t, listed, "hidden-from-all")

			s.must(http.MethodPost, "/projects/"+project+"/rollback", map[string]any{}, nil)
			s.seen(name, "/", "Hello from a plain worker.")
		})
	})

	t.Run("Hono with files beside it", func(t *testing.T) {
		const name = "hono-assets"
		project := s.ships(name)

		t.Run("files come first", func(t *testing.T) {
			for path, file := range map[string]string{"/": "index.html", "/styles.css": "styles.css", "/counter.js": "counter.js"} {
				got := s.ask(name, http.MethodGet, path, "")
				require.Equal(t, http.StatusOK, got.StatusCode, path)
				require.Equal(t, readExample(t, name, "public", file), got.body, path)
				again := s.ask(name, http.MethodGet, path, "", "If-None-Match", got.Header.Get("ETag"))
				require.Equal(t, http.StatusNotModified, again.StatusCode, path)
			}
			requireEncodings(t, s, name, "/styles.css", readExample(t, name, "public", "styles.css"))
		})

		t.Run("but for what the worker comes first", func(t *testing.T) {
			var said struct{ Says, Error string }
			s.ask(name, http.MethodGet, "/api/hello?name=you", "").json(t, &said)
			require.Equal(t, "Hello, you", said.Says)
			got := s.ask(name, http.MethodGet, "/api/file.txt", "")
			require.Equal(t, http.StatusNotFound, got.StatusCode, "a file of that name is not served")
			got.json(t, &said)
			require.Equal(t, "There is no /api/file.txt.", said.Error)
		})

		t.Run("and the worker answers the rest", func(t *testing.T) {
			got := s.ask(name, http.MethodGet, "/pages/%3Cb%3E", "")
			require.Equal(t, http.StatusOK, got.StatusCode)
			require.Contains(t, got.text(), "<h1>&#60;b&#62;</h1>")
			got = s.ask(name, http.MethodGet, "/nowhere", "")
			require.Equal(t, http.StatusNotFound, got.StatusCode)
			require.Equal(t, readExample(t, name, "public", "lost.html"), got.body, "read through the binding")
			require.Contains(t, got.Header.Get("Content-Type"), "text/html")
		})

		t.Run("a counter in a KV namespace outlives deployments", func(t *testing.T) {
			var said struct{ Count int }
			for want := 1; want <= 3; want++ {
				s.ask(name, http.MethodPost, "/api/counters/visits", "").json(t, &said)
				require.Equal(t, want, said.Count)
			}
			files := replaced(t, example(t, name), "src/index.ts", "?? \"world\"", "?? \"everybody\"")
			s.succeed(s.deploy(project, files))
			s.seen(name, "/api/hello", "Hello, everybody")
			s.ask(name, http.MethodGet, "/api/counters/visits", "").json(t, &said)
			require.Equal(t, 3, said.Count)
			require.Equal(t, http.StatusNoContent, s.ask(name, http.MethodDelete, "/api/counters/visits", "").StatusCode)
		})
	})

	for name, title := range map[string]string{"astro-ssr": "Astro on a server", "react-router-ssr": "React Router on a server"} {
		t.Run(name+" renders on a server", func(t *testing.T) {
			s.ships(name)
			page := s.ask(name, http.MethodGet, "/?from=test", "")
			require.Equal(t, http.StatusOK, page.StatusCode)
			require.Contains(t, page.Header.Get("Content-Type"), "text/html")
			require.Contains(t, page.text(), title)
			require.Contains(t, page.text(), "Hello! This page was rendered for you.", "the variable of wrangler.jsonc")
			require.Equal(t, "/?from=test", rendered(t, page, "path"))
			requireLinksServed(t, s, name, page.text())

			first := rendered(t, page, "time")
			second := rendered(t, s.ask(name, http.MethodGet, "/", ""), "time")
			require.NotEqual(t, first, second, "rendered for each visitor")

			require.Contains(t, s.ask(name, http.MethodGet, "/hello/somebody", "").text(), "somebody</h1>")
			var said echo
			s.ask(name, http.MethodPost, "/api/echo?a=1", `{"b":2}`, "Content-Type", "application/json").json(t, &said)
			require.Equal(t, map[string]string{"a": "1"}, said.Query)
			require.Equal(t, `{"b":2}`, said.Body)
			require.Equal(t, http.StatusNotFound, s.ask(name, http.MethodGet, "/no/such/page", "").StatusCode)
			icon := s.ask(name, http.MethodGet, "/favicon.svg", "")
			require.Equal(t, readExample(t, name, "public", "favicon.svg"), icon.body)
		})
	}

	t.Run("a page made in the build is a file beside the worker", func(t *testing.T) {
		got := s.ask("astro-ssr", http.MethodGet, "/about/", "")
		require.Equal(t, http.StatusOK, got.StatusCode)
		require.NotEmpty(t, got.Header.Get("ETag"))
		require.Contains(t, got.text(), "This page is a file beside the worker.")
		for _, path := range []string{"/wrangler.json", "/_worker.js", "/server/entry.mjs", "/.assetsignore"} {
			require.Equal(t, http.StatusNotFound, s.ask("astro-ssr", http.MethodGet, path, "").StatusCode, "%s is not the site's", path)
		}
	})

	t.Run("their pages come alive in a browser", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		chromium := findChromium(t)
		tools := installVisit(ctx, t)
		dispatcher, err := url.Parse(s.DispatcherURL)
		require.NoError(t, err)
		alive := exec.CommandContext(ctx, tools.Tool("node"), filepath.Join(visitDir(), "alive.mjs"), chromium)
		for _, name := range []string{"hono-assets", "astro-ssr", "react-router-ssr"} {
			alive.Args = append(alive.Args, "http://"+name+".localhost:"+dispatcher.Port())
		}
		said, err := alive.CombinedOutput()
		require.NoError(t, err, "%s", said)
	})

	t.Run("a part of a page comes later", func(t *testing.T) {
		// Programs that are no browser get the page when it is whole.
		// On a busy machine that part may be ready as soon as the rest is.
		s.wait(patience, "a page that comes in parts", func() bool {
			page := s.ask("react-router-ssr", http.MethodGet, "/", "", "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0").text()
			require.Contains(t, page, "and this came later")
			first, _, inParts := strings.Cut(page, "Wait for it")
			if inParts {
				require.NotContains(t, first, "and this came later")
			}
			return inParts
		})
	})
}

// rendered is the text of the element with that id.
func rendered(t *testing.T, page answer, id string) string {
	t.Helper()
	element := regexp.MustCompile(`<dd id="` + id + `"[^>]*>(.*?)</dd>`).FindStringSubmatch(page.text())
	require.NotNil(t, element, page.text())
	return element[1]
}

// TestWorkers_failuresAreTheOwnersWithAnAdvice deploys what cannot become live.
func TestWorkers_failuresAreTheOwnersWithAnAdvice(t *testing.T) {
	s := boot(t)
	project := s.newProject("broken")
	worker := func(settings, code string) []initFile {
		return []initFile{{Path: "wrangler.jsonc", Content: settings}, {Path: "src/index.js", Content: code}}
	}
	const settings = `{"name":"broken","main":"src/index.js","compatibility_date":"2026-11-01"}`
	s.succeed(s.deploy(project, worker(settings, `export default { fetch() { return new Response("the first release") } }`)))
	s.seen("broken", "/", "the first release")

	for name, c := range map[string]struct {
		files []initFile
		says  string
	}{
		"a binding that there is not": {
			worker(strings.Replace(settings, "}", `,"d1_databases":[{"binding":"DB","database_id":"1"}]}`, 1), `export default { fetch() { return new Response() } }`),
			"d1_databases",
		},
		"an import that there is not": {
			worker(settings, `import { a } from "not-installed"; export default { fetch() { return new Response(a) } }`), "not-installed",
		},
		"an exception at start-up": {
			worker(settings, `throw new Error("broken at the start"); export default { fetch() { return new Response() } }`), "broken at the start",
		},
		"no default export": {worker(settings, `export const a = 1;`), "default"},
	} {
		t.Run(name, func(t *testing.T) {
			st := s.finish(s.deploy(project, c.files))
			require.Equal(t, models.StatusFailed, st.Status)
			require.Equal(t, models.OutcomeRejected, st.Outcome, "%s", st.Error)
			require.Contains(t, st.Error, c.says)
			require.Equal(t, "the first release", s.ask("broken", http.MethodGet, "/", "").text(), "what was live stays live")
		})
	}
	t.Run("a program for Node", func(t *testing.T) {
		st := s.finish(s.deploy(s.newProject("node"), []initFile{
			{Path: "package.json", Content: `{"name":"node","private":true,"main":"server.js"}`},
			{Path: "server.js", Content: `require("http").createServer().listen(3000)`},
		}))
		require.Equal(t, models.OutcomeRejected, st.Outcome)
		require.Contains(t, st.Error, "fetch handler", "it says what to write instead")
	})
}
