package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/slipwayhq/slipway/dev/child"
)

// initialize makes the cluster beside its final place and renames it when it is
// whole, so a start that is killed half-way leaves nothing that looks finished.
func (s *Server) initialize(ctx context.Context) error {
	s.opts.progress("Making a PostgreSQL %d data folder …", s.bin.major)
	work := filepath.Join(s.opts.DataDir, "initializing")
	if err := errors.Join(os.RemoveAll(work), os.Mkdir(work, 0o700)); err != nil {
		return err
	}
	secret, err := os.CreateTemp(s.opts.DataDir, "initdb-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(secret.Name()); _ = secret.Close() }()
	if _, err := secret.WriteString(s.password + "\n"); err != nil {
		return err
	}
	if s.owner != nil {
		for _, path := range []string{work, secret.Name()} {
			if err := os.Chown(path, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
				return fmt.Errorf("give the data folder to the server's user: %w", err)
			}
		}
	}
	cluster, err := os.Open(work)
	if err != nil {
		return err
	}
	defer func() { _ = cluster.Close() }()
	args := []string{
		"-D", "/proc/self/fd/3", "--pwfile=/proc/self/fd/4", "--username=" + s.opts.User,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
	}
	if s.opts.Ephemeral {
		args = append(args, "--no-sync")
	}
	process, err := child.Start(child.Options{
		Name: "initdb", Path: s.bin.path("initdb"), Args: args, Env: serverEnv(), Dir: "/",
		Files: []*os.File{cluster, secret}, Credential: s.owner, Output: s.opts.Log,
	})
	if err != nil {
		return err
	}
	select {
	case <-process.Done():
	case <-ctx.Done():
		process.Stop(ctx, 0)
		return ctx.Err()
	}
	if err := process.Err(); err != nil {
		return err
	}
	return os.Rename(work, s.clusterDir())
}

// serverUser is who the server runs as: nobody else when we are an ordinary
// user (nil). As root, which PostgreSQL refuses, it is the owner of an existing
// cluster, else the machine's user postgres, else nobody.
func serverUser(clusterDir string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if stat, err := os.Stat(clusterDir); err == nil {
		owner := stat.Sys().(*syscall.Stat_t)
		if owner.Uid == 0 {
			return nil, fmt.Errorf("%s belongs to root, as which PostgreSQL refuses to run: "+
				"give it to another user with chown -R", clusterDir)
		}
		return &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(found.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(found.Gid, 10, 32)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("running as root, and the machine has neither a user postgres nor nobody to run the server as: " +
		"add one, or run as an ordinary user")
}

// serverEnv leaves out every PG* variable of the caller, which would otherwise
// change how initdb and the server behave, and all of its secrets.
func serverEnv() []string {
	env := []string{"LC_ALL=C", "TZ=UTC"}
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}
