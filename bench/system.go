package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/slipwayhq/slipway/dev/child"
)

// programs builds Slipway as users do and copies it, so that a build during the
// run changes nothing of what is measured. It returns the copies' folder.
func (b *bench) programs(ctx context.Context) (string, error) {
	from := b.bin
	if from == "" {
		from = filepath.Join(b.root, "bin")
		build := exec.CommandContext(ctx, filepath.Join(b.root, "task"), "build")
		if said, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("./task build: %w\n%s", err, said)
		}
	}
	to := filepath.Join(b.dir, "bin")
	if err := os.Mkdir(to, 0o755); err != nil {
		return "", err
	}
	for _, name := range []string{"slipway", "slipway-devserver"} {
		if err := copyProgram(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return "", err
		}
	}
	return to, nil
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// system is a running `slipway dev`.
type system struct {
	// siteWorker is where deploySite put the site; "" before.
	siteWorker string

	bin, data   string
	process     *child.Process
	postgresURL string
	account
	endpoints
	http *http.Client
}

// account is who deploys; the names are those of credentials.json.
type account struct {
	OrgID  string `json:"orgId"`
	UserID string `json:"userId"`
	Token  string `json:"token"`
}

type endpoints struct {
	APIURL          string `json:"apiUrl"`
	DispatcherURL   string `json:"dispatcherUrl"`
	TemporalAddress string `json:"temporalAddress"`
}

const (
	// startPatience covers a first start, which fetches the toolchain.
	startPatience = 5 * time.Minute
	stopPatience  = time.Minute
	callTimeout   = 30 * time.Second
)

// startSystem starts slipway dev on an empty data folder and free ports, and
// waits until it is ready.
func startSystem(ctx context.Context, bin, data string) (*system, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &system{bin: bin, data: data, http: &http.Client{Timeout: callTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	s.process, err = child.Start(child.Options{
		Name: "slipway dev", Path: filepath.Join(bin, "slipway"), Args: []string{"dev", "--no-example"},
		Env: append(os.Environ(), "SLIPWAY_DATA_DIR="+data, "SLIPWAY_API_PORT=0", "SLIPWAY_DISPATCHER_PORT=0", "SLIPWAY_TEMPORAL_PORT=0",
			"SLIPWAY_TEMPORAL_UI_PORT=0", fmt.Sprintf("SLIPWAY_POSTGRES_PORT=%d", port),
			// All of the load comes from one address and deploys more than anybody.
			"SLIPWAY_RATE_ADDRESS=0", "SLIPWAY_RATE_STATUS=0", "SLIPWAY_RATE_TOKEN=0", "SLIPWAY_RATE_DEPLOY=0", "SLIPWAY_QUOTA_DEPLOYMENTS=1000000"),
		DeathSignal: syscall.SIGTERM,
	})
	if err != nil {
		return nil, err
	}
	if err := s.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	password, err := os.ReadFile(filepath.Join(data, "postgres", "password"))
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	database := url.URL{Scheme: "postgres", User: url.UserPassword("slipway", strings.TrimSpace(string(password))),
		Host: fmt.Sprintf("127.0.0.1:%d", port), Path: "/slipway", RawQuery: "sslmode=disable"}
	s.postgresURL = database.String()
	return s, nil
}

func (s *system) awaitReady(ctx context.Context) error {
	return poll(ctx, startPatience, "slipway dev to be ready", func() (bool, error) {
		select {
		case <-s.process.Done():
			return false, fmt.Errorf("slipway dev ended by itself:\n%s", s.process.Tail())
		default:
		}
		credentials, err := os.ReadFile(filepath.Join(s.data, "credentials.json"))
		if err != nil {
			return false, nil
		}
		if err := errors.Join(json.Unmarshal(credentials, &s.account), json.Unmarshal(credentials, &s.endpoints)); err != nil {
			return false, err
		}
		return s.call(ctx, s.account, http.MethodGet, "/health", nil, nil) == nil, nil
	})
}

// stop ends it as Ctrl-C does.
func (s *system) stop() error {
	s.http.CloseIdleConnections()
	select {
	case <-s.process.Done():
		return fmt.Errorf("slipway dev had ended by itself:\n%s", s.process.Tail())
	default:
	}
	s.process.Stop(context.Background(), stopPatience, syscall.SIGTERM)
	return s.process.Err()
}

// environment is that of a further role on the same database and blobs.
func (s *system) environment(more ...string) []string {
	return append(append(os.Environ(), "SLIPWAY_DATA_DIR="+s.data, "POSTGRES_URL="+s.postgresURL, "TEMPORAL_ADDRESS="+s.TemporalAddress), more...)
}

// newAccount makes an organization, which has no snapshots, results or blobs yet.
func (s *system) newAccount(ctx context.Context, name string) (account, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "slipway"), "bootstrap", "--organization", name, "--email", name+"@localhost")
	cmd.Env = s.environment()
	cmd.Stderr = os.Stderr
	var a account
	said, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(said, &a)
	}
	if err != nil {
		return a, fmt.Errorf("slipway bootstrap: %w", err)
	}
	if a.OrgID == s.OrgID || a.OrgID == "" {
		return a, errors.New("slipway bootstrap made no new organization: a cold deployment cannot be measured")
	}
	return a, nil
}

// call talks to the API; an answer that is not 2xx is an error. out may be nil.
func (s *system) call(ctx context.Context, who account, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.APIURL+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+who.Token)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	answer, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, content)
	}
	switch out := out.(type) {
	case nil:
		return nil
	case *string:
		*out = string(content)
		return nil
	default:
		return json.Unmarshal(content, out)
	}
}

// freePort is a port of 127.0.0.1 nobody listens on at this moment.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// poll asks until the answer is yes, an error, or patience ends.
func poll(ctx context.Context, patience time.Duration, what string, ready func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if ok, err := ready(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited for %s: %w", what, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
