package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/server/common/dynamicconfig"
)

// options is what the flags say, completed by choosePorts.
type options struct {
	ip, uiIP         string
	port, httpPort   int
	uiPort           int
	internalPorts    [3]int // history, matching, worker
	headless         bool
	namespaces       []string
	dbFilename       string
	postgresURL      string
	logLevel         string
	logFormat        string
	dynamicConfig    dynamicconfig.StaticClient
	searchAttributes map[string]enumspb.IndexedValueType
	exitWithParent   bool
}

// defaultDynamicConfig holds the settings that differ from Temporal's own
// defaults; --dynamic-config-value overrides any of them.
func defaultDynamicConfig() dynamicconfig.StaticClient {
	return dynamicconfig.StaticClient{
		// One organization's burst must not hold up another's deployment.
		dynamicconfig.MatchingEnableFairness.Key(): true,
		// At the default of 20 polls a second and shard, each step of a workflow
		// waits up to 50 ms for its task to be picked up.
		dynamicconfig.TransferProcessorMaxPollRPS.Key(): 100,
		dynamicconfig.TimerProcessorMaxPollRPS.Key():    100,
		// A search attribute is usable as soon as it has been registered.
		dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key(): true,
		dynamicconfig.FrontendPersistenceMaxQPS.Key():               10000,
		dynamicconfig.HistoryPersistenceMaxQPS.Key():                45000,
	}
}

// parseFlags reads `server start-dev` and its flags. Flags of the Temporal CLI
// that make no sense here are refused by name rather than silently ignored.
func parseFlags(args []string) (*options, error) {
	if len(args) < 2 || args[0] != "server" || args[1] != "start-dev" {
		return nil, errors.New("usage: slipway-devserver server start-dev [flags]; --help lists them")
	}
	opts := &options{
		dynamicConfig:    defaultDynamicConfig(),
		searchAttributes: map[string]enumspb.IndexedValueType{},
	}
	flags := flag.NewFlagSet("slipway-devserver server start-dev", flag.ContinueOnError)
	flags.StringVar(&opts.ip, "ip", "127.0.0.1", "address the gRPC frontend listens on")
	flags.IntVar(&opts.port, "port", 7233, "port of the gRPC frontend; 0 takes a free one")
	flags.IntVar(&opts.httpPort, "http-port", 0, "port of the HTTP API; 0 leaves it off")
	flags.StringVar(&opts.uiIP, "ui-ip", "", "address the Web UI listens on (default: that of --ip)")
	flags.IntVar(&opts.uiPort, "ui-port", -1, "port of the Web UI; 0 takes a free one (default: --port + 1000)")
	flags.BoolVar(&opts.headless, "headless", false, "do not serve the Web UI")
	flags.StringVar(&opts.dbFilename, "db-filename", "", "keep everything in this SQLite file")
	flags.StringVar(&opts.postgresURL, "postgres-url", "",
		"keep everything in this PostgreSQL server, in the databases temporal and temporal_visibility; "+
			"also read from SLIPWAY_DEVSERVER_POSTGRES_URL, which does not show in process lists")
	flags.StringVar(&opts.logLevel, "log-level", "warn", "debug, info, warn or error")
	flags.StringVar(&opts.logFormat, "log-format", "pretty", "pretty, text or json")
	flags.BoolVar(&opts.exitWithParent, "exit-with-parent", false, "end when the process that started this one is gone")
	flags.Func("namespace", "namespace to create besides default; may be repeated", func(name string) error {
		opts.namespaces = append(opts.namespaces, name)
		return nil
	})
	flags.Func("dynamic-config-value", "KEY=JSON, a setting of the server; may be repeated", opts.addDynamicConfig)
	flags.Func("search-attribute", "NAME=TYPE to register in every namespace; may be repeated", opts.addSearchAttribute)
	if err := flags.Parse(args[2:]); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return opts, opts.complete()
}

func (o *options) complete() error {
	if o.postgresURL == "" {
		o.postgresURL = os.Getenv("SLIPWAY_DEVSERVER_POSTGRES_URL")
	}
	if o.postgresURL != "" && o.dbFilename != "" {
		return errors.New("--postgres-url and --db-filename exclude each other")
	}
	if o.ip == "localhost" {
		o.ip = "127.0.0.1"
	}
	if net.ParseIP(o.ip) == nil {
		return fmt.Errorf("--ip %q is not an IP address", o.ip)
	}
	if o.uiIP == "" {
		o.uiIP = o.ip
	}
	switch o.logFormat {
	case "pretty", "text":
		o.logFormat = "console"
	case "json":
	default:
		return fmt.Errorf("--log-format %q is none of pretty, text, json", o.logFormat)
	}
	names := []string{"default"}
	for _, name := range o.namespaces {
		if name != "default" {
			names = append(names, name)
		}
	}
	o.namespaces = names
	return nil
}

func (o *options) addDynamicConfig(pair string) error {
	key, text, ok := strings.Cut(pair, "=")
	if !ok || key == "" {
		return errors.New("want KEY=JSON")
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return fmt.Errorf("the value of %s is not JSON: %w", key, err)
	}
	// The server wants whole numbers as int, which JSON's float64 is not.
	if number, isNumber := value.(json.Number); isNumber {
		if whole, err := number.Int64(); err == nil {
			value = int(whole)
		} else if value, err = number.Float64(); err != nil {
			return fmt.Errorf("the value of %s: %w", key, err)
		}
	}
	o.dynamicConfig[dynamicconfig.MakeKey(key)] = value
	return nil
}

func (o *options) addSearchAttribute(pair string) error {
	name, kind, ok := strings.Cut(pair, "=")
	if !ok || name == "" {
		return errors.New("want NAME=TYPE")
	}
	value, err := enumspb.IndexedValueTypeFromString(kind)
	if err != nil || value == enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED {
		return fmt.Errorf("%q is none of Text, Keyword, Int, Double, Bool, Datetime, KeywordList", kind)
	}
	o.searchAttributes[name] = value
	return nil
}

// choosePorts replaces zeros by free ports and names a port that is taken.
// All are held open until every one is chosen, so that no two are the same.
func (o *options) choosePorts() error {
	if o.uiPort < 0 && o.port != 0 {
		o.uiPort = o.port + 1000
	}
	wanted := []struct {
		ip, flag string
		port     *int
	}{
		{o.ip, "--port", &o.port},
		{"127.0.0.1", "", &o.internalPorts[0]},
		{"127.0.0.1", "", &o.internalPorts[1]},
		{"127.0.0.1", "", &o.internalPorts[2]},
	}
	if !o.headless {
		o.uiPort = max(o.uiPort, 0)
		wanted = append(wanted, struct {
			ip, flag string
			port     *int
		}{o.uiIP, "--ui-port", &o.uiPort})
	}
	for _, w := range wanted {
		listener, err := net.Listen("tcp", net.JoinHostPort(w.ip, strconv.Itoa(*w.port)))
		if err != nil {
			return fmt.Errorf("%s %d cannot be used: %w", w.flag, *w.port, err)
		}
		defer func() { _ = listener.Close() }()
		*w.port = listener.Addr().(*net.TCPAddr).Port
	}
	return nil
}

func (o *options) address() string   { return net.JoinHostPort(o.ip, strconv.Itoa(o.port)) }
func (o *options) uiAddress() string { return net.JoinHostPort(o.uiIP, strconv.Itoa(o.uiPort)) }
