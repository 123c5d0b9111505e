package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/slipwayhq/slipway/dev/child"
	"github.com/slipwayhq/slipway/tools/program"
)

// What the CPU time of a proxied request may be, in the peer's.
const (
	aimProxyNginx = 1.6
	aimProxyCaddy = 0.33
)

const peerHAProxy = "HAProxy"

// proxyCases are answers of a server on a unix socket, asked for through a proxy.
func proxyCases() []staticCase {
	return []staticCase{
		{name: "proxied, 1 KiB", path: "/1024", encoding: "identity", part: 1},
		{name: "proxied, 100 KiB", path: "/102400", encoding: "identity", part: 2},
	}
}

func proxyRowNames() (names []string) {
	for _, c := range proxyCases() {
		names = append(names, rateRow(c), costRow(c))
	}
	return names
}

// proxyKeys are the keys of the rows, which every peer has.
func proxyKeys() (all []string) {
	for _, peer := range []string{peerNginx, peerCaddy, peerHAProxy} {
		all = append(all, keys(peer, proxyRowNames()...)...)
	}
	return all
}

// proxyRows sends requests through the dispatcher and its peers to one server on
// a unix socket, in turns. All keep their connections to it open and set the
// headers about the client.
func proxyRows(ctx context.Context, b *bench) ([]row, error) {
	dir := filepath.Join(b.dir, "proxy")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "upstream")
	behind, err := startUpstream(ctx, socket)
	if err != nil {
		return nil, err
	}
	defer behind.stop()
	ours, err := startProxying(ctx, dir, socket, "")
	if err != nil {
		return nil, err
	}
	defer ours.stop()
	peers, err := startProxies(ctx, b, dir, socket)
	defer func() {
		for _, peer := range peers {
			peer.stop()
		}
	}()
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, c := range proxyCases() {
		got, err := measureProxy(ctx, b, c, ours, peers)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", c.name, err)
		}
		for i := range got {
			if got[i].missed() {
				got[i].look = profileProxy(ctx, b, c, dir, socket)
			}
		}
		rows = append(rows, got...)
	}
	return rows, nil
}

func measureProxy(ctx context.Context, b *bench, c staticCase, ours *server, peers []*server) ([]row, error) {
	body, err := sameAnswer(ctx, c, append([]*server{ours}, peers...)...)
	if err != nil {
		return nil, err
	}
	aims := map[string]float64{peerNginx: aimProxyNginx, peerCaddy: aimProxyCaddy}
	var rows []row
	for _, peer := range peers {
		rate := row{name: rateRow(c), peer: peer.name, unit: perSecond}
		cost := row{name: costRow(c), peer: peer.name, unit: micros, aim: aims[peer.name]}
		for turn := range b.staticPairs + 1 {
			mine, err := ours.bear(ctx, c, body, b.requests)
			if err != nil {
				return nil, err
			}
			theirs, err := peer.bear(ctx, c, body, b.requests)
			if err != nil {
				return nil, err
			}
			if turn == 0 && !b.quick {
				continue // connections are open
			}
			rate.pairs = append(rate.pairs, pair{mine.rate, theirs.rate})
			cost.pairs = append(cost.pairs, pair{mine.cost, theirs.cost})
		}
		rows = append(rows, rate, cost)
	}
	return rows, nil
}

// startUpstream starts the server behind the proxies: this program.
func startUpstream(ctx context.Context, socket string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startServer(ctx, "the server behind", socket, "", child.Options{Path: self, Args: []string{plainUpstream, socket}})
}

// startProxying starts a dispatcher whose one worker is the server behind. It
// profiles itself into a file if that is named.
func startProxying(ctx context.Context, dir, socket, profile string) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startServer(ctx, "the dispatcher", addr, proxiedWorker+".localhost", child.Options{
		Path: self, Args: []string{proxyingDispatcher, addr, socket, filepath.Join(dir, "blobs"), profile},
	})
}

// startProxies starts the peers. Those that it started are returned also with an
// error.
func startProxies(ctx context.Context, b *bench, dir, socket string) (started []*server, err error) {
	for _, start := range []func() (*server, error){
		func() (*server, error) { return startNginxProxy(ctx, dir, socket) },
		func() (*server, error) { return startCaddyProxy(ctx, dir, socket) },
		func() (*server, error) { return startHAProxy(ctx, dir, socket) },
	} {
		peer, err := start()
		if err != nil {
			return started, err
		}
		started = append(started, peer)
	}
	return started, nil
}

const nginxProxyConfig = `daemon off;
worker_processes auto;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
	access_log off;
	keepalive_requests 100000000;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	upstream worker {
		server unix:%[3]s;
		keepalive 64;
		keepalive_requests 100000000;
	}
	server {
		listen %[2]s;
		location / {
			proxy_pass http://worker;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $http_host;
			proxy_set_header X-Forwarded-For $remote_addr;
			proxy_set_header X-Forwarded-Proto $scheme;
			proxy_set_header X-Forwarded-Host $http_host;
			proxy_set_header X-Real-IP $remote_addr;
			proxy_set_header X-Request-Id $request_id;
			add_header X-Request-Id $request_id;
		}
	}
}
`

func startNginxProxy(ctx context.Context, dir, socket string) (*server, error) {
	program, err := findProgram("nginx")
	if err != nil {
		return nil, errors.New("nginx is not installed: apt-get install nginx-light")
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	home := filepath.Join(dir, "nginx")
	config, err := writeConfig(home, "nginx.conf", fmt.Sprintf(nginxProxyConfig, home, addr, socket))
	if err != nil {
		return nil, err
	}
	// The workers run as nobody and must reach the socket.
	if err := os.Chmod(socket, 0o777); err != nil {
		return nil, err
	}
	return startServer(ctx, peerNginx, addr, addr, child.Options{Path: program, Args: []string{"-p", home, "-e", "stderr", "-c", config}})
}

const caddyProxyConfig = `{
	admin off
	auto_https off
	persist_config off
}
http://%[1]s {
	reverse_proxy unix/%[2]s {
		header_up X-Real-IP {remote_host}
		header_up X-Request-Id {http.request.uuid}
	}
	header X-Request-Id {http.request.uuid}
}
`

func startCaddyProxy(ctx context.Context, dir, socket string) (*server, error) {
	bin, err := program.Build("caddy", "github.com/caddyserver/caddy/v2/cmd/caddy")
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	home := filepath.Join(dir, "caddy")
	config, err := writeConfig(home, "Caddyfile", fmt.Sprintf(caddyProxyConfig, addr, socket))
	if err != nil {
		return nil, err
	}
	return startServer(ctx, peerCaddy, addr, addr, child.Options{
		Path: filepath.Join(bin, "caddy"), Args: []string{"run", "--config", config, "--adapter", "caddyfile"},
		Env: append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_DATA_HOME="+home),
	})
}

const haproxyConfig = `global
	nbthread 2
defaults
	mode http
	timeout connect 5s
	timeout client 60s
	timeout server 60s
	http-reuse always
frontend front
	bind %[1]s
	option forwardfor
	unique-id-format %%{+X}o%%ci%%cp%%Ts%%rt
	http-request set-header X-Request-Id %%[unique-id]
	http-request set-header X-Real-IP %%[src]
	http-request set-header X-Forwarded-Proto http
	http-request set-header X-Forwarded-Host %%[req.hdr(host)]
	http-response set-header X-Request-Id %%[unique-id]
	default_backend worker
backend worker
	server worker unix@%[2]s pool-max-conn 64
`

func startHAProxy(ctx context.Context, dir, socket string) (*server, error) {
	program, err := findProgram("haproxy")
	if err != nil {
		return nil, errors.New("HAProxy is not installed: apt-get install haproxy")
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	config, err := writeConfig(filepath.Join(dir, "haproxy"), "haproxy.cfg", fmt.Sprintf(haproxyConfig, addr, socket))
	if err != nil {
		return nil, err
	}
	return startServer(ctx, peerHAProxy, addr, addr, child.Options{Path: program, Args: []string{"-db", "-f", config}})
}

// writeConfig puts a configuration into a folder of its own and gives its path.
func writeConfig(home, name, text string) (string, error) {
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(home, name)
	return path, os.WriteFile(path, []byte(text), 0o644)
}

// profileProxy says where the dispatcher's CPU time goes under the same load.
func profileProxy(ctx context.Context, b *bench, c staticCase, dir, socket string) string {
	profile := filepath.Join(b.dir, "proxy.pprof")
	s, err := startProxying(ctx, dir, socket, profile)
	if err != nil {
		return fmt.Sprintf("  no profile: %v", err)
	}
	body, err := sameAnswer(ctx, c, s)
	if err == nil {
		_, err = s.bear(ctx, c, body, b.requests)
	}
	s.stop() // writes the profile
	if err != nil {
		return fmt.Sprintf("  no profile: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Sprintf("  no profile: %v", err)
	}
	top, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-cum", "-nodecount=60", self, profile).Output()
	if err != nil {
		return fmt.Sprintf("  no profile: %v", err)
	}
	return "  the dispatcher's CPU time under this load, by function and what it calls; look for what is not read, write or epoll:\n  " +
		strings.ReplaceAll(strings.TrimSpace(string(top)), "\n", "\n  ")
}
