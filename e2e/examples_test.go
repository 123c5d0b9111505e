package e2e

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// references finds what a page links from its own site.
var references = regexp.MustCompile(`(?:src|href)="(/[^"#?]+)"`)

// readExample is a file of an example, for comparing bytes.
func readExample(t *testing.T, parts ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{repository(), "examples"}, parts...)...))
	require.NoError(t, err)
	return data
}

// requireEncodings asks for each variant of a file and compares what it unpacks to.
func requireEncodings(t *testing.T, s *system, worker, path string, plain []byte) {
	t.Helper()
	for encoding, open := range map[string]func(io.Reader) (io.Reader, error){
		"br":   func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil },
		"gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
	} {
		answer, packed := s.get(worker, path, "Accept-Encoding", encoding)
		require.Equal(t, http.StatusOK, answer.StatusCode)
		if answer.Header.Get("Content-Encoding") == "" {
			require.Equal(t, plain, packed)
			continue
		}
		require.Equal(t, encoding, answer.Header.Get("Content-Encoding"))
		r, err := open(bytes.NewReader(packed))
		require.NoError(t, err)
		unpacked, err := io.ReadAll(r)
		require.NoError(t, err)
		require.True(t, bytes.Equal(plain, unpacked), "%s of %s unpacks to other bytes", encoding, path)
	}
}

func TestExamples(t *testing.T) {
	s := boot(t)

	t.Run("plain HTML is served as it was sent", func(t *testing.T) {
		st := s.succeed(s.deploy(s.newProject("plain"), example(t, "plain-html")))
		require.True(t, st.Steps.Sandbox.Skipped)
		require.Contains(t, st.URL, "plain.localhost")
		for path, file := range map[string]string{"/": "index.html", "/about": "about.html", "/styles.css": "styles.css"} {
			answer, body := s.get("plain", path)
			require.Equal(t, http.StatusOK, answer.StatusCode, path)
			require.Equal(t, readExample(t, "plain-html", file), body, path)
			requireEncodings(t, s, "plain", path, body)
		}
		answer, body := s.get("plain", "/nowhere")
		require.Equal(t, http.StatusNotFound, answer.StatusCode)
		require.Equal(t, readExample(t, "plain-html", "404.html"), body)
		_, viaPath := s.get("", "/dispatch/plain/about")
		require.Equal(t, readExample(t, "plain-html", "about.html"), viaPath)
		answer, viaQuery := s.get("", "/dispatch?worker=plain")
		require.Equal(t, readExample(t, "plain-html", "index.html"), viaQuery)
		require.Equal(t, "sandbox", answer.Header.Get("Content-Security-Policy"))
	})

	for name, manager := range map[string]string{"vite-react": "npm", "vue-pnpm": "pnpm", "astro-bun": "bun"} {
		t.Run(name+" is built and served", func(t *testing.T) {
			files := example(t, name)
			project := s.newProject(name)
			id := s.deploy(project, files)
			st := s.succeed(id)
			for _, step := range models.AllSteps() {
				require.Equal(t, models.StepCompleted, st.Steps.Of(step).Status, step)
			}
			_, log := s.call(http.MethodGet, "/deployments/"+id+"/logs", nil, nil)
			require.Contains(t, log, manager)

			answer, page := s.get(name, "/")
			require.Equal(t, http.StatusOK, answer.StatusCode)
			require.Contains(t, answer.Header.Get("Content-Type"), "text/html")
			found := references.FindAllStringSubmatch(string(page), -1)
			require.NotEmpty(t, found, "the built page links its assets")
			for _, match := range found {
				asset, body := s.get(name, match[1])
				require.Equal(t, http.StatusOK, asset.StatusCode, match[1])
				require.NotEmpty(t, body)
				if strings.HasSuffix(match[1], ".js") || strings.HasSuffix(match[1], ".css") {
					requireEncodings(t, s, name, match[1], body)
				}
				again, _ := s.get(name, match[1], "If-None-Match", asset.Header.Get("ETag"))
				require.Equal(t, http.StatusNotModified, again.StatusCode)
			}
			_, icon := s.get(name, "/favicon.svg")
			require.Equal(t, readExample(t, name, "public", "favicon.svg"), icon)

			// The same source again costs no build.
			again := s.succeed(s.deploy(project, files))
			require.True(t, again.Steps.Sandbox.Skipped)
			require.Equal(t, models.StepCompleted, again.Steps.Build.Status)
		})
	}

	t.Run("a failing build is the user's, with a diagnosis", func(t *testing.T) {
		st := s.finish(s.deploy(s.newProject("fails"), example(t, "fails-to-build")))
		require.Equal(t, models.StatusFailed, st.Status)
		require.Equal(t, models.OutcomeRejected, st.Outcome)
		require.Equal(t, models.CodeBuildFailed, st.ErrorCode)
		require.NotNil(t, st.Diagnosis)
		require.NotEmpty(t, st.Diagnosis.Advice)
		require.NotZero(t, st.Diagnosis.ExitCode)
		require.NotEmpty(t, st.Diagnosis.Tail)
		require.Equal(t, models.StepCompleted, st.Steps.Cleanup.Status, "cleanup runs after a failure too")
		answer, _ := s.get("fails", "/")
		require.Equal(t, http.StatusNotFound, answer.StatusCode)
	})

	t.Run("a canceled build ends at once and leaves nothing", func(t *testing.T) {
		id := s.deploy(s.newProject("canceled"), []initFile{
			{Path: "package.json", Content: `{"name":"endless","private":true,"scripts":{"build":"node -e 'setInterval(()=>{},1000)'"}}`},
		})
		s.until(id, patience, "the build to run", func(st models.Status) bool { return st.Steps.Build.Status == models.StepInProgress })
		s.must(http.MethodPost, "/deployments/"+id+"/cancel", nil, nil)
		st := s.finish(id)
		require.Equal(t, models.OutcomeCanceled, st.Outcome)
		require.Equal(t, models.StepCompleted, st.Steps.Cleanup.Status)
		mounts, err := os.ReadFile("/proc/mounts")
		require.NoError(t, err)
		require.NotContains(t, string(mounts), id)
		code, body := s.call(http.MethodPost, "/deployments/"+id+"/cancel", nil, nil)
		require.Equal(t, http.StatusConflict, code, body)
	})

	t.Run("rollback brings the earlier release back without a build", func(t *testing.T) {
		project := s.newProject("rolled")
		for _, words := range []string{"first", "second"} {
			s.succeed(s.deploy(project, []initFile{{Path: "index.html", Content: words}}))
			s.wait(patience, "the flip to be seen", func() bool {
				_, page := s.get("rolled", "/")
				return string(page) == words
			})
		}
		s.must(http.MethodPost, "/projects/"+project+"/rollback", map[string]any{}, nil)
		s.wait(patience, "the rollback to be seen", func() bool {
			_, page := s.get("rolled", "/")
			return string(page) == "first"
		})
	})

	t.Run("a hostile build escapes nowhere", func(t *testing.T) {
		id := s.deploy(s.newProject("escapes"), example(t, "escapes"))
		s.succeed(id)
		_, log := s.call(http.MethodGet, "/deployments/"+id+"/logs", nil, nil)
		require.Contains(t, log, "PROBE ")
		require.Contains(t, log, "TWIN ")
		require.NotContains(t, log, "ALLOWED")
		require.NotContains(t, log, "FAILED")
	})
}
