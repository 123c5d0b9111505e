package blob_test

import (
	"errors"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

var (
	documentedScope  = regexp.MustCompile(`\A[a-zA-Z0-9_-]{1,64}\z`)
	documentedDigest = regexp.MustCompile(`\A[0-9a-f]{64}\z`)
)

func TestValidate_acceptsTheDocumentedForm(t *testing.T) {
	digest := blob.Digest(nil)
	for _, scope := range []string{"a", "0", "_", "-", "org_01HZX-9", strings.Repeat("Z", blob.MaxScopeLength)} {
		assert.NoError(t, blob.Key{Scope: scope, Digest: digest}.Validate(), scope)
	}
}

func TestDigest_isLowerCaseHexOfSHA256(t *testing.T) {
	// FIPS 180-4 example values for "" and "abc".
	assert.Equal(t, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", blob.Digest(nil))
	assert.Equal(t, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", blob.Digest([]byte("abc")))
}

// FuzzKeyValidate holds Validate to the documented expressions, and a valid key to
// the promise that names made of it stay inside their scope.
func FuzzKeyValidate(f *testing.F) {
	digest := blob.Digest(nil)
	f.Add("org_1", digest)
	f.Add("", "")
	f.Add("..", digest)
	f.Add("a/b", digest)
	f.Add("a\x00", digest)
	f.Add("org\n", digest)
	f.Add("\xff", digest)
	f.Add("org", strings.ToUpper(digest))
	f.Add("org", digest[:63]+"/")
	f.Add("org", "../"+digest[3:])
	f.Add(strings.Repeat("a", 65), digest+"\n")
	f.Fuzz(func(t *testing.T, scope, digest string) {
		key := blob.Key{Scope: scope, Digest: digest}
		err := key.Validate()
		want := documentedScope.MatchString(scope) && documentedDigest.MatchString(digest)
		if (err == nil) != want {
			t.Fatalf("Validate of %q: %v", key, err)
		}
		if err != nil {
			if models.CodeOf(err) != models.CodeValidation {
				t.Fatalf("code of %v", err)
			}
			return
		}
		if name := "/root/" + key.Scope + "/" + key.Digest[:2] + "/" + key.Digest; path.Clean(name) != name {
			t.Fatalf("%q does not stay where it is put", name)
		}
	})
}

func TestMissing_refusesAMalformedDigest(t *testing.T) {
	_, err := blob.Missing(t.Context(), nil, "org", []string{blob.Digest(nil), "abc"})
	require.Equal(t, models.CodeValidation, models.CodeOf(err))
	assert.Contains(t, err.Error(), "digest 1")
}

func TestVerifier_keepsItsError(t *testing.T) {
	key := blob.Key{Scope: "org", Digest: blob.Digest([]byte("abc"))}
	verifier := blob.NewVerifier(t.Context(), key, 2, strings.NewReader("abc"))
	buffer := make([]byte, 10)
	_, first := verifier.Read(buffer)
	require.Equal(t, models.CodeDigestMismatch, models.CodeOf(first))
	n, second := verifier.Read(buffer)
	assert.Zero(t, n)
	assert.True(t, errors.Is(second, first))
}
