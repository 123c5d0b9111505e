package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

type pgconnError = pgconn.PgError

// invalidPassword is SQLSTATE invalid_password.
const invalidPassword = "28P01"

// stopLeftovers ends server processes that an earlier, killed parent may have
// left on the cluster, and removes their lock file. The folder's lock is ours,
// so whatever still works in the cluster has no parent that wants it.
func (s *Server) stopLeftovers(ctx context.Context) error {
	dir := s.clusterDir()
	// They are dying already as a rule: the kernel told them so. Ask, then insist.
	steps := []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{0, 3 * time.Second}, {syscall.SIGQUIT, 5 * time.Second}, {syscall.SIGKILL, 5 * time.Second}}
	for _, step := range steps {
		deadline := time.Now().Add(step.wait)
		for _, pid := range processesIn(dir) {
			if step.signal != 0 {
				_ = syscall.Kill(pid, step.signal)
			}
		}
		for len(processesIn(dir)) > 0 && time.Now().Before(deadline) {
			if err := pause(ctx, pollInterval); err != nil {
				return err
			}
		}
	}
	if pids := processesIn(dir); len(pids) > 0 {
		return fmt.Errorf("processes %v of an earlier start still use %s and cannot be stopped", pids, dir)
	}
	// What the lock file names now is at best a stranger with the same number,
	// which would make the server refuse to start.
	if err := os.Remove(filepath.Join(dir, "postmaster.pid")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// processesIn lists processes whose working directory is dir: a server and all
// its backends stay in their cluster folder all their life.
func processesIn(dir string) []int {
	entries, _ := filepath.Glob("/proc/[0-9]*")
	var pids []int
	for _, entry := range entries {
		cwd, err := os.Readlink(filepath.Join(entry, "cwd"))
		if err != nil || cwd != dir {
			continue
		}
		if exe, err := os.Readlink(filepath.Join(entry, "exe")); err != nil || filepath.Base(exe) != "postgres" {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(entry)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
