package s3

import (
	"context"
	"time"
)

// Sweep lets tests choose what counts as old.
func (s *Store) Sweep(ctx context.Context, before time.Time) { s.sweep(ctx, before) }
