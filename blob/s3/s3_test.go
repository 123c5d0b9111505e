package s3_test

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/blob/blobtest"
	"github.com/slipwayhq/slipway/blob/s3"
	"github.com/slipwayhq/slipway/blob/s3/s3test"
	"github.com/slipwayhq/slipway/models"
)

func open(t testing.TB, opts s3.Options) *s3.Store {
	t.Helper()
	store, err := s3.New(t.Context(), opts)
	require.NoError(t, err)
	return store
}

func TestStore_keepsTheContract(t *testing.T) {
	server := s3test.Start(t)
	opts := server.Options()
	opts.Prefix = "/apps/slipway"
	store := open(t, opts)
	blobtest.Run(t, func(*testing.T) blob.Store { return store })
	requireNoUnfinishedUploads(t, server)
}

func TestStore_sharesABucketByPrefix(t *testing.T) {
	server := s3test.Start(t)
	ctx := t.Context()
	for prefix, name := range map[string]string{"": "", "one": "one/", "/two/three/": "two/three/"} {
		opts := server.Options()
		opts.Prefix = prefix
		store := open(t, opts)
		key, err := blob.PutBytes(ctx, store, "org", []byte("of "+prefix))
		require.NoError(t, err)
		var seen []blob.Key
		require.NoError(t, store.List(ctx, "org", "", func(object blob.Object) error {
			seen = append(seen, object.Key)
			return nil
		}))
		assert.Equal(t, []blob.Key{key}, seen)
		_, err = rawClient(t, server).StatObject(ctx, s3test.Bucket, name+"org/"+key.Digest[:2]+"/"+key.Digest, minio.StatObjectOptions{})
		require.NoError(t, err, "the documented name")
	}
}

func TestStrangers_areNamedAndNotListed(t *testing.T) {
	server := s3test.Start(t)
	opts := server.Options()
	opts.Prefix = "slipway"
	store := open(t, opts)
	key, err := blob.PutBytes(t.Context(), store, "org", []byte("object"))
	require.NoError(t, err)
	strange := []string{"org/README", "org/" + key.Digest[:2] + "/" + key.Digest + ".bak", "org/zz/" + key.Digest}
	for _, name := range strange {
		_, err := rawClient(t, server).PutObject(t.Context(), s3test.Bucket, "slipway/"+name, strings.NewReader("not ours"), 8, minio.PutObjectOptions{})
		require.NoError(t, err)
	}
	var seen []string
	require.NoError(t, store.Strangers(t.Context(), "org", func(name string) error {
		seen = append(seen, name)
		return nil
	}))
	assert.ElementsMatch(t, strange, seen)
	require.NoError(t, store.List(t.Context(), "org", "", func(object blob.Object) error {
		assert.Equal(t, key, object.Key)
		return nil
	}))
}

func TestStore_isUnavailableWhileTheServerIsDown(t *testing.T) {
	server := s3test.Start(t)
	store := open(t, server.Options())
	key, err := blob.PutBytes(t.Context(), store, "org", []byte("kept"))
	require.NoError(t, err)

	server.Stop()
	blobtest.Unavailable(t, store, key)

	server.Restart()
	got, err := blob.ReadAll(t.Context(), store, key, 100)
	require.NoError(t, err, "mended")
	assert.Equal(t, "kept", string(got))
	require.NoError(t, store.Ping(t.Context()))
}

func TestStore_isUnavailableWhileTheServerHangs(t *testing.T) {
	server := s3test.Start(t)
	store := open(t, server.Options())
	key, err := blob.PutBytes(t.Context(), store, "org", []byte("kept"))
	require.NoError(t, err)

	server.Pause()
	defer server.Resume()
	began := time.Now()
	require.Equal(t, models.CodeStorage, models.CodeOf(store.Ping(t.Context())))
	assert.Less(t, time.Since(began), time.Minute, "health checks wait for Ping")
	_, err = store.Get(t.Context(), key)
	require.Equal(t, models.CodeStorage, models.CodeOf(err))
	assert.Less(t, time.Since(began), 2*time.Minute)
}

func TestStore_isUnavailableWhenTheBucketIsGone(t *testing.T) {
	server := s3test.Start(t)
	store := open(t, server.Options())
	key, err := blob.PutBytes(t.Context(), store, "org", []byte("kept"))
	require.NoError(t, err)
	client := rawClient(t, server)
	for object := range client.ListObjectsIter(t.Context(), s3test.Bucket, minio.ListObjectsOptions{Recursive: true}) {
		require.NoError(t, object.Err)
		require.NoError(t, client.RemoveObject(t.Context(), s3test.Bucket, object.Key, minio.RemoveObjectOptions{}))
	}
	require.NoError(t, client.RemoveBucket(t.Context(), s3test.Bucket))

	err = store.Ping(t.Context())
	require.Equal(t, models.CodeStorage, models.CodeOf(err))
	assert.Contains(t, models.MessageOf(err), "S3_BUCKET")
	_, err = store.Get(t.Context(), key)
	require.Equal(t, models.CodeStorage, models.CodeOf(err))
	_, err = blob.PutBytes(t.Context(), store, "org", []byte("new"))
	require.Equal(t, models.CodeStorage, models.CodeOf(err))
}

func TestNew_saysWhatIsWrong(t *testing.T) {
	server := s3test.Start(t)
	for name, c := range map[string]struct {
		change func(*s3.Options)
		code   models.Code
		says   string
	}{
		"no endpoint":       {func(o *s3.Options) { o.Endpoint = "" }, models.CodeValidation, "S3_ENDPOINT"},
		"endpoint is a URL": {func(o *s3.Options) { o.Endpoint = "http://" + o.Endpoint + "/bucket" }, models.CodeValidation, "S3_ENDPOINT"},
		"malformed":         {func(o *s3.Options) { o.Endpoint = "a b" }, models.CodeValidation, "S3_ENDPOINT"},
		"no bucket":         {func(o *s3.Options) { o.Bucket = "" }, models.CodeValidation, "S3_BUCKET"},
		"malformed bucket":  {func(o *s3.Options) { o.Bucket = "A B" }, models.CodeValidation, "S3_BUCKET"},
		"no access key":     {func(o *s3.Options) { o.AccessKey = "" }, models.CodeValidation, "S3_ACCESS_KEY_ID"},
		"no secret":         {func(o *s3.Options) { o.SecretKey = "" }, models.CodeValidation, "S3_SECRET_ACCESS_KEY"},
		"unknown key":       {func(o *s3.Options) { o.AccessKey = "stranger" }, models.CodeStorage, "S3_ACCESS_KEY_ID"},
		"wrong secret":      {func(o *s3.Options) { o.SecretKey = "wrong" }, models.CodeStorage, "S3_SECRET_ACCESS_KEY"},
		"nobody listens":    {func(o *s3.Options) { o.Endpoint = "127.0.0.1:1" }, models.CodeStorage, "S3_ENDPOINT"},
		"TLS without TLS":   {func(o *s3.Options) { o.Secure = true }, models.CodeStorage, "S3_USE_SSL"},
		"another region":    {func(o *s3.Options) { o.Region = "eu-central-1" }, models.CodeStorage, "S3_REGION"},
	} {
		t.Run(name, func(t *testing.T) {
			opts := server.Options()
			c.change(&opts)
			began := time.Now()
			_, err := s3.New(t.Context(), opts)
			require.Error(t, err)
			assert.Equal(t, c.code, models.CodeOf(err), "%v", err)
			assert.Contains(t, models.MessageOf(err), c.says)
			assert.NotContains(t, err.Error(), server.SecretKey)
			assert.Less(t, time.Since(began), time.Minute)
		})
	}
}

func TestNew_acceptsAnEndpointWithScheme(t *testing.T) {
	server := s3test.Start(t)
	opts := server.Options()
	opts.Endpoint, opts.Secure = "http://"+server.Endpoint+"/", true
	require.NoError(t, open(t, opts).Ping(t.Context()))
}

func TestNew_mayRunManyTimesAtOnce(t *testing.T) {
	server := s3test.Start(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			_, err := s3.New(t.Context(), server.Options())
			assert.NoError(t, err, "all make the bucket")
		})
	}
	group.Wait()
}

// TestPut_survivesAConnectionThatBreaks cuts every connection once after a part has
// begun: the part is sent again.
func TestPut_survivesAConnectionThatBreaks(t *testing.T) {
	server := s3test.Start(t)
	proxy := startCuttingProxy(t, server.Endpoint)
	opts := server.Options()
	opts.Endpoint = proxy.address
	store := open(t, opts)

	proxy.cutNext(3 << 20)
	content := make([]byte, 20<<20)
	key, err := blob.PutBytes(t.Context(), store, "org", content)
	require.NoError(t, err)
	assert.True(t, proxy.wasCut())
	got, err := blob.ReadAll(t.Context(), store, key, int64(len(content)))
	require.NoError(t, err)
	assert.Len(t, got, len(content))
}

func requireNoUnfinishedUploads(t *testing.T, server *s3test.Server) {
	t.Helper()
	for upload := range rawClient(t, server).ListIncompleteUploads(t.Context(), s3test.Bucket, "", true) {
		require.NoError(t, upload.Err)
		t.Errorf("unfinished upload of %s", upload.Key)
	}
}

func rawClient(t *testing.T, server *s3test.Server) *minio.Client {
	t.Helper()
	client, err := minio.New(server.Endpoint, &minio.Options{
		Creds: credentials.NewStaticV4(server.AccessKey, server.SecretKey, ""), Region: server.Region,
	})
	require.NoError(t, err)
	return client
}

// cuttingProxy forwards TCP and can cut one connection after some bytes.
type cuttingProxy struct {
	address string
	target  string

	mu    sync.Mutex
	after int // bytes from the client until the cut, 0 is never
	cut   bool
}

func startCuttingProxy(t *testing.T, target string) *cuttingProxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &cuttingProxy{address: listener.Addr().String(), target: target}
	var group sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		group.Wait()
	})
	group.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { client.Close() })
			group.Go(func() { p.forward(client) })
		}
	})
	return p
}

func (p *cuttingProxy) forward(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		buffer := make([]byte, 32<<10)
		for {
			n, err := server.Read(buffer)
			if _, writeErr := client.Write(buffer[:n]); err != nil || writeErr != nil {
				client.Close()
				return
			}
		}
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := client.Read(buffer)
		if p.spend(n) {
			return
		}
		if _, writeErr := server.Write(buffer[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

func (p *cuttingProxy) cutNext(after int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.after = after
}

func (p *cuttingProxy) spend(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.after == 0 {
		return false
	}
	if p.after -= n; p.after > 0 {
		return false
	}
	p.after, p.cut = 0, true
	return true
}

func (p *cuttingProxy) wasCut() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cut
}

func BenchmarkPut4KiB(b *testing.B) { blobtest.BenchmarkPut(b, open(b, s3test.Start(b).Options())) }

func BenchmarkGet4KiB(b *testing.B) { blobtest.BenchmarkGet(b, open(b, s3test.Start(b).Options())) }
