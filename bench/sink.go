package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/slipwayhq/slipway/dev/child"
)

// connectionSink is the argument that makes this program a server that keeps the
// connections it is given.
const connectionSink = "connection-sink"

// startSink starts one: this program again, as what the connections cost must not
// be felt by who measures.
func startSink(ctx context.Context) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startServer(ctx, "the sink", addr, "", child.Options{Path: self, Args: []string{connectionSink, addr}})
}

// serveSink takes connections and keeps them until their other ends are closed.
func serveSink(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: %s <address>", connectionSink)
	}
	return serveConnections("tcp", args[0], func(connection net.Conn) {
		_, _ = io.Copy(io.Discard, connection)
		_ = connection.Close()
	})
}
