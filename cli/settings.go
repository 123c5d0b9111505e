package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// DefaultAPIURL is where an API on this machine listens unless it is told otherwise.
const DefaultAPIURL = "http://localhost:3008"

// credentialsFile holds Credentials.
const credentialsFile = "credentials.json"

// stateFolder is the folder, in a project and in a data folder's parent, that
// holds what Slipway remembers.
const stateFolder = ".slipway"

// Credentials are the contents of credentials.json, as `slipway dev` and
// `slipway login` write it.
type Credentials struct {
	APIURL           string `json:"apiUrl"`
	DispatcherURL    string `json:"dispatcherUrl,omitempty"`
	TemporalAddress  string `json:"temporalAddress,omitempty"`
	TemporalWebUIURL string `json:"temporalUiUrl,omitempty"`
	OrganizationID   string `json:"orgId"`
	UserID           string `json:"userId"`
	Token            string `json:"token"`
	// TokenID and ExpiresAt are of a token that `slipway login` got.
	TokenID           string     `json:"tokenId,omitempty"`
	ExpiresAt         *time.Time `json:"expiresAt,omitempty"`
	path              string
	readableByOthers  bool
	addressFromOthers bool
}

// addConnectionFlags gives a command the flags that say which API it talks to.
func addConnectionFlags(cmd *cobra.Command) {
	cmd.Flags().String("api", "", "address of the API (SLIPWAY_API_URL)")
	cmd.Flags().String("token", "", "API token (SLIPWAY_TOKEN)")
}

// connect finds the credentials and makes a client of them.
func (p *program) connect(cmd *cobra.Command) (*Client, Credentials, error) {
	creds, err := loadCredentials(cmd)
	if err != nil {
		return nil, creds, err
	}
	if creds.readableByOthers && !wantsJSON(cmd) {
		fmt.Fprintf(p.err, "Warning: %s holds a token and others can read it; run 'chmod 600 %s'.\n", creds.path, creds.path)
	}
	client, err := NewClient(ClientOptions{APIURL: creds.APIURL, Token: creds.Token, Version: p.version})
	return client, creds, err
}

// loadCredentials takes the address and the token from flags, then from the
// environment, then from credentials.json. A token given by flag or
// environment never goes to an address that a file names, and a file's token
// never goes to another address than the file's: a credentials.json that came
// with somebody else's folder could otherwise collect tokens.
func loadCredentials(cmd *cobra.Command) (Credentials, error) {
	address := firstOf(flagValue(cmd, "api"), os.Getenv("SLIPWAY_API_URL"))
	token := firstOf(flagValue(cmd, "token"), os.Getenv("SLIPWAY_TOKEN"))
	address = strings.TrimRight(address, "/")

	creds, err := findCredentials(address)
	if err != nil {
		return creds, err
	}
	fromFile := token == "" && creds.path != "" && (address == "" || address == strings.TrimRight(creds.APIURL, "/"))
	if !fromFile {
		creds = Credentials{APIURL: firstOf(address, DefaultAPIURL), Token: token, addressFromOthers: creds.path != ""}
	}
	creds.OrganizationID = firstOf(os.Getenv("SLIPWAY_ORG_ID"), creds.OrganizationID)
	creds.UserID = firstOf(os.Getenv("SLIPWAY_USER_ID"), creds.UserID)
	return creds, nil
}

// requireToken says what is missing for a request made in somebody's name.
func (c Credentials) requireToken() error {
	switch {
	case c.Token == "" && c.addressFromOthers:
		return fmt.Errorf("no token for %s: run 'slipway login --api %s', or set --token or SLIPWAY_TOKEN (the token in credentials.json is for another address)", c.APIURL, c.APIURL)
	case c.Token == "":
		return errors.New("no token: sign in with 'slipway login', run this where 'slipway dev' runs (it writes .slipway/credentials.json), or set SLIPWAY_API_URL and SLIPWAY_TOKEN")
	}
	return nil
}

// identify fills in whose the token is, where nothing has said so.
func (c *Credentials) identify(ctx context.Context, client *Client) error {
	if err := c.requireToken(); err != nil || c.OrganizationID != "" && c.UserID != "" {
		return err
	}
	me, _, err := client.Me(ctx)
	if err != nil {
		return err
	}
	if me.Organization == nil {
		return errors.New("you belong to no organization")
	}
	c.OrganizationID, c.UserID = me.Organization.ID, me.User.ID
	return nil
}

// findCredentials reads credentials.json in SLIPWAY_DATA_DIR, or in .slipway/ of
// the working folder or the nearest folder above it, or the one of 'slipway
// login': the first that is there, and with an address the first for that. None
// is no error; of those for other addresses it gives one, to be told from none.
func findCredentials(address string) (Credentials, error) {
	near, err := folderCredentials()
	if err != nil || near.path != "" && (address == "" || near.isFor(address)) {
		return near, err
	}
	own, err := readUserCredentials()
	if err != nil || own.path != "" && (address == "" || own.isFor(address)) {
		return own, err
	}
	if near.path != "" {
		return near, nil
	}
	return own, nil
}

func (c Credentials) isFor(address string) bool { return strings.TrimRight(c.APIURL, "/") == address }

// folderCredentials are those that belong to the working folder.
func folderCredentials() (Credentials, error) {
	if folder := os.Getenv("SLIPWAY_DATA_DIR"); folder != "" {
		return readCredentials(filepath.Join(folder, credentialsFile))
	}
	folder, err := os.Getwd()
	if err != nil {
		return Credentials{}, fmt.Errorf("find the working folder: %w", err)
	}
	for {
		creds, err := readCredentials(filepath.Join(folder, stateFolder, credentialsFile))
		if err != nil || creds.path != "" {
			return creds, err
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return Credentials{}, nil
		}
		folder = parent
	}
}

// userCredentialsPath is where 'slipway login' keeps what it got; "" for a user
// without a home.
func userCredentialsPath() string {
	folder, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(folder, "slipway", credentialsFile)
}

// readUserCredentials reads what 'slipway login' kept; the path is empty when
// nobody is signed in.
func readUserCredentials() (Credentials, error) {
	path := userCredentialsPath()
	if path == "" {
		return Credentials{}, nil
	}
	return readCredentials(path)
}

// writeUserCredentials keeps credentials for this user alone and notes where.
func writeUserCredentials(creds *Credentials) error {
	creds.path = userCredentialsPath()
	if creds.path == "" {
		return errors.New("there is no home folder to keep it in; set HOME")
	}
	data, err := json.MarshalIndent(creds, "", "  ")
	if err != nil {
		return err
	}
	folder := filepath.Dir(creds.path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	// Written beside and renamed: never half of it, never readable by others. The
	// name is new, so that nothing that is there already is followed or kept open.
	file, err := os.CreateTemp(folder, credentialsFile+".*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(append(data, '\n'))
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), creds.path)
}

// readCredentials reads one file; the path stays empty when there is none.
func readCredentials(path string) (Credentials, error) {
	var creds Credentials
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return creds, nil
	}
	if err != nil {
		return creds, fmt.Errorf("read the credentials: %w", err)
	}
	if err := json.Unmarshal(data, &creds); err != nil {
		return Credentials{}, fmt.Errorf("%s is not valid JSON (%w); start 'slipway dev' or 'slipway login' again to have it rewritten", path, err)
	}
	if creds.APIURL == "" {
		return Credentials{}, fmt.Errorf("%s has no apiUrl; start 'slipway dev' or 'slipway login' again to have it rewritten", path)
	}
	if state, err := os.Stat(path); err == nil {
		creds.readableByOthers = state.Mode().Perm()&0o077 != 0
	}
	creds.path = path
	return creds, nil
}

func flagValue(cmd *cobra.Command, name string) string {
	if flag := cmd.Flags().Lookup(name); flag != nil {
		return flag.Value.String()
	}
	return ""
}

func firstOf(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}
