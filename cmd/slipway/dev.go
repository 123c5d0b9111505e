package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/writer"
	"github.com/spf13/cobra"

	"github.com/slipwayhq/slipway/cli"
	"github.com/slipwayhq/slipway/config"
	"github.com/slipwayhq/slipway/dev"
	"github.com/slipwayhq/slipway/examples"
	"github.com/slipwayhq/slipway/models"
)

// devCommand runs everything on this machine.
func devCommand() *cobra.Command {
	var noExample bool
	cmd := &cobra.Command{
		Use: "dev", Short: "Run a whole Slipway on this machine", GroupID: cli.GroupServe, Args: cobra.NoArgs,
		Long: `Starts PostgreSQL, Temporal with its Web UI, the API, a worker and the
dispatcher, watches them, and stops them all on Ctrl-C. Everything is kept in one
folder, .slipway in the working directory (SLIPWAY_DATA_DIR), and survives
restarts and crashes. It writes credentials.json there for the client commands.

The first start on an empty folder deploys a small Vite and React project.

Ports (0 takes a free one): SLIPWAY_API_PORT 3008, SLIPWAY_DISPATCHER_PORT 3005,
SLIPWAY_TEMPORAL_PORT 7233, SLIPWAY_TEMPORAL_UI_PORT 8233, SLIPWAY_POSTGRES_PORT 0.
Metrics for Prometheus are at SLIPWAY_METRICS_ADDR, 127.0.0.1:9464.`,
		Example: `  slipway dev
  SLIPWAY_DATA_DIR=/srv/slipway slipway dev
  SLIPWAY_API_PORT=0 SLIPWAY_DISPATCHER_PORT=0 slipway dev --no-example`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load()
			if err != nil {
				return err
			}
			d := &devStack{config: c, log: c.Logger(), example: !noExample}
			return dev.Run(cmd.Context(), dev.Options{
				DataDir:        c.DataDir,
				APIAddr:        net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Dev.APIPort)),
				DispatcherAddr: net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Dev.DispatcherPort)),
				TemporalPort:   c.Dev.TemporalPort, TemporalUIPort: c.Dev.TemporalUIPort, PostgresPort: c.Dev.PostgresPort,
				TemporalBinary: c.Dev.TemporalBinary,
				Log:            d.log, Out: cmd.OutOrStdout(), Prepare: d.prepare,
			})
		},
	}
	cmd.Flags().BoolVar(&noExample, "no-example", false, "do not deploy the example on a first start")
	return cmd
}

// ownerEmail is who owns what is made on this machine.
const ownerEmail = "owner@localhost"

// devStack is what `slipway dev` runs on top of PostgreSQL and Temporal.
type devStack struct {
	config   config.Config
	log      *logrus.Logger
	example  bool
	platform *platform
	env      dev.Environment
	polling  atomic.Bool
}

// prepare migrates, makes sure there is somebody to deploy as, and names the roles.
func (d *devStack) prepare(ctx context.Context, env dev.Environment) (dev.Roles, error) {
	d.env = env
	if err := d.logToFile(filepath.Join(env.DataDir, "logs", "slipway.log")); err != nil {
		return dev.Roles{}, err
	}
	c := d.config
	c.DataDir, c.Postgres.URL, c.Postgres.DirectURL = env.DataDir, env.PostgresURL, env.PostgresURL
	c.Temporal.Address = env.TemporalAddress
	c.API.Addr, c.Dispatch.Addr = env.APIAddr, env.DispatcherAddr
	if _, port, err := net.SplitHostPort(env.DispatcherAddr); err == nil && c.Dispatch.Port == 0 {
		c.Dispatch.Port, _ = strconv.Atoi(port)
	}
	p, err := openPlatform(ctx, c, d.log)
	if err != nil {
		return dev.Roles{}, err
	}
	d.platform = p
	hideMetrics := p.showMetrics(ctx)
	if err := p.store.Migrate(ctx); err != nil {
		return dev.Roles{}, err
	}
	// Fetched here so that a first start shows what it waits for.
	if _, err := installToolchain(ctx); err != nil {
		return dev.Roles{}, err
	}
	login, first, err := d.login(ctx)
	if err != nil {
		return dev.Roles{}, err
	}
	roles := dev.Roles{
		OrgID: login.OrgID, UserID: login.UserID, Token: login.Token, Email: login.Email, Password: login.Password,
		Services: []dev.Service{
			{Name: "api", Serve: d.listening(env.APIAddr, "SLIPWAY_API_PORT", p.serveAPI), Ready: answers(env.APIURL + "/health")},
			{Name: "dispatcher", Serve: d.listening(env.DispatcherAddr, "SLIPWAY_DISPATCHER_PORT", p.serveDispatcher), Ready: answers(env.DispatcherURL + "/health")},
		},
		Close: func() { hideMetrics(); p.close() },
	}
	if c.Dev.Worker {
		roles.Services = append(roles.Services, dev.Service{Name: "worker", Serve: d.serveWorker, Ready: d.workerReady})
	}
	if first && d.example {
		roles.Started = d.deployExample
	}
	return roles, nil
}

// logToFile keeps the terminal for what a person wants to see: warnings and
// worse show there as well.
func (d *devStack) logToFile(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	d.log.AddHook(&writer.Hook{Writer: d.log.Out, LogLevels: logrus.AllLevels[:logrus.WarnLevel+1]})
	d.log.SetOutput(file)
	return nil
}

// login keeps the credentials of an earlier start when they still work; first
// says that there were none.
func (d *devStack) login(ctx context.Context) (login dev.Credentials, first bool, err error) {
	old := d.env.Previous
	if old.Token != "" {
		if id, err := d.platform.store.Authenticate(ctx, old.Token); err == nil {
			login = dev.Credentials{OrgID: id.OrganizationID, UserID: id.UserID, Token: old.Token, Email: old.Email, Password: old.Password}
		}
	}
	if login.Token == "" {
		if login, err = d.platform.bootstrap(ctx, "Default", ownerEmail); err != nil {
			return login, false, err
		}
	}
	if login.Password == "" {
		// The file is of an earlier release, or was lost: whoever has the folder is
		// the owner.
		login.Email = ownerEmail
		login.Password, err = d.platform.givePassword(ctx, login.UserID)
	}
	return login, old.Token == "", err
}

// serveWorker ends everything when this machine cannot isolate builds, because
// starting it again would not help.
func (d *devStack) serveWorker(ctx context.Context) error {
	defer d.polling.Store(false)
	err := d.platform.serveWorker(ctx, func() { d.polling.Store(true) })
	if !d.polling.Load() && models.CodeOf(err) == models.CodeSandbox {
		return dev.Fatal(err)
	}
	return err
}

func (d *devStack) workerReady(context.Context) error {
	if !d.polling.Load() {
		return errors.New("checking that builds can be isolated")
	}
	return nil
}

// listening is a service that opens its address anew whenever it is started.
func (d *devStack) listening(addr, setting string, serve func(context.Context, net.Listener) error) func(context.Context) error {
	return func(ctx context.Context) error {
		listener, err := listen(addr, setting)
		if err != nil {
			return err
		}
		return serve(ctx, listener)
	}
}

// answers is a readiness check.
func answers(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", url, answer.Status)
		}
		return nil
	}
}

// deployExample shows a newcomer the way with the command they will type.
func (d *devStack) deployExample(ctx context.Context) {
	d.env.Progress("Deploying the example project, examples/vite-react …")
	if err := d.runDeploy(ctx); err != nil && ctx.Err() == nil {
		d.log.WithError(err).Warn("the example project was not deployed")
	}
}

func (d *devStack) runDeploy(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "slipway-example-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	project := filepath.Join(dir, "hello")
	if err := os.CopyFS(project, examples.ViteReact()); err != nil {
		return err
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, binary, "deploy", project)
	cmd.Env = append(os.Environ(), "SLIPWAY_DATA_DIR="+d.env.DataDir)
	cmd.Stdout = lineWriter(d.env.Progress)
	cmd.Stderr = cmd.Stdout
	return cmd.Run()
}

// lineWriter passes on what is written line by line.
type lineWriter func(line string)

// Write takes whole lines; the command it is for writes no others.
func (say lineWriter) Write(p []byte) (int, error) {
	for _, line := range strings.Split(strings.TrimRight(string(p), "\n"), "\n") {
		say(line)
	}
	return len(p), nil
}
