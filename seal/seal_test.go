package seal_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/seal"
)

const secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

func key(t *testing.T, secret string) *seal.Key {
	t.Helper()
	k, err := seal.New(secret)
	require.NoError(t, err)
	return k
}

func TestKey_opensWhatItSealed(t *testing.T) {
	k := key(t, secret)
	for _, text := range []string{"", "hunter2", strings.Repeat("x", 1<<20)} {
		sealed := k.Seal([]byte(text), "variable A")
		opened, err := k.Open(sealed, "variable A")
		require.NoError(t, err)
		require.Equal(t, text, string(opened))
		if len(text) > 0 {
			require.NotContains(t, string(sealed), text)
		}
	}
	require.NotEqual(t, k.Seal([]byte("a"), ""), k.Seal([]byte("a"), ""), "each seal has a nonce of its own")
}

func TestKey_opensNothingMovedChangedOrForeign(t *testing.T) {
	k := key(t, secret)
	sealed := k.Seal([]byte("hunter2"), "variable A")
	_, err := k.Open(sealed, "variable B")
	require.Equal(t, models.CodeInternal, models.CodeOf(err))
	_, err = key(t, strings.Repeat("ab", 32)).Open(sealed, "variable A")
	require.Equal(t, models.CodeInternal, models.CodeOf(err))
	require.Contains(t, err.Error(), "SLIPWAY_SECRET_KEY")
	for i := range sealed {
		changed := append([]byte{}, sealed...)
		changed[i] ^= 1
		_, err = k.Open(changed, "variable A")
		require.Error(t, err, i)
	}
	for n := range len(sealed) {
		_, err = k.Open(sealed[:n], "variable A")
		require.Error(t, err, n)
	}
}

func TestNew_takesTheUsualSpellingsAndRepeatsNoSecret(t *testing.T) {
	sealed := key(t, secret).Seal([]byte("x"), "")
	for _, same := range []string{strings.TrimRight(secret, "="), " " + secret + "\n", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"} {
		_, err := key(t, same).Open(sealed, "")
		require.NoError(t, err)
	}
	for _, bad := range []string{"", "hunter2", secret[:20], secret + secret} {
		_, err := seal.New(bad)
		require.Equal(t, models.CodeValidation, models.CodeOf(err))
		if bad != "" {
			require.NotContains(t, err.Error(), bad)
		}
	}
}

func TestFromFile_makesOneSecretForAll(t *testing.T) {
	name := filepath.Join(t.TempDir(), "data", "secret.key")
	keys := make([]*seal.Key, 8)
	var group sync.WaitGroup
	for i := range keys {
		group.Go(func() {
			var err error
			keys[i], err = seal.FromFile(name)
			require.NoError(t, err)
		})
	}
	group.Wait()
	sealed := keys[0].Seal([]byte("x"), "")
	for _, k := range keys {
		_, err := k.Open(sealed, "")
		require.NoError(t, err)
	}
	stat, err := os.Stat(name)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), stat.Mode().Perm())
	left, err := os.ReadDir(filepath.Dir(name))
	require.NoError(t, err)
	require.Len(t, left, 1)
}

func TestDerive_givesEachPurposeBytesOfItsOwn(t *testing.T) {
	key, err := seal.New(strings.Repeat("ab", seal.SecretBytes))
	require.NoError(t, err)
	require.Len(t, key.Derive("a"), seal.SecretBytes)
	require.Equal(t, key.Derive("a"), key.Derive("a"))
	require.NotEqual(t, key.Derive("a"), key.Derive("b"))
	other, err := seal.New(strings.Repeat("ac", seal.SecretBytes))
	require.NoError(t, err)
	require.NotEqual(t, key.Derive("a"), other.Derive("a"))
}
