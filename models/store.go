package models

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// StoreOptions say where the database is.
type StoreOptions struct {
	// URL of the database; may go through a pooler.
	URL string
	// DirectURL is a connection that LISTEN and session locks can use; empty
	// means URL.
	DirectURL string
	// MaxConns bounds the pool; 0 means 20.
	MaxConns int
	// Tracer is told of each statement; nil for none.
	Tracer pgx.QueryTracer
	// Quotas are those of new organizations; nil means DefaultQuotas.
	Quotas *Quotas
}

// Store holds the rows. Its methods are safe for concurrent use; they return
// CodeDatabase when PostgreSQL cannot be reached, and the code named in their
// comment when the answer is no.
type Store struct {
	db        *gorm.DB
	directURL string
	quotas    Quotas
}

// OpenStore connects lazily: an unreachable database shows at the first query.
func OpenStore(opts StoreOptions) (*Store, error) {
	config, err := pgx.ParseConfig(opts.URL)
	if err != nil {
		// The parser's error repeats the URL, which may hold a password.
		return nil, Errorf(CodeValidation, "POSTGRES_URL is not a valid PostgreSQL URL; it looks like postgresql://user:password@host:5432/database.")
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 5 * time.Second
	}
	config.Tracer = opts.Tracer
	pool := stdlib.OpenDB(*config)
	max := opts.MaxConns
	if max == 0 {
		max = 20
	}
	pool.SetMaxOpenConns(max)
	pool.SetMaxIdleConns(max)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	db, err := gorm.Open(postgres.New(postgres.Config{Conn: pool}), &gorm.Config{
		Logger:                 logger.Discard,
		TranslateError:         true,
		DisableAutomaticPing:   true,
		SkipDefaultTransaction: true,
		NowFunc:                func() time.Time { return time.Now().UTC() },
	})
	if err != nil {
		_ = pool.Close()
		return nil, fmt.Errorf("open the database: %w", err)
	}
	direct := opts.DirectURL
	if direct == "" {
		direct = opts.URL
	}
	quotas := DefaultQuotas()
	if opts.Quotas != nil {
		quotas = *opts.Quotas
	}
	return &Store{db: db, directURL: direct, quotas: quotas}, nil
}

// Close ends all connections.
func (s *Store) Close() error {
	pool, err := s.db.DB()
	if err != nil {
		return err
	}
	return pool.Close()
}

// Ping proves that the database answers.
func (s *Store) Ping(ctx context.Context) error {
	pool, err := s.db.DB()
	if err != nil {
		return err
	}
	return dbError(pool.PingContext(ctx))
}

// Migrate brings the schema up to date. Several processes may call it at once:
// a session lock lets one work and the others wait.
func (s *Store) Migrate(ctx context.Context) error {
	config, err := pgx.ParseConfig(s.directURL)
	if err != nil {
		return Errorf(CodeValidation, "POSTGRES_DIRECT_URL is not a valid PostgreSQL URL.")
	}
	pool := stdlib.OpenDB(*config)
	defer pool.Close()
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return err
	}
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, pool, files, goose.WithSessionLocker(locker))
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return Wrap(CodeDatabase, err, "The database schema could not be brought up to date.")
	}
	return nil
}

// Listen connects on its own direct connection and calls notify for each
// payload on the channel. connected is called after each (re)connection, when
// notifications may have been missed. It returns when the connection ends.
func (s *Store) Listen(ctx context.Context, channel string, connected func(), notify func(payload string)) error {
	conn, err := pgx.Connect(ctx, s.directURL)
	if err != nil {
		return dbError(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
		return dbError(err)
	}
	connected()
	for {
		wait, cancel := context.WithTimeout(ctx, 15*time.Second)
		n, err := conn.WaitForNotification(wait)
		timedOut := wait.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err == nil:
			notify(n.Payload)
		case timedOut:
			// A silent connection may be a dead one: ask it.
			ping, cancel := context.WithTimeout(ctx, 5*time.Second)
			err := conn.Ping(ping)
			cancel()
			if err != nil {
				return dbError(err)
			}
		default:
			return dbError(err)
		}
	}
}

func (s *Store) with(ctx context.Context) *gorm.DB { return s.db.WithContext(ctx) }

// dbError gives a database error its code: one that already has a code keeps
// it, everything else means the database did not do its work.
func dbError(err error) error {
	if err == nil {
		return nil
	}
	var coded *Error
	if errors.As(err, &coded) || errors.Is(err, context.Canceled) {
		return err
	}
	if notText(err) {
		return Wrap(CodeValidation, err, "A text in the request has a character that cannot be kept, such as NUL (U+0000).")
	}
	return Wrap(CodeDatabase, err, "The database did not answer; try again shortly.")
}

// notText says that a parameter holds what PostgreSQL has no place for in a text:
// character_not_in_repertoire, untranslatable_character.
func notText(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "22021" || pg.Code == "22P05")
}

// notFound turns a missing row into the error given, other errors into dbError.
func notFound(err error, missing *Error) error {
	if errors.Is(err, gorm.ErrRecordNotFound) || errors.Is(err, sql.ErrNoRows) {
		return missing
	}
	return dbError(err)
}

// orphaned turns a violation of the constraint by which a row belongs to something
// into the error given: that was removed after it was looked up.
func orphaned(err error, constraint string, gone *Error) error {
	if violates(err, constraint) {
		return gone
	}
	return dbError(err)
}

// violates says whether err is the violation of the named constraint.
func violates(err error, constraint string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && strings.EqualFold(pg.ConstraintName, constraint)
}
