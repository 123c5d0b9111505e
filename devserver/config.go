package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"

	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/postgresql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"

	"github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	"github.com/temporalio/ui-server/v2/server/server_options"
)

const (
	// historyShards is fixed for the life of a database. Each shard picks up its
	// workflows' tasks on its own; a few keep concurrent deployments apart, many
	// would only poll an idle database.
	historyShards = 4

	mainStore       = "main"
	visibilityStore = "visibility"

	mainDatabase       = "temporal"
	visibilityDatabase = "temporal_visibility"
)

// serverConfig describes one process with all four services on fixed local
// ports. Fixed hosts replace the gossip membership a cluster would need.
func serverConfig(opts *options) (*config.Config, map[primitives.ServiceName]static.Hosts, error) {
	stores, err := dataStores(opts)
	if err != nil {
		return nil, nil, err
	}
	frontend := opts.address()
	if ip := net.ParseIP(opts.ip); ip.IsUnspecified() {
		frontend = net.JoinHostPort("127.0.0.1", strconv.Itoa(opts.port))
	}
	cfg := &config.Config{
		Global: config.Global{
			Membership: config.Membership{BroadcastAddress: "127.0.0.1"},
			Metrics:    &metrics.Config{},
		},
		Persistence: config.Persistence{
			DefaultStore:     mainStore,
			VisibilityStore:  visibilityStore,
			NumHistoryShards: historyShards,
			DataStores:       stores,
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        "active",
			CurrentClusterName:       "active",
			ClusterInformation: map[string]cluster.ClusterInformation{
				"active": {Enabled: true, InitialFailoverVersion: 1, RPCAddress: frontend},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services: map[string]config.Service{
			string(primitives.FrontendService): {RPC: config.RPC{BindOnIP: opts.ip, GRPCPort: opts.port, HTTPPort: opts.httpPort}},
		},
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
		PublicClient: config.PublicClient{HostPort: frontend},
	}
	hosts := map[primitives.ServiceName]static.Hosts{primitives.FrontendService: static.SingleLocalHost(frontend)}
	for i, name := range []primitives.ServiceName{primitives.HistoryService, primitives.MatchingService, primitives.WorkerService} {
		port := opts.internalPorts[i]
		cfg.Services[string(name)] = config.Service{RPC: config.RPC{BindOnIP: "127.0.0.1", GRPCPort: port}}
		hosts[name] = static.SingleLocalHost(net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	return cfg, hosts, nil
}

// dataStores says where executions and their index are kept.
func dataStores(opts *options) (map[string]config.DataStore, error) {
	if opts.postgresURL != "" {
		main, err := postgresStore(opts.postgresURL, mainDatabase, 20)
		if err != nil {
			return nil, err
		}
		visibility, err := postgresStore(opts.postgresURL, visibilityDatabase, 10)
		if err != nil {
			return nil, err
		}
		return map[string]config.DataStore{mainStore: {SQL: main}, visibilityStore: {SQL: visibility}}, nil
	}
	store := &config.SQL{PluginName: sqlite.PluginName, DatabaseName: opts.dbFilename, ConnectAttributes: map[string]string{"mode": "rwc"}}
	if opts.dbFilename == "" {
		store.DatabaseName = strconv.FormatUint(rand.Uint64(), 36)
		store.ConnectAttributes = map[string]string{"mode": "memory", "cache": "shared"}
	}
	return map[string]config.DataStore{mainStore: {SQL: store}, visibilityStore: {SQL: store}}, nil
}

func postgresStore(rawURL, database string, conns int) (*config.SQL, error) {
	u, err := parsePostgresURL(rawURL)
	if err != nil {
		return nil, err
	}
	password, _ := u.User.Password()
	attributes := map[string]string{}
	for key := range u.Query() {
		attributes[key] = u.Query().Get(key)
	}
	return &config.SQL{
		PluginName:        postgresql.PluginNamePGX,
		ConnectAddr:       u.Host,
		ConnectProtocol:   "tcp",
		User:              u.User.Username(),
		Password:          password,
		DatabaseName:      database,
		ConnectAttributes: attributes,
		MaxConns:          conns,
		MaxIdleConns:      conns,
	}, nil
}

// startUI serves the Web UI in the background and returns when it answers.
func startUI(ctx context.Context, opts *options) (*server.Server, error) {
	ui := server.NewServer(server_options.WithConfigProvider(&uiconfig.Config{
		TemporalGRPCAddress: opts.address(),
		Host:                opts.uiIP,
		Port:                opts.uiPort,
		EnableUI:            true,
		DefaultNamespace:    "default",
		DisableNewsFetch:    true,
		HideLogs:            true,
		CORS:                uiconfig.CORS{CookieInsecure: true},
	}))
	go func() { _ = ui.Start() }() // it ends the program when it cannot listen
	err := again(ctx, func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", opts.uiAddress())
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if err != nil {
		ui.Stop()
		return nil, fmt.Errorf("start the Web UI: %w", err)
	}
	return ui, nil
}
