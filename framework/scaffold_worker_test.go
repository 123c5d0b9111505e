//go:build frameworks

package framework_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/bundle"
	"github.com/slipwayhq/slipway/framework"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/toolchain"
)

// requireWorker bundles what a build left in dir, and asks it for its start page.
func requireWorker(t *testing.T, tools toolchain.Toolchain, dir string, plan framework.Plan, words string) {
	t.Helper()
	require.NotNil(t, plan.Worker)
	request := bundle.Request{Root: plan.Root, Settings: plan.Worker.Settings}
	for _, output := range plan.Worker.Outputs {
		request.Outputs = append(request.Outputs, bundle.Output(output))
	}
	var said strings.Builder
	err := bundle.Run(dir, request, &said)
	require.NoError(t, err, said.String())
	t.Logf("bundled: %s", said.String())

	content, err := os.ReadFile(filepath.Join(dir, bundle.Dir, bundle.DescriptionFile))
	require.NoError(t, err)
	var description bundle.Description
	require.NoError(t, json.Unmarshal(content, &description))
	require.NotNil(t, description.Worker)
	config := filepath.Join(dir, "workerd.capnp")
	require.NoError(t, os.WriteFile(config, []byte(workerdConfig(dir, emptyCache(t), description.Worker)), 0o644))
	require.Contains(t, askWorkerd(t, tools, dir, config), words)
}

// moduleFields are those of Worker.Module in workerd.capnp.
var moduleFields = map[models.ModuleType]string{
	models.ModuleES: "esModule", models.ModuleCommonJS: "commonJsModule", models.ModuleText: "text",
	models.ModuleData: "data", models.ModuleJSON: "json", models.ModuleWasm: "wasm",
}

// emptyCache is where the Cache API finds nothing and keeps nothing.
func emptyCache(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("CF-Cache-Status", "MISS")
		if r.Method == http.MethodGet {
			w.WriteHeader(http.StatusGatewayTimeout)
		}
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func workerdConfig(dir, cache string, worker *models.WorkerBundle) string {
	var modules, bindings, flags strings.Builder
	for i, module := range worker.Modules {
		fmt.Fprintf(&modules, "(name = %q, %s = embed %q), ", module.Name, moduleFields[module.Type], fmt.Sprintf("%s/modules/%d", bundle.Dir, i))
	}
	for name, value := range worker.Vars {
		fmt.Fprintf(&bindings, "(name = %q, json = %q), ", name, value)
	}
	for _, kv := range worker.KV {
		fmt.Fprintf(&bindings, "(name = %q, kvNamespace = \"files\"), ", kv.Binding)
	}
	if worker.Assets != nil && worker.Assets.Binding != "" {
		fmt.Fprintf(&bindings, "(name = %q, service = \"files\"), ", worker.Assets.Binding)
	}
	for _, flag := range worker.CompatibilityFlags {
		fmt.Fprintf(&flags, "%q, ", flag)
	}
	return fmt.Sprintf(`using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (modules = [%s], bindings = [%s], compatibilityDate = %q, compatibilityFlags = [%s],
      cacheApiOutbound = "cache")),
    (name = "files", disk = (path = %q)),
    (name = "cache", external = (address = %q, http = ())),
  ],
  sockets = [(name = "http", address = "unix:%s", http = (), service = "main")]
);`, modules.String(), bindings.String(), worker.CompatibilityDate, flags.String(), filepath.Join(dir, bundle.AssetsDir), cache, filepath.Join(dir, "s"))
}

// askWorkerd gives the start page.
func askWorkerd(t *testing.T, tools toolchain.Toolchain, dir, config string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, bundle.AssetsDir), 0o755))
	var said strings.Builder
	command := exec.Command(tools.Tool("workerd"), "serve", config)
	command.Stdout, command.Stderr = &said, &said
	require.NoError(t, command.Start())
	ended := make(chan struct{})
	go func() { _ = command.Wait(); close(ended) }()
	stop := func() { _ = command.Process.Kill(); <-ended }
	defer stop()

	socket := func(string, string) (net.Conn, error) { return net.Dial("unix", filepath.Join(dir, "s")) }
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true, Dial: socket}}
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		select {
		case <-ended:
			require.Fail(t, "workerd ended", said.String())
		default:
		}
		answer, err := client.Get("http://scaffold.example/")
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		stop()
		require.Equal(t, http.StatusOK, answer.StatusCode, "%s\n%s", body, said.String())
		return string(body)
	}
	stop()
	require.Fail(t, "workerd did not answer", said.String())
	return ""
}
