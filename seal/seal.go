// Package seal encrypts what must not be readable in the database, in a backup
// of it or in a file beside it: variables, secrets, private keys.
//
// A sealed text is AES-256-GCM (NIST SP 800-38D) with a random nonce, under a
// key derived from the installation's secret, and bound to a context: text
// sealed for one place does not open in another.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// SecretBytes is the length of a secret.
const SecretBytes = 32

// Key seals and opens. Safe for concurrent use.
type Key struct {
	aead cipher.AEAD
	raw  []byte
}

// version is the first byte of everything sealed.
const version = 1

// New makes a key of a secret: 32 bytes in base64 (either alphabet) or hex, as
// `openssl rand -base64 32` prints them. CodeValidation says what is wrong with
// any other, without repeating it.
func New(secret string) (*Key, error) {
	raw, ok := decode(strings.TrimSpace(secret))
	if !ok {
		return nil, models.Errorf(models.CodeValidation,
			"SLIPWAY_SECRET_KEY must be %d random bytes in base64 or hex. Make one with: openssl rand -base64 %d", SecretBytes, SecretBytes)
	}
	derived, err := hkdf.Key(sha256.New, raw, nil, "slipway seal 1", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &Key{aead, raw}, err
}

// Derive gives 32 bytes for another use of the installation's secret, always the
// same for a purpose; one tells nothing about another.
func (k *Key) Derive(purpose string) []byte {
	// It fails for lengths far beyond this only.
	derived, _ := hkdf.Key(sha256.New, k.raw, nil, "slipway derive 1 "+purpose, SecretBytes)
	return derived
}

func decode(secret string) ([]byte, bool) {
	if raw, err := hex.DecodeString(secret); err == nil && len(raw) == SecretBytes {
		return raw, true
	}
	secret = strings.TrimRight(secret, "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if raw, err := encoding.DecodeString(secret); err == nil && len(raw) == SecretBytes {
			return raw, true
		}
	}
	return nil, false
}

// FromFile reads the secret in a file, and makes the file with a new secret
// when there is none. It is for an installation of one machine.
func FromFile(name string) (*Key, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		var raw [SecretBytes]byte
		_, _ = rand.Read(raw[:])
		data = []byte(base64.StdEncoding.EncodeToString(raw[:]) + "\n")
		err = create(name, data)
		if errors.Is(err, fs.ErrExist) {
			// Another process was quicker.
			data, err = os.ReadFile(name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("secret key: %w", err)
	}
	return New(string(data))
}

// create writes a file whole or not at all, and never over another.
func create(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(name), ".secret-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(data)
	if err = errors.Join(err, temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	return os.Link(temporary.Name(), name)
}

// Seal encrypts a text for one place, e.g. "variable prj_… NAME".
func (k *Key) Seal(text []byte, context string) []byte {
	nonce := make([]byte, 1+k.aead.NonceSize(), 1+k.aead.NonceSize()+len(text)+k.aead.Overhead())
	nonce[0] = version
	_, _ = rand.Read(nonce[1:])
	return k.aead.Seal(nonce, nonce[1:], text, []byte(context))
}

// Open decrypts what Seal made for the same context. CodeInternal when the
// installation's key is another one, or the sealed text was changed or moved.
func (k *Key) Open(sealed []byte, context string) ([]byte, error) {
	head := 1 + k.aead.NonceSize()
	if len(sealed) < head || sealed[0] != version {
		return nil, models.Errorf(models.CodeInternal, "A sealed value is not one of this release of Slipway.")
	}
	text, err := k.aead.Open(nil, sealed[1:head], sealed[head:], []byte(context))
	if err != nil {
		return nil, models.Wrap(models.CodeInternal, err,
			"A sealed value does not open: SLIPWAY_SECRET_KEY is not the key it was sealed with.")
	}
	return text, nil
}
