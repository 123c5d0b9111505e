package webhook

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/seal"
)

// RotationTime is how long a secret stays valid after it was replaced.
const RotationTime = 24 * time.Hour

// Credentials are what gives access to a receiver, or proves to it who sends.
type Credentials struct {
	// URL is where to send. That of an incoming webhook is a secret itself.
	URL string `json:"url"`
	// Secret signs messages of the standard format.
	Secret string `json:"secret,omitempty"`
	// Previous signs them too, until PreviousUntil.
	Previous      string    `json:"previous,omitempty"`
	PreviousUntil time.Time `json:"previousUntil,omitzero"`
	// Token authorizes commit statuses.
	Token string `json:"token,omitempty"`
}

// secrets are those that are valid at a time, the newest first.
func (c Credentials) secrets(at time.Time) []string {
	if c.Previous != "" && at.Before(c.PreviousUntil) {
		return []string{c.Secret, c.Previous}
	}
	return []string{c.Secret}
}

// Rotate replaces the secret; the one before, if there is one, stays valid for
// RotationTime.
func (c *Credentials) Rotate(at time.Time) {
	c.Previous, c.PreviousUntil = c.Secret, at
	if c.Previous != "" {
		c.PreviousUntil = at.Add(RotationTime)
	}
	c.Secret = NewSecret()
}

// Recall gives what is known of credentials that do not open any more: the address,
// when all of it is shown.
func Recall(row models.Webhook) Credentials {
	if strings.HasSuffix(row.Shown, hidden) {
		return Credentials{}
	}
	return Credentials{URL: row.Shown}
}

// Vault seals credentials at rest. Safe for concurrent use.
type Vault struct {
	key *seal.Key
}

// NewVault makes a vault that seals with an installation's key.
func NewVault(key *seal.Key) *Vault { return &Vault{key} }

// Seal encrypts the credentials of the webhook with that id.
func (v *Vault) Seal(id string, c Credentials) ([]byte, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return v.key.Seal(text, sealContext(id)), nil
}

// Open decrypts the credentials of a webhook. CodeInternal when the
// installation's key is another one.
func (v *Vault) Open(row models.Webhook) (Credentials, error) {
	var c Credentials
	text, err := v.key.Open(row.Sealed, sealContext(row.ID))
	if err != nil {
		return c, err
	}
	if json.Unmarshal(text, &c) != nil {
		// The parser's error may repeat a secret.
		return c, errors.New("the credentials of webhook " + row.ID + " are damaged")
	}
	return c, nil
}

func sealContext(id string) string { return "webhook " + id }

// Shown is an address without what may give access: of an incoming webhook
// everything but the host, of others the query.
func Shown(format models.WebhookFormat, address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	if format == models.WebhookSlack {
		return u.Scheme + "://" + u.Host + "/" + hidden
	}
	shown, _, query := strings.Cut(address, "?")
	if query {
		shown += "?" + hidden
	}
	return shown
}

// hidden stands for what is left out. No address has it: theirs are ASCII.
const hidden = "…"
