package models

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// NextLogLine is the number the next line of a deployment's log gets, from 1. A
// second run of a build goes on where the first one stopped.
func (s *Store) NextLogLine(ctx context.Context, deploymentID string) (int64, error) {
	var next int64
	err := s.with(ctx).Raw("SELECT coalesce(max(first_line + cardinality(lines)), 1) FROM build_log_chunks WHERE deployment_id = ?", deploymentID).Row().Scan(&next)
	return next, dbError(err)
}

// AppendLog stores a chunk. A chunk that is there already is left as it is.
// CodeDeploymentNotFound when the deployment was deleted with its project.
func (s *Store) AppendLog(ctx context.Context, c LogChunk) error {
	if len(c.Lines) == 0 {
		return nil
	}
	return s.withConn(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "INSERT INTO build_log_chunks (deployment_id, first_line, lines) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
			c.DeploymentID, c.FirstLine, c.Lines)
		if violates(err, "build_log_chunks_deployment_id_fkey") {
			return errNoDeployment(c.DeploymentID)
		}
		return err
	})
}

// LogChunks lists up to limit chunks that hold lines after the given number.
func (s *Store) LogChunks(ctx context.Context, deploymentID string, afterLine int64, limit int) ([]LogChunk, error) {
	var chunks []LogChunk
	err := s.withConn(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT first_line, lines, created_at FROM build_log_chunks
			WHERE deployment_id = $1 AND first_line + cardinality(lines) - 1 > $2 ORDER BY first_line LIMIT $3`, deploymentID, afterLine, limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			c := LogChunk{DeploymentID: deploymentID}
			if err := rows.Scan(&c.FirstLine, &c.Lines, &c.CreatedAt); err != nil {
				return err
			}
			chunks = append(chunks, c)
		}
		return rows.Err()
	})
	return chunks, err
}

// CloseLog names the blob that holds the whole log and drops the chunks.
func (s *Store) CloseLog(ctx context.Context, deploymentID, digest string) error {
	return dbError(s.with(ctx).Exec(`WITH gone AS (DELETE FROM build_log_chunks WHERE deployment_id = ?)
		UPDATE deployments SET log_digest = ? WHERE id = ?`, deploymentID, digest, deploymentID).Error)
}

// withConn lends a bare connection for what GORM has no type for: text arrays.
func (s *Store) withConn(ctx context.Context, fn func(*pgx.Conn) error) error {
	pool, err := s.db.DB()
	if err != nil {
		return err
	}
	conn, err := pool.Conn(ctx)
	if err != nil {
		return dbError(err)
	}
	defer conn.Close()
	return dbError(conn.Raw(func(driver any) error {
		std, ok := driver.(*stdlib.Conn)
		if !ok {
			return errors.New("the database driver is not pgx")
		}
		return fn(std.Conn())
	}))
}
