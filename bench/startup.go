package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/slipwayhq/slipway/dev/child"
)

// aimStartup is for a clone that was built before.
const aimStartup = 15 * time.Second

// startup is one measured start.
type startup struct {
	name string
	// ready and page count from the command; ready is when the API is healthy.
	ready, page time.Duration
	// aim bounds page; 0 is none.
	aim time.Duration
}

// measureStartup types ./task dev and waits for the first page: with -cold in a
// fresh clone with empty caches, then in this one, on an empty data folder and
// once more on the same.
func measureStartup(ctx context.Context, s settings) (err error) {
	root, err := repositoryRoot()
	if err != nil {
		return err
	}
	dir, err := newFolder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	describeMachine(os.Stdout)

	var starts []startup
	if s.cold {
		cold, err := coldStart(ctx, root, filepath.Join(dir, "cold"))
		if err != nil {
			return fmt.Errorf("cold clone: %w", err)
		}
		starts = append(starts, cold)
	}
	say("building, so that this clone is a warm one …")
	if said, err := exec.CommandContext(ctx, filepath.Join(root, "task"), "build").CombinedOutput(); err != nil {
		return fmt.Errorf("./task build: %w\n%s", err, said)
	}
	house, err := newTaskDev(root, filepath.Join(dir, "data"), nil)
	if err != nil {
		return err
	}
	for _, name := range []string{"warm clone, first start: the example is built", "warm clone, later start: the example is live"} {
		start, err := house.measure(ctx, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		start.aim = aimStartup
		starts = append(starts, start)
	}
	printStarts(starts)
	return nil
}

func printStarts(starts []startup) {
	fmt.Println()
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "from ./task dev\tready\tfirst page\taim\t")
	for _, s := range starts {
		aim, verdict := "", ""
		if s.aim > 0 {
			aim, verdict = "≤ "+s.aim.String(), "met"
			if s.page > s.aim {
				verdict = "MISSED: the progress lines above say what took how long"
			}
		}
		fmt.Fprintf(table, "%s\t%.1f s\t%.1f s\t%s\t%s\n", s.name, s.ready.Seconds(), s.page.Seconds(), aim, verdict)
	}
	_ = table.Flush()
}

// coldStart clones what is committed and starts it with nothing in any cache.
func coldStart(ctx context.Context, root, dir string) (startup, error) {
	clone := filepath.Join(dir, "slipway")
	if said, err := exec.CommandContext(ctx, "git", "clone", "--quiet", "--no-hardlinks", root, clone).CombinedOutput(); err != nil {
		return startup{}, fmt.Errorf("git clone: %w\n%s", err, said)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	house, err := newTaskDev(clone, filepath.Join(clone, ".slipway"), []string{
		"GOCACHE=" + in("go-build"), "GOMODCACHE=" + in("go-mod"),
		// Else the module cache is read-only and cannot be removed.
		"GOFLAGS=-modcacherw",
		"XDG_CACHE_HOME=" + in("cache"), "SLIPWAY_TOOLCHAIN_DIR=" + in("toolchain"), "npm_config_cache=" + in("npm"),
	})
	if err != nil {
		return startup{}, err
	}
	return house.measure(ctx, "cold clone: fetches, compiles, builds the example")
}

// taskDev is ./task dev in a checkout, on a data folder and ports of its own.
type taskDev struct {
	checkout, data string
	env            []string
}

func newTaskDev(checkout, data string, env []string) (*taskDev, error) {
	env = append(append(os.Environ(), "SLIPWAY_DATA_DIR="+data, "SLIPWAY_POSTGRES_PORT=0"), env...)
	// The same ports at each start, so that what an earlier one wrote stays true.
	for _, name := range []string{"SLIPWAY_API_PORT", "SLIPWAY_DISPATCHER_PORT", "SLIPWAY_TEMPORAL_PORT", "SLIPWAY_TEMPORAL_UI_PORT"} {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		env = append(env, fmt.Sprintf("%s=%d", name, port))
	}
	return &taskDev{checkout: checkout, data: data, env: env}, nil
}

// coldPatience covers compiling everything on a small machine.
const coldPatience = 45 * time.Minute

// measure starts it, waits for the first page, and ends it as Ctrl-C does.
func (t *taskDev) measure(ctx context.Context, name string) (startup, error) {
	say("%s …", name)
	began := time.Now()
	process, err := child.Start(child.Options{Name: "./task dev", Path: filepath.Join(t.checkout, "task"), Args: []string{"dev"},
		Dir: t.checkout, Env: t.env, Output: os.Stderr, DeathSignal: syscall.SIGTERM})
	if err != nil {
		return startup{}, err
	}
	result, err := t.await(ctx, process, startup{name: name}, began)
	return result, errors.Join(err, interrupt(process), t.awaitEnd())
}

func (t *taskDev) await(ctx context.Context, process *child.Process, result startup, began time.Time) (startup, error) {
	s := &system{data: t.data, http: &http.Client{Timeout: callTimeout}}
	defer s.http.CloseIdleConnections()
	err := poll(ctx, coldPatience, "the first page", func() (bool, error) {
		select {
		case <-process.Done():
			return false, errors.New("./task dev ended by itself")
		default:
		}
		credentials, err := os.ReadFile(filepath.Join(t.data, "credentials.json"))
		if err != nil {
			return false, nil
		}
		if err := errors.Join(json.Unmarshal(credentials, &s.account), json.Unmarshal(credentials, &s.endpoints)); err != nil {
			return false, err
		}
		if result.ready == 0 {
			if s.call(ctx, s.account, http.MethodGet, "/health", nil, nil) != nil {
				return false, nil
			}
			result.ready = time.Since(began)
		}
		return s.hasPage(ctx), nil
	})
	result.page = time.Since(began)
	return result, err
}

// hasPage says whether the first project answers.
func (s *system) hasPage(ctx context.Context) bool {
	var projects struct {
		Items []struct {
			WorkerName string `json:"workerName"`
		} `json:"items"`
	}
	if s.call(ctx, s.account, http.MethodGet, "/projects", nil, &projects) != nil || len(projects.Items) == 0 {
		return false
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.DispatcherURL+"/", nil)
	if err != nil {
		return false
	}
	req.Host = projects.Items[0].WorkerName + ".localhost"
	answer, err := s.http.Do(req)
	if err != nil {
		return false
	}
	return answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
}

// awaitEnd waits until the data folder is given back: what was typed may end
// before what it started.
func (t *taskDev) awaitEnd() error {
	lock, err := os.Open(filepath.Join(t.data, "lock"))
	if err != nil {
		return nil // it never came so far
	}
	defer lock.Close()
	return poll(context.Background(), stopPatience, "slipway dev to end", func() (bool, error) {
		return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil, nil
	})
}

// interrupt does what Ctrl-C in a terminal does: it signals the whole process
// group.
func interrupt(process *child.Process) error {
	_ = syscall.Kill(-process.Pid(), syscall.SIGINT)
	select {
	case <-process.Done():
		return nil
	case <-time.After(stopPatience):
		process.Stop(context.Background(), serverGrace, syscall.SIGTERM)
		return fmt.Errorf("./task dev did not stop within %s of Ctrl-C", stopPatience)
	}
}
