package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/durationpb"

	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/tools/common/schema"
	"go.temporal.io/server/tools/sql"
)

// retention is how long a closed workflow stays readable in new namespaces.
const retention = 7 * 24 * time.Hour

// prepareStore brings the schema to this server's version and creates missing
// namespaces with their search attributes, all before any service runs: what is
// there from the start needs no cache to notice it.
func prepareStore(ctx context.Context, cfg *config.Config, opts *options) error {
	main := cfg.Persistence.DataStores[mainStore].SQL
	visibility := cfg.Persistence.DataStores[visibilityStore].SQL
	if opts.postgresURL != "" {
		if err := preparePostgres(ctx, opts.postgresURL, main, visibility); err != nil {
			return err
		}
	} else if opts.dbFilename != "" {
		if err := prepareSQLite(main); err != nil {
			return err
		}
	}
	for _, name := range opts.namespaces {
		namespace, err := sqlite.NewNamespaceConfig(cfg.ClusterMetadata.CurrentClusterName, name, false, opts.searchAttributes)
		if err != nil {
			return fmt.Errorf("describe namespace %s: %w", name, err)
		}
		namespace.Detail.Config.Retention = durationpb.New(retention)
		// Not SQLite's alone, despite its package: it works on any SQL store.
		if err := sqlite.CreateNamespaces(main, namespace); err != nil {
			return fmt.Errorf("create namespace %s: %w", name, err)
		}
	}
	return nil
}

func prepareSQLite(store *config.SQL) error {
	if _, err := os.Stat(store.DatabaseName); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := sqlite.SetupSchema(store); err != nil {
		return fmt.Errorf("set up the SQLite schema: %w", err)
	}
	return nil
}

func preparePostgres(ctx context.Context, rawURL string, main, visibility *config.SQL) error {
	for _, database := range []struct {
		store  *config.SQL
		schema string
	}{
		{main, "postgresql/v12/temporal"},
		{visibility, "postgresql/v12/visibility"},
	} {
		if err := createDatabase(ctx, rawURL, database.store.DatabaseName); err != nil {
			return err
		}
		if err := updateSchema(database.store, database.schema); err != nil {
			return fmt.Errorf("bring the schema of database %s up to date: %w", database.store.DatabaseName, err)
		}
	}
	return nil
}

// createDatabase makes a database on the server unless it is there.
func createDatabase(ctx context.Context, rawURL, name string) error {
	conn, err := pgx.Connect(ctx, rawURL)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists); err != nil {
		return fmt.Errorf("look for database %s: %w", name, err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}

// updateSchema runs Temporal's own schema tasks: version tables for an empty
// database, then every migration the database has not had.
func updateSchema(store *config.SQL, name string) error {
	logger := log.NewNoopLogger()
	conn, err := sql.NewConnection(store, logger)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ReadSchemaVersion(); err != nil {
		setup := schema.NewSetupSchemaTask(conn, &schema.SetupConfig{InitialVersion: "0.0"}, logger)
		if err := setup.Run(); err != nil {
			return err
		}
	}
	return schema.NewUpdateSchemaTask(conn, &schema.UpdateConfig{SchemaName: name}, logger).Run()
}

func parsePostgresURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") || u.Host == "" || u.User == nil {
		// The URL holds a password, so the message must not.
		return nil, errors.New("--postgres-url must look like postgres://user:password@host:port/database")
	}
	if u.Port() == "" {
		u.Host += ":5432"
	}
	return u, nil
}
