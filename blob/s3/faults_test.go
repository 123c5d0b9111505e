package s3_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/blob/s3"
	"github.com/slipwayhq/slipway/blob/s3/s3test"
	"github.com/slipwayhq/slipway/models"
)

// between puts a handler between a new store and a real server. The handler passes
// on what it does not want to break.
func between(t *testing.T, intercept func(pass http.Handler, w http.ResponseWriter, r *http.Request)) (*s3.Store, *s3test.Server) {
	t.Helper()
	server := s3test.Start(t)
	target := &url.URL{Scheme: "http", Host: server.Endpoint}
	pass := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		},
		// A request the store gave up is no news.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		intercept(pass, w, r)
	}))
	t.Cleanup(proxy.Close)
	opts := server.Options()
	opts.Endpoint = proxy.URL
	return open(t, opts), server
}

func isObject(r *http.Request) bool { return strings.Contains(r.URL.Path, "/org/") }

func TestPut_refusesContentDamagedOnTheWay(t *testing.T) {
	store, _ := between(t, func(pass http.Handler, w http.ResponseWriter, r *http.Request) {
		if isObject(r) && r.Method == http.MethodPut {
			content, err := io.ReadAll(r.Body)
			if err != nil {
				panic(http.ErrAbortHandler) // another part was refused already
			}
			content[len(content)/2] ^= 1
			r.Body = io.NopCloser(bytes.NewReader(content))
		}
		pass.ServeHTTP(w, r)
	})
	for _, size := range []int{1000, 9 << 20} {
		content := bytes.Repeat([]byte{7}, size)
		_, err := blob.PutBytes(t.Context(), store, "org", content)
		require.Equal(t, models.CodeStorage, models.CodeOf(err), "%v", err)
		_, err = store.Stat(t.Context(), blob.Key{Scope: "org", Digest: blob.Digest(content)})
		require.Equal(t, models.CodeBlobNotFound, models.CodeOf(err), "%v", err)
	}
}

func TestPut_succeedsWhenTheAnswerToCompletionIsLost(t *testing.T) {
	var lost atomic.Bool
	store, _ := between(t, func(pass http.Handler, w http.ResponseWriter, r *http.Request) {
		completes := r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
		if completes && lost.CompareAndSwap(false, true) {
			pass.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		pass.ServeHTTP(w, r)
	})
	content := bytes.Repeat([]byte{7}, 9<<20)
	key, err := blob.PutBytes(t.Context(), store, "org", content)
	require.NoError(t, err)
	require.True(t, lost.Load())
	_, err = blob.ReadAll(t.Context(), store, key, int64(len(content)))
	require.NoError(t, err)
}

func TestStore_retriesAServerThatIsBusyForAMoment(t *testing.T) {
	var refusals atomic.Int32
	store, _ := between(t, func(pass http.Handler, w http.ResponseWriter, r *http.Request) {
		if isObject(r) && refusals.Add(1)%2 == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		pass.ServeHTTP(w, r)
	})
	key, err := blob.PutBytes(t.Context(), store, "org", []byte("content"))
	require.NoError(t, err)
	got, err := blob.ReadAll(t.Context(), store, key, 100)
	require.NoError(t, err)
	assert.Equal(t, "content", string(got))
}

func TestStore_givesUpOnAServerThatStaysBusy(t *testing.T) {
	var requests atomic.Int32
	store, _ := between(t, func(pass http.Handler, w http.ResponseWriter, r *http.Request) {
		if !isObject(r) {
			pass.ServeHTTP(w, r)
			return
		}
		requests.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	_, err := blob.PutBytes(t.Context(), store, "org", []byte("content"))
	require.Equal(t, models.CodeStorage, models.CodeOf(err))
	assert.Contains(t, models.MessageOf(err), "503")
	assert.EqualValues(t, 3, requests.Load())
}

func TestGet_reportsContentThatIsCutOffOrDamaged(t *testing.T) {
	content := bytes.Repeat([]byte("content "), 100_000)
	var cut atomic.Bool
	store, _ := between(t, func(pass http.Handler, w http.ResponseWriter, r *http.Request) {
		if !isObject(r) || r.Method != http.MethodGet {
			pass.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		pass.ServeHTTP(answer, r)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		damaged := bytes.Clone(answer.Body.Bytes())
		damaged[10] ^= 1
		if cut.Load() {
			damaged = damaged[:len(damaged)/2]
		}
		_, _ = w.Write(damaged)
		if cut.Load() {
			panic(http.ErrAbortHandler)
		}
	})
	key, err := blob.PutBytes(t.Context(), store, "org", content)
	require.NoError(t, err)
	for _, broken := range []bool{false, true} {
		cut.Store(broken)
		_, err = blob.ReadAll(t.Context(), store, key, int64(len(content)))
		require.Equal(t, models.CodeStorage, models.CodeOf(err), "%v", err)
	}
}

func TestNew_sweepsOnlyOldUploads(t *testing.T) {
	server := s3test.Start(t)
	store := open(t, server.Options())
	client := minio.Core{Client: rawClient(t, server)}
	name := "org/aa/" + strings.Repeat("a", 64)
	_, err := client.NewMultipartUpload(t.Context(), s3test.Bucket, name, minio.PutObjectOptions{})
	require.NoError(t, err)

	open(t, server.Options())
	listed, err := client.ListMultipartUploads(t.Context(), s3test.Bucket, "", "", "", "", 10)
	require.NoError(t, err)
	assert.Len(t, listed.Uploads, 1, "it may still be running")

	store.Sweep(t.Context(), time.Now().Add(time.Hour))
	requireNoUnfinishedUploads(t, server)
}
