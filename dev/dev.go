// Package dev runs a whole Slipway on one machine: PostgreSQL, Temporal and the
// roles, started in order, watched, started again when they crash, and stopped
// in the opposite order. One data folder holds everything that must outlive it.
//
// It knows how to run things, not what the roles are: the caller gives those.
package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/slipwayhq/slipway/dev/postgres"
	"github.com/slipwayhq/slipway/dev/temporal"
)

// Options says where things live. A port of 0 takes a free one.
type Options struct {
	// DataDir is created when missing, readable by its owner alone.
	DataDir string
	// APIAddr and DispatcherAddr are the host:port the roles listen on.
	APIAddr        string
	DispatcherAddr string
	TemporalPort   int
	TemporalUIPort int
	PostgresPort   int
	// TemporalBinary is the embedded server's program; empty looks beside this
	// program and on the PATH.
	TemporalBinary string
	// Log receives what goes wrong with a supervised part.
	Log logrus.FieldLogger
	// Out receives the progress lines and the summary.
	Out io.Writer
	// Prepare is called once PostgreSQL and Temporal answer: it migrates, makes
	// sure there is someone to deploy as, and returns the roles.
	Prepare func(context.Context, Environment) (Roles, error)
}

// Environment is what Prepare finds running.
type Environment struct {
	DataDir string
	// PostgresURL is a connection string for the database "slipway".
	PostgresURL     string
	TemporalAddress string
	TemporalUIURL   string
	// The roles' addresses with their ports chosen, and the URLs that reach them.
	APIAddr        string
	APIURL         string
	DispatcherAddr string
	DispatcherURL  string
	// Previous is what an earlier start wrote to credentials.json; zero on the first.
	Previous Credentials
	// Progress prints a line about something that takes a while.
	Progress func(line string)
}

// Roles is what the caller wants to run.
type Roles struct {
	Services []Service
	// OrgID, UserID, Token, Email and Password go into credentials.json.
	OrgID, UserID, Token, Email, Password string
	// Started, when set, runs once everything is ready, beside the services.
	Started func(context.Context)
	// Close, when set, is called after the services have stopped and before
	// PostgreSQL and Temporal do.
	Close func()
}

// database is the name of Slipway's own database.
const database = "slipway"

// Run starts everything, prints where it is, and serves until ctx ends or a
// SIGINT, SIGTERM or SIGHUP comes; then it stops everything in order. A second
// signal stops at once. It returns nil after a requested stop, else what made
// it impossible to go on.
func Run(ctx context.Context, opts Options) error {
	started := time.Now()
	ctx, hurry, release := catchSignals(ctx, opts.Out)
	defer release()
	h := &house{opts: opts, out: newPrinter(opts.Out), hurry: hurry}
	err := h.open(ctx)
	h.out.quiet()
	if err == nil {
		h.out.banner(h.env, h.roles.Email, h.credentialsFile(), time.Since(started))
		err = h.wait(ctx)
	}
	h.close()
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return nil
	}
	return err
}

// house is one running Slipway.
type house struct {
	opts  Options
	out   *printer
	hurry context.Context
	lock  *os.File
	env   Environment
	roles Roles

	// layers are stopped in the opposite order of their start.
	layers []*layer
	failed chan error
}

// open starts part after part. Whatever it started is closed by close, also after an error.
func (h *house) open(ctx context.Context) error {
	h.failed = make(chan error, 8)
	if err := h.claimDataDir(); err != nil {
		return err
	}
	if err := h.choosePorts(ctx); err != nil {
		return err
	}
	if err := h.startPostgres(ctx); err != nil {
		return err
	}
	if err := h.startTemporal(ctx); err != nil {
		return err
	}
	return h.startRoles(ctx)
}

func (h *house) startPostgres(ctx context.Context) error {
	done := h.out.stage("PostgreSQL")
	log, err := h.logFile("postgres.log")
	if err != nil {
		return err
	}
	server, err := postgres.Start(ctx, postgres.Options{
		DataDir: filepath.Join(h.env.DataDir, "postgres"), Port: h.opts.PostgresPort, Log: log, Progress: h.out.line,
	})
	if err != nil {
		return err
	}
	h.add("postgres", server.Stop, Service{Name: "postgres", Serve: server.Serve})
	if err := server.CreateDatabase(ctx, database); err != nil {
		return err
	}
	h.env.PostgresURL = server.URL(database)
	done(fmt.Sprintf("127.0.0.1:%d", server.Port()))
	return nil
}

func (h *house) startTemporal(ctx context.Context) error {
	done := h.out.stage("Temporal")
	binary := h.opts.TemporalBinary
	if binary == "" {
		var err error
		if binary, err = temporal.FindBinary(); err != nil {
			return err
		}
	}
	log, err := h.logFile("temporal.log")
	if err != nil {
		return err
	}
	server, err := temporal.Start(ctx, temporal.Options{
		Binary: binary, PostgresURL: h.env.PostgresURL, Port: h.opts.TemporalPort, UIPort: h.opts.TemporalUIPort,
		Log: log, Progress: h.out.line,
	})
	if err != nil {
		return err
	}
	h.add("temporal", server.Stop, Service{Name: "temporal", Serve: server.Serve})
	h.env.TemporalAddress, h.env.TemporalUIURL = server.Address(), server.UIURL()
	done(server.Address())
	return nil
}

func (h *house) startRoles(ctx context.Context) error {
	done := h.out.stage("Slipway")
	previous, err := readCredentials(h.credentialsFile())
	if err != nil {
		return err
	}
	h.env.Previous, h.env.Progress = previous, h.out.line
	if h.roles, err = h.opts.Prepare(ctx, h.env); err != nil {
		return err
	}
	roles := h.add("roles", nil, h.roles.Services...)
	if err := h.awaitReady(ctx, roles); err != nil {
		return err
	}
	if err := writeCredentials(h.credentialsFile(), Credentials{
		APIURL: h.env.APIURL, DispatcherURL: h.env.DispatcherURL,
		TemporalAddress: h.env.TemporalAddress, TemporalUIURL: h.env.TemporalUIURL,
		OrgID: h.roles.OrgID, UserID: h.roles.UserID, Token: h.roles.Token, Email: h.roles.Email, Password: h.roles.Password,
	}); err != nil {
		return err
	}
	done("")
	if h.roles.Started != nil {
		roles.run(h.roles.Started)
	}
	return nil
}

// awaitReady polls each service that can say whether it is ready.
func (h *house) awaitReady(ctx context.Context, roles *layer) error {
	for _, service := range roles.services {
		if service.Ready == nil {
			continue
		}
		for told := time.Now(); ; {
			err := service.Ready(ctx)
			if err == nil {
				break
			}
			if time.Since(told) > 5*time.Second {
				told = time.Now()
				h.out.line(fmt.Sprintf("Waiting for %s: %v", service.Name, err))
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case err := <-h.failed:
				return err
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	select {
	case err := <-h.failed:
		return err
	default:
		return nil
	}
}

// wait returns when it is time to stop.
func (h *house) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		h.out.line("Stopping … (Ctrl-C again stops at once)")
		return nil
	case err := <-h.failed:
		return err
	}
}

// close stops the layers from the top and gives the folder back.
func (h *house) close() {
	for i := len(h.layers) - 1; i >= 0; i-- {
		h.layers[i].stop(h.hurry)
		if h.layers[i].name == "roles" && h.roles.Close != nil {
			h.roles.Close()
		}
	}
	if h.lock != nil {
		_ = h.lock.Close()
	}
}

func (h *house) credentialsFile() string { return filepath.Join(h.env.DataDir, "credentials.json") }

// logFile opens a part's log, which is kept for the running start and the one before.
func (h *house) logFile(name string) (*os.File, error) {
	dir := filepath.Join(h.env.DataDir, "logs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name)
	if err := os.Rename(path, path+".1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

// catchSignals ends the first context on a first signal and the second on a second.
func catchSignals(parent context.Context, out io.Writer) (ctx, hurry context.Context, release func()) {
	ctx, cancel := context.WithCancel(parent)
	hurry, hurryCancel := context.WithCancel(context.WithoutCancel(parent))
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	released := make(chan struct{})
	go func() {
		for count := 0; ; count++ {
			select {
			case <-released:
				return
			case <-signals:
				if count == 0 {
					cancel()
					continue
				}
				_, _ = fmt.Fprintln(out, "Stopping at once.")
				hurryCancel()
			}
		}
	}()
	return ctx, hurry, func() {
		signal.Stop(signals)
		close(released)
		cancel()
		hurryCancel()
	}
}
