package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/slipwayhq/slipway/dev/child"
	"github.com/slipwayhq/slipway/tools/program"
)

// server is one that serves the site.
type server struct {
	name string
	// addr is where it listens, host the Host header that reaches the site.
	addr, host string
	process    *child.Process
	// signal asks it to end.
	signal syscall.Signal
}

const (
	// nginx reads ten thousand certificates before it listens.
	serverPatience = 2 * time.Minute
	serverGrace    = 10 * time.Second
)

// startServer starts a program that will listen on addr, a host and port or the
// path of a socket, and waits until it does.
func startServer(ctx context.Context, name, addr, host string, opts child.Options) (*server, error) {
	opts.Name, opts.DeathSignal = name, syscall.SIGTERM
	process, err := child.Start(opts)
	if err != nil {
		return nil, err
	}
	s := &server{name: name, addr: addr, host: host, process: process, signal: syscall.SIGTERM}
	network := "tcp"
	if filepath.IsAbs(addr) {
		network = "unix"
	}
	err = poll(ctx, serverPatience, name+" to listen", func() (bool, error) {
		select {
		case <-process.Done():
			return false, fmt.Errorf("%s did not start:\n%s", name, process.Tail())
		default:
		}
		connection, err := net.DialTimeout(network, addr, time.Second)
		if err != nil {
			return false, nil
		}
		return true, connection.Close()
	})
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *server) stop() {
	s.process.Stop(context.Background(), serverGrace, s.signal)
}

func freeAddr() (string, error) {
	port, err := freePort()
	return fmt.Sprintf("127.0.0.1:%d", port), err
}

// startDispatcher starts the role by itself, so that what it spends can be told
// from what the other roles do.
func startDispatcher(ctx context.Context, s *system, worker string) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	home, err := s.ownFolder("dispatcher")
	if err != nil {
		return nil, err
	}
	return startServer(ctx, "the dispatcher", addr, worker+".localhost", child.Options{
		Path: filepath.Join(s.bin, "slipway"), Args: []string{"dispatcher"},
		Env: s.environment("SLIPWAY_DISPATCHER_ADDR="+addr, "SLIPWAY_DATA_DIR="+home),
	})
}

// ownFolder is a data folder for one more role: blobs and key are the system's,
// the rest belongs to one process.
func (s *system) ownFolder(name string) (string, error) {
	home := s.data + "-" + name
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", err
	}
	for _, shared := range []string{"blobs", "secret.key"} {
		if err := os.Symlink(filepath.Join(s.data, shared), filepath.Join(home, shared)); err != nil && !errors.Is(err, os.ErrExist) {
			return "", err
		}
	}
	return home, nil
}

// nginxConfig is what an operator who wants speed would write: a worker for each
// core, no access log, files from sendfile, compressed ones from disk, open files
// remembered, connections kept.
const nginxConfig = `daemon off;
worker_processes auto;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	gzip_static on;
	open_file_cache max=100 inactive=5m;
	keepalive_requests 100000000;
	types { text/html html; text/javascript js; }
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]s;
		root %[3]s;
	}
}
`

func startNginx(ctx context.Context, dir, site string) (*server, error) {
	program, err := findProgram("nginx")
	if err != nil {
		return nil, errors.New("nginx is not installed: apt-get install nginx-light")
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	home := filepath.Join(dir, "nginx")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return nil, err
	}
	config := filepath.Join(home, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, home, addr, site), 0o644); err != nil {
		return nil, err
	}
	return startServer(ctx, "nginx", addr, addr, child.Options{Path: program, Args: []string{"-p", home, "-e", "stderr", "-c", config}})
}

// findProgram looks where Debian keeps servers too, which is on root's PATH only.
func findProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", name))
}

const caddyConfig = `{
	admin off
	auto_https off
	persist_config off
}
http://%[1]s {
	root * %[2]s
	file_server {
		precompressed gzip
	}
}
`

func startCaddy(ctx context.Context, dir, site string) (*server, error) {
	bin, err := program.Build("caddy", "github.com/caddyserver/caddy/v2/cmd/caddy")
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	home := filepath.Join(dir, "caddy")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return nil, err
	}
	config := filepath.Join(home, "Caddyfile")
	if err := os.WriteFile(config, fmt.Appendf(nil, caddyConfig, addr, site), 0o644); err != nil {
		return nil, err
	}
	return startServer(ctx, "Caddy", addr, addr, child.Options{
		Path: filepath.Join(bin, "caddy"), Args: []string{"run", "--config", config, "--adapter", "caddyfile"},
		Env: append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_DATA_HOME="+home),
	})
}
