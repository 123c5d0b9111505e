package dev

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"
)

// portPatience is how long a busy port is waited for: the children of a killed
// predecessor need a moment to go.
const portPatience = 5 * time.Second

// choosePorts finds out before anything starts whether every port can be had,
// and replaces zeros by free ones.
func (h *house) choosePorts(ctx context.Context) error {
	h.env.APIAddr, h.env.DispatcherAddr = h.opts.APIAddr, h.opts.DispatcherAddr
	local := func(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
	temporal, ui, postgres := local(h.opts.TemporalPort), local(h.opts.TemporalUIPort), local(h.opts.PostgresPort)
	var held []net.Listener
	defer func() {
		for _, listener := range held {
			_ = listener.Close()
		}
	}()
	for _, want := range []struct {
		addr          *string
		part, setting string
	}{
		{&h.env.APIAddr, "the API", "SLIPWAY_API_PORT"},
		{&h.env.DispatcherAddr, "the dispatcher", "SLIPWAY_DISPATCHER_PORT"},
		{&temporal, "Temporal", "SLIPWAY_TEMPORAL_PORT"},
		{&ui, "Temporal's Web UI", "SLIPWAY_TEMPORAL_UI_PORT"},
		{&postgres, "PostgreSQL", "SLIPWAY_POSTGRES_PORT"},
	} {
		listener, err := listenPatiently(ctx, *want.addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("%s cannot have %s, another program listens there: stop that program, or set %s to something else (port 0 takes a free one)",
				want.part, *want.addr, want.setting)
		}
		if err != nil {
			return fmt.Errorf("%s cannot listen on %s, which %s says: %w", want.part, *want.addr, want.setting, err)
		}
		held = append(held, listener)
		*want.addr = listener.Addr().String()
	}
	h.opts.TemporalPort, h.opts.TemporalUIPort, h.opts.PostgresPort = portOf(temporal), portOf(ui), portOf(postgres)
	h.env.APIURL, h.env.DispatcherURL = localURL(h.env.APIAddr), localURL(h.env.DispatcherAddr)
	return nil
}

func listenPatiently(ctx context.Context, addr string) (net.Listener, error) {
	deadline := time.Now().Add(portPatience)
	for {
		listener, err := net.Listen("tcp", addr)
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) {
			return listener, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func portOf(addr string) int {
	_, text, _ := net.SplitHostPort(addr)
	port, _ := strconv.Atoi(text)
	return port
}

// localURL reaches an address from this machine. The name localhost, not its
// number, because the dispatcher's sites are names under it.
func localURL(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); host == "" || (ip != nil && (ip.IsLoopback() || ip.IsUnspecified())) {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}
