package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/metrics"
)

// watched is a platform that shows metrics at an address, and what it logs.
func watched(addr string) (*platform, *bytes.Buffer) {
	said := &bytes.Buffer{}
	log := logrus.New()
	log.SetOutput(said)
	p := &platform{log: log, metrics: metrics.New("1.2.3")}
	p.config.Observe.MetricsAddr = addr
	return p, said
}

func TestShowMetrics_answersUntilItIsHidden(t *testing.T) {
	p, said := watched("127.0.0.1:0")
	ended, end := context.WithCancel(t.Context())
	hide := p.showMetrics(ended)
	end() // while a role drains, it is still watched
	addr := regexp.MustCompile(`addr="([^"]+)"`).FindStringSubmatch(said.String())
	require.NotEmpty(t, addr, said.String())
	answer, err := http.Get("http://" + addr[1] + "/metrics")
	require.NoError(t, err)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Contains(t, string(body), "slipway_build_info")
	hide()
	_, err = http.Get("http://" + addr[1] + "/metrics")
	require.Error(t, err)
}

func TestShowMetrics_worksOnWhereTheAddressIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	p, said := watched(taken.Addr().String())
	p.showMetrics(t.Context())()
	require.Contains(t, said.String(), "SLIPWAY_METRICS_ADDR")
	require.Contains(t, said.String(), "in use")
	p, said = watched("no such address")
	p.showMetrics(t.Context())()
	require.Contains(t, said.String(), "SLIPWAY_METRICS_ADDR")
	p, said = watched("")
	p.showMetrics(t.Context())()
	require.Empty(t, said.String())
}
