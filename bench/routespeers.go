package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"

	"github.com/slipwayhq/slipway/dev/child"
	"github.com/slipwayhq/slipway/tools/program"
)

const mapNginxConfig = `daemon off;
worker_processes auto;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
	access_log off;
	map_hash_max_size 4194304;
	map_hash_bucket_size 128;
	map $host $site { include %[1]s/map.conf; }
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]s;
		location / {
			if ($site = "") { return 404; }
			return 200 $site;
		}
	}
}
`

func startMapNginx(ctx context.Context, dir string, count int) (*server, error) {
	program, err := findProgram("nginx")
	if err != nil {
		return nil, errors.New("nginx is not installed: apt-get install nginx-light")
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	var lines bytes.Buffer
	for i := range count {
		fmt.Fprintf(&lines, "app-%d.localhost site-%d;\n", i, i)
	}
	config := filepath.Join(dir, "nginx.conf")
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "map.conf"), lines.Bytes(), 0o644),
		os.WriteFile(config, fmt.Appendf(nil, mapNginxConfig, dir, addr), 0o644),
	)
	if err != nil {
		return nil, err
	}
	return startServer(ctx, "nginx", addr, "app-0.localhost", child.Options{Path: program, Args: []string{"-p", dir, "-e", "stderr", "-c", config}})
}

// addMapLine adds a host to nginx's map and waits until it is served.
func addMapLine(ctx context.Context, dir, host string, nginx *server) error {
	file, err := os.OpenFile(filepath.Join(dir, "map.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(file, "%s new;\n", host)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := syscall.Kill(nginx.process.Pid(), syscall.SIGHUP); err != nil {
		return err
	}
	return nginx.awaitHost(ctx, host)
}

// addBesideCaddy adds routes to a dispatcher of ours and to Caddy, in turns.
func addBesideCaddy(ctx context.Context, b *bench, size routeSize) (row, error) {
	add := row{name: size.add(), peer: peerCaddyAPI, unit: seconds, aim: aimAddRoute, absolute: true, look: lookAddRoute}
	dir := filepath.Join(b.dir, "routes-caddy")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return add, err
	}
	ours, err := startManyRoutes(ctx, b, dir, size.count)
	if err != nil {
		return add, err
	}
	defer ours.stop()
	caddy, admin, err := startRoutesCaddy(ctx, dir, size.count)
	if err != nil {
		return add, err
	}
	defer caddy.stop()
	connection, err := pgx.Connect(ctx, b.system.postgresURL)
	if err != nil {
		return add, err
	}
	defer connection.Close(context.WithoutCancel(ctx))
	for turn := range b.routeTurns {
		host := fmt.Sprintf("besides-%d.localhost", turn)
		mine, err := timed(func() error { return addRoute(ctx, connection, host, ours) })
		if err != nil {
			return add, err
		}
		theirs, err := timed(func() error { return addCaddyRoute(ctx, admin, host, caddy) })
		if err != nil {
			return add, err
		}
		add.pairs = append(add.pairs, pair{mine.Seconds(), theirs.Seconds()})
	}
	return add, nil
}

// caddyRoute answers a host with a text. The shape is Caddy's.
func caddyRoute(host, body string) map[string]any {
	return map[string]any{
		"match":  []any{map[string]any{"host": []string{host}}},
		"handle": []any{map[string]any{"handler": "static_response", "body": body}},
	}
}

func startRoutesCaddy(ctx context.Context, dir string, count int) (caddy *server, admin string, err error) {
	bin, err := program.Build("caddy", "github.com/caddyserver/caddy/v2/cmd/caddy")
	if err != nil {
		return nil, "", err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, "", err
	}
	if admin, err = freeAddr(); err != nil {
		return nil, "", err
	}
	routes := make([]any, 0, count+1)
	for i := range count {
		routes = append(routes, caddyRoute(fmt.Sprintf("app-%d.localhost", i), fmt.Sprint("site-", i)))
	}
	routes = append(routes, map[string]any{"handle": []any{map[string]any{"handler": "static_response", "status_code": http.StatusNotFound}}})
	settings, err := json.Marshal(map[string]any{
		"admin": map[string]any{"listen": admin, "config": map[string]any{"persist": false}},
		"apps": map[string]any{"http": map[string]any{"servers": map[string]any{"srv0": map[string]any{
			"listen": []string{addr}, "automatic_https": map[string]any{"disable": true}, "routes": routes,
		}}}},
	})
	if err != nil {
		return nil, "", err
	}
	config := filepath.Join(dir, "caddy.json")
	if err := os.WriteFile(config, settings, 0o644); err != nil {
		return nil, "", err
	}
	caddy, err = startServer(ctx, peerCaddy, addr, addr, child.Options{
		Path: filepath.Join(bin, "caddy"), Args: []string{"run", "--config", config},
		Env: append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir),
	})
	return caddy, admin, err
}

// addCaddyRoute puts a route before all others and waits until it is served.
func addCaddyRoute(ctx context.Context, admin, host string, caddy *server) error {
	body, err := json.Marshal(caddyRoute(host, "new"))
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+admin+"/config/apps/http/servers/srv0/routes/0", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	said, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("route for Caddy: %s: %s", answer.Status, strings.TrimSpace(string(said)))
	}
	return caddy.awaitHost(ctx, host)
}
