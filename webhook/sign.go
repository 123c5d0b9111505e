package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// secretPrefix says what the string is, to people and to verifying libraries.
const secretPrefix = "whsec_"

// secretBytes is the length of a secret; the specification asks for 24 to 64.
const secretBytes = 32

// NewSecret makes the secret of a webhook: random bytes in base64 behind "whsec_".
func NewSecret() string {
	var raw [secretBytes]byte
	_, _ = rand.Read(raw[:])
	return secretPrefix + base64.StdEncoding.EncodeToString(raw[:])
}

// Sign gives one signature of the scheme v1: HMAC-SHA256 of "id.timestamp.body"
// with the secret's bytes.
func Sign(secret, id string, at time.Time, body []byte) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil {
		return "", models.Errorf(models.CodeInternal, "The webhook's secret is damaged; rotate it.")
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

// signed sets the headers of a signed message. During a rotation it is signed
// with both secrets, the new one first.
func signed(header http.Header, c Credentials, id string, at time.Time, body []byte) error {
	signatures := make([]string, 0, 2)
	for _, secret := range c.secrets(at) {
		signature, err := Sign(secret, id, at, body)
		if err != nil {
			return err
		}
		signatures = append(signatures, signature)
	}
	header.Set("Webhook-Id", id)
	header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	header.Set("Webhook-Signature", strings.Join(signatures, " "))
	return nil
}
