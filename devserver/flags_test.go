package main

import (
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/server/common/dynamicconfig"
)

func TestParseFlags_readsWhatTheSDKPasses(t *testing.T) {
	opts, err := parseFlags([]string{"server", "start-dev", "--ip", "127.0.0.1", "--port", "7777", "--namespace", "mine",
		"--dynamic-config-value", "frontend.enableServerVersionCheck=false", "--log-level", "error", "--log-format", "json",
		"--headless", "--db-filename", "x.db", "--ui-port", "7778", "--search-attribute", "Step=Keyword"})
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:7777", opts.address())
	require.Equal(t, []string{"default", "mine"}, opts.namespaces)
	require.Equal(t, false, opts.dynamicConfig[dynamicconfig.MakeKey("frontend.enableServerVersionCheck")])
	require.Equal(t, enumspb.INDEXED_VALUE_TYPE_KEYWORD, opts.searchAttributes["Step"])
	require.True(t, opts.headless)
}

func TestParseFlags_dynamicConfigOverridesOurDefaultsWithWholeNumbersAsInt(t *testing.T) {
	opts, err := parseFlags([]string{"server", "start-dev", "--dynamic-config-value", "history.transferProcessorMaxPollRPS=7"})
	require.NoError(t, err)
	require.Equal(t, 7, opts.dynamicConfig[dynamicconfig.TransferProcessorMaxPollRPS.Key()])
	require.Equal(t, true, opts.dynamicConfig[dynamicconfig.MatchingEnableFairness.Key()])
}

func TestParseFlags_refusesWhatItCannotDo(t *testing.T) {
	for name, args := range map[string][]string{
		"usage":              {},
		"unexpected":         {"server", "start-dev", "extra"},
		"exclude each other": {"server", "start-dev", "--db-filename", "x", "--postgres-url", "postgres://u:p@h/d"},
		"not an IP":          {"server", "start-dev", "--ip", "example.com"},
		"NAME=TYPE":          {"server", "start-dev", "--search-attribute", "x"},
		"none of Text":       {"server", "start-dev", "--search-attribute", "x=Color"},
		"not JSON":           {"server", "start-dev", "--dynamic-config-value", "a=b"},
	} {
		_, err := parseFlags(args)
		require.ErrorContains(t, err, name)
	}
}

func TestParsePostgresURL_messageKeepsThePassword(t *testing.T) {
	_, err := parsePostgresURL("mysql://u:secret@h/d")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
	u, err := parsePostgresURL("postgres://u:p@h/d")
	require.NoError(t, err)
	require.Equal(t, "h:5432", u.Host)
}

func TestChoosePorts_namesTheFlagOfABusyPort(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	port := listener.Addr().(*net.TCPAddr).Port
	opts := &options{ip: "127.0.0.1", uiIP: "127.0.0.1", port: port}
	require.ErrorContains(t, opts.choosePorts(), "--port "+strconv.Itoa(port))
}

func TestIdPerShard_coversEveryShard(t *testing.T) {
	require.Len(t, idPerShard("p", "namespace", 16), 16)
}
