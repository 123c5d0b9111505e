package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipwayhq/slipway/models"
)

// DeviceCode is what a person confirms in a browser (RFC 8628).
type DeviceCode struct {
	DeviceCode              string `json:"deviceCode"`
	UserCode                string `json:"userCode"`
	VerificationURI         string `json:"verificationUri"`
	VerificationURIComplete string `json:"verificationUriComplete"`
	// ExpiresIn and Interval are in seconds.
	ExpiresIn int `json:"expiresIn"`
	Interval  int `json:"interval"`
}

// DeviceToken is the token that came of it.
type DeviceToken struct {
	Token     string       `json:"token"`
	TokenID   string       `json:"tokenId"`
	OrgID     string       `json:"orgId"`
	UserID    string       `json:"userId"`
	Scope     models.Scope `json:"scope"`
	ExpiresAt time.Time    `json:"expiresAt"`
}

// DeviceCode begins to sign a program in.
func (c *Client) DeviceCode(ctx context.Context, name string, scope models.Scope) (DeviceCode, error) {
	var code DeviceCode
	body := map[string]string{"clientName": name, "scope": string(scope)}
	return code, c.do(ctx, call{method: http.MethodPost, path: "/device/code", body: body, repeatable: true}, &code)
}

// DeviceToken asks for the token; CodeAuthorizationPending and CodeSlowDown mean
// to ask again. It is given once, so the request is not repeated by itself.
func (c *Client) DeviceToken(ctx context.Context, deviceCode string) (DeviceToken, error) {
	var token DeviceToken
	return token, c.do(ctx, call{method: http.MethodPost, path: "/device/token", body: map[string]string{"deviceCode": deviceCode}}, &token)
}

func (p *program) loginCommand() *cobra.Command {
	var scope string
	var noBrowser bool
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Sign in, in the browser",
		Long: `Sign this computer in. The command shows an address and a code; open the address,
sign in there, compare the code and confirm. You choose the organization there.

The token that comes of it is kept in your own configuration folder, readable by
you alone, and ends after 90 days; 'slipway logout' revokes it. It may do what
your role in the organization may, or less with --scope:

  read     look at everything but secrets
  deploy   also deploy, roll back and make projects
  admin    also change settings, variables, domains, members and tokens

For programs without a person, such as a CI job, make a token of their own with
'slipway tokens create' and set SLIPWAY_API_URL and SLIPWAY_TOKEN.`,
		Example: `  slipway login
  slipway login --api https://slipway.example.com
  slipway login --scope read`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !models.Scope(scope).Valid() {
				return usagef("--scope is read, deploy or admin, not %q", scope)
			}
			return p.login(cmd, models.Scope(scope), noBrowser)
		},
	}
	cmd.Flags().String("api", "", "address of the API (SLIPWAY_API_URL)")
	cmd.Flags().StringVar(&scope, "scope", string(models.ScopeAdmin), "what the token may do: read, deploy or admin")
	cmd.Flags().BoolVar(&noBrowser, "no-browser", false, "only print the address")
	return cmd
}

func (p *program) login(cmd *cobra.Command, scope models.Scope, noBrowser bool) error {
	ctx := cmd.Context()
	former, err := readUserCredentials()
	if err != nil {
		return err
	}
	// Not from a file in the working folder: whoever wrote it would choose where
	// the person signs in.
	address := strings.TrimRight(firstOf(flagValue(cmd, "api"), os.Getenv("SLIPWAY_API_URL"), former.APIURL, DefaultAPIURL), "/")
	client, err := NewClient(ClientOptions{APIURL: address, Version: p.version})
	if err != nil {
		return err
	}
	name, _ := os.Hostname()
	code, err := client.DeviceCode(ctx, oneLine(name), scope)
	if err != nil {
		return err
	}
	if err := p.showCode(cmd, client.base, code, noBrowser); err != nil {
		return err
	}
	token, err := p.awaitToken(ctx, client, code, !wantsJSON(cmd))
	if err != nil {
		return err
	}
	creds := Credentials{
		APIURL: client.base, OrganizationID: token.OrgID, UserID: token.UserID, Token: token.Token, TokenID: token.TokenID, ExpiresAt: &token.ExpiresAt,
	}
	if err := writeUserCredentials(&creds); err != nil {
		return fmt.Errorf("the token could not be kept: %w; revoke it where you confirmed the code", err)
	}
	// The one before is of no use any more; that it stays is not worth failing for.
	_ = revokeFormer(ctx, former, p.version)
	return p.showLogin(cmd, creds)
}

// showCode says where to go. The address is the server's word, but a page of
// another host than the one asked for is pointed out.
func (p *program) showCode(cmd *cobra.Command, base string, code DeviceCode, noBrowser bool) error {
	page := firstOf(code.VerificationURIComplete, code.VerificationURI)
	if strings.HasPrefix(page, "/") {
		page = base + page
	}
	if wantsJSON(cmd) {
		return p.printJSON(map[string]any{"userCode": code.UserCode, "verificationUri": page, "expiresIn": code.ExpiresIn})
	}
	st := newStyle(p.err)
	fmt.Fprintf(p.err, "Open this page and confirm the code %s:\n\n  %s\n\n", st.bold(printable(code.UserCode)), st.cyan(printable(page)))
	if hostOf(page) != hostOf(base) {
		fmt.Fprintf(p.err, "It is on another host than %s, which is usual where pages have an address of their own.\n\n", base)
	}
	if !noBrowser && isTerminal(p.err) {
		p.browse(page)
	}
	return nil
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// awaitToken asks for the token, as often as the server lets it, until the
// person has answered or the code ends.
func (p *program) awaitToken(ctx context.Context, client *Client, code DeviceCode, show bool) (DeviceToken, error) {
	show, live := show && !isTerminal(p.err), show && isTerminal(p.err)
	if show {
		fmt.Fprintln(p.err, "Waiting for you to confirm …")
	}
	screen := newScreen(p.err)
	interval := time.Duration(max(code.Interval, 1)) * time.Second
	wait := interval
	for left := time.Duration(code.ExpiresIn) * time.Second; left > 0; {
		if live {
			screen.draw([]string{"Waiting for you to confirm …  (the code ends in " + formatDuration(left) + ")"})
		}
		if err := p.pause(ctx, time.Second); err != nil {
			return DeviceToken{}, err
		}
		left -= time.Second
		if wait -= time.Second; wait > 0 {
			continue
		}
		token, err := client.DeviceToken(ctx, code.DeviceCode)
		var away *UnreachableError
		switch {
		case err == nil:
			screen.draw(nil)
			return token, nil
		case hasCode(err, models.CodeSlowDown):
			interval += 5 * time.Second
		case hasCode(err, models.CodeAuthorizationPending, models.CodeDatabase), errors.As(err, &away):
		default:
			return DeviceToken{}, err
		}
		wait = interval
	}
	return DeviceToken{}, errors.New("nobody confirmed the code in time; run 'slipway login' again")
}

// revokeFormer ends the token of an earlier login.
func revokeFormer(ctx context.Context, creds Credentials, version string) error {
	if creds.Token == "" {
		return nil
	}
	client, err := NewClient(ClientOptions{APIURL: creds.APIURL, Token: creds.Token, Version: version})
	if err != nil {
		return err
	}
	id := creds.TokenID
	if id == "" {
		me, _, err := client.Me(ctx)
		if err != nil {
			return err
		}
		id = me.TokenID
	}
	return client.RevokeToken(ctx, id)
}

// showLogin says what came of a login, and where something else comes first.
func (p *program) showLogin(cmd *cobra.Command, creds Credentials) error {
	client, err := NewClient(ClientOptions{APIURL: creds.APIURL, Token: creds.Token, Version: p.version})
	if err != nil {
		return err
	}
	me, raw, err := client.Me(cmd.Context())
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return p.printJSON(raw)
	}
	fmt.Fprintf(p.out, "Signed in to %s as %s.\n", creds.APIURL, me.sentence())
	fmt.Fprintf(p.err, "The token is in %s and ends on %s.\n", creds.path, creds.ExpiresAt.Local().Format("2 January 2006"))
	switch first, err := findCredentials(""); {
	case os.Getenv("SLIPWAY_TOKEN") != "":
		fmt.Fprintln(p.err, "SLIPWAY_TOKEN is set and comes before it.")
	case err == nil && first.path != creds.path:
		fmt.Fprintf(p.err, "In this folder %s comes before it; '--api %s' chooses this one.\n", first.path, creds.APIURL)
	}
	return nil
}
