package models

import (
	"context"
	"time"
)

// TakePermits takes up to n permits from a key that has count of them per period.
// They come back evenly, one every period/count; a key that rested has all. It
// returns how many it took, 0 when none was left, and how long it is until the key
// has all of them again. One statement decides, by the database's clock, so that
// any number of processes may call it (GCRA, the leaky bucket as a meter).
func (s *Store) TakePermits(ctx context.Context, key string, n, count int, period time.Duration) (granted int, full time.Duration, err error) {
	// What a key has used is how far full_at is ahead. It is counted a thousandth
	// generously, which is more than rounding to microseconds takes.
	const used = `(greatest(extract(epoch FROM r.full_at - statement_timestamp())::float8, 0) / CAST(@every AS float8) - 0.001)`
	const statement = `
WITH taken AS (
    INSERT INTO rate_limits AS r (key, granted, full_at)
    VALUES (@key, CAST(@n AS int), statement_timestamp() + make_interval(secs => CAST(@n AS int) * CAST(@every AS float8)))
    ON CONFLICT (key) DO UPDATE SET (granted, full_at) = (
        SELECT fit, greatest(r.full_at, statement_timestamp()) + make_interval(secs => fit * CAST(@every AS float8))
        FROM (SELECT least(CAST(@n AS int), CAST(@count AS int) - ceil(` + used + `))::int AS fit) f)
    WHERE ` + used + ` <= CAST(@count AS int) - 1
    RETURNING granted, full_at)
SELECT granted, extract(epoch FROM full_at - statement_timestamp())::float8 AS ahead FROM taken
UNION ALL
SELECT 0, extract(epoch FROM full_at - statement_timestamp())::float8 FROM rate_limits WHERE key = @key AND NOT EXISTS (SELECT 1 FROM taken)`
	var row struct {
		Granted int
		Ahead   float64
	}
	args := map[string]any{"key": key, "n": min(n, count), "count": count, "every": period.Seconds() / float64(count)}
	if err := s.with(ctx).Raw(statement, args).Scan(&row).Error; err != nil {
		return 0, 0, dbError(err)
	}
	return row.Granted, max(time.Duration(row.Ahead*float64(time.Second)), 0), nil
}

// SweepPermits forgets keys that have all their permits again, which is the same
// as never having been seen, and returns how many. At most limit at a time.
func (s *Store) SweepPermits(ctx context.Context, limit int) (int64, error) {
	result := s.with(ctx).Exec(`DELETE FROM rate_limits WHERE key IN (
		SELECT key FROM rate_limits WHERE full_at < now() - interval '1 minute' ORDER BY full_at LIMIT ? FOR UPDATE SKIP LOCKED)`, limit)
	return result.RowsAffected, dbError(result.Error)
}
