// Package tail brings what workers say to where it can be read from any
// machine: rows, a bounded number per release.
package tail

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/slipwayhq/slipway/edge"
	"github.com/slipwayhq/slipway/models"
)

// Rows keeps lines. models.Store is one.
type Rows interface {
	AppendWorkerLog(ctx context.Context, rows []models.WorkerLogRow) error
	TrimWorkerLog(ctx context.Context, releaseID string, keep int) error
}

// Options are what a Sink needs.
type Options struct {
	Rows Rows
	// Keep is how many lines of a release are kept.
	Keep int
	Log  logrus.FieldLogger
}

const (
	// flushEvery is how long a line may wait: a person who watches does not notice.
	flushEvery = 200 * time.Millisecond
	// writeTimeout bounds one write.
	writeTimeout = 5 * time.Second
	// maxPending bounds the lines that wait while the database is slow or away,
	// over all releases and for one.
	maxPending        = 20_000
	maxPendingRelease = 2_000
	// batch is how many lines one statement writes.
	batch = 1_000
)

// Sink is an edge.LogSink. Safe for concurrent use.
type Sink struct {
	options Options

	mu      sync.Mutex
	pending []models.WorkerLogRow
	// waiting and dropped count by release.
	waiting, dropped map[string]int
	projects         map[string]string

	// written counts a release's lines since it was last trimmed; of Run alone.
	written map[string]int
}

// New makes a sink; Run writes.
func New(options Options) *Sink {
	return &Sink{
		options: options, waiting: map[string]int{}, dropped: map[string]int{}, projects: map[string]string{}, written: map[string]int{},
	}
}

// Log takes lines; it never blocks. What does not fit is counted and said later.
func (s *Sink) Log(r edge.Release, lines []models.WorkerLogLine) {
	rows := make([]models.WorkerLogRow, 0, len(lines))
	for _, line := range lines {
		row, err := rowOf(r, line)
		if err != nil {
			s.options.Log.WithError(err).WithField("release", r.ID).Error("a line of a worker's log cannot be written")
			continue
		}
		rows = append(rows, row)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, row := range rows {
		if len(s.pending) >= maxPending || s.waiting[r.ID] >= maxPendingRelease {
			s.dropped[r.ID] += len(rows) - i
			s.projects[r.ID] = r.ProjectID
			return
		}
		s.pending = append(s.pending, row)
		s.waiting[r.ID]++
	}
}

// rowOf encodes a line. PostgreSQL's jsonb holds no NUL character, so those of a
// worker's text are shown as U+2400.
func rowOf(r edge.Release, line models.WorkerLogLine) (models.WorkerLogRow, error) {
	line.ReleaseID = r.ID
	data, err := json.Marshal(line)
	if err != nil {
		return models.WorkerLogRow{}, err
	}
	text := string(data)
	if strings.Contains(text, `\u0000`) {
		for _, field := range []*string{&line.Message, &line.Stack, &line.Path, &line.Method, &line.RequestID} {
			*field = strings.ReplaceAll(*field, "\x00", "\u2400")
		}
		if data, err = json.Marshal(line); err != nil {
			return models.WorkerLogRow{}, err
		}
	}
	return models.WorkerLogRow{ProjectID: r.ProjectID, ReleaseID: r.ID, Line: data}, nil
}

// Run writes what was taken until ctx ends, and then what is left.
func (s *Sink) Run(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.flush(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
			defer cancel()
			s.flush(last)
			return nil
		}
	}
}

// flush writes all that waits. What cannot be written is kept for the next time,
// as far as it fits.
func (s *Sink) flush(ctx context.Context) {
	rows := s.take()
	for len(rows) > 0 {
		part := rows[:min(batch, len(rows))]
		if err := s.write(ctx, part); err != nil {
			if ctx.Err() == nil {
				s.options.Log.WithError(err).Warn("workers' logs cannot be written; trying again")
			}
			s.giveBack(rows)
			return
		}
		rows = rows[len(part):]
	}
}

func (s *Sink) write(ctx context.Context, rows []models.WorkerLogRow) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := s.options.Rows.AppendWorkerLog(ctx, rows); err != nil {
		return err
	}
	for _, row := range rows {
		s.written[row.ReleaseID]++
	}
	for release, n := range s.written {
		// Trimming each time would cost more than the lines.
		if n < max(s.options.Keep/10, 1) {
			continue
		}
		delete(s.written, release)
		if err := s.options.Rows.TrimWorkerLog(ctx, release, s.options.Keep); err != nil {
			s.options.Log.WithError(err).WithField("release", release).Warn("old lines of a worker's log were not removed")
		}
	}
	return nil
}

func (s *Sink) take() []models.WorkerLogRow {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := s.pending
	s.pending = nil
	clear(s.waiting)
	for release, n := range s.dropped {
		row, err := rowOf(edge.Release{ID: release, ProjectID: s.projects[release]}, models.WorkerLogLine{
			Time: time.Now().UTC(), Kind: models.LogSystem, Level: "warn", Message: fmt.Sprintf("%d lines dropped: they came faster than they can be kept.", n),
		})
		if err == nil {
			rows = append(rows, row)
		}
	}
	clear(s.dropped)
	clear(s.projects)
	return rows
}

// giveBack puts rows before those that came meanwhile.
func (s *Sink) giveBack(rows []models.WorkerLogRow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = append(rows, s.pending...)
	for _, row := range rows {
		s.waiting[row.ReleaseID]++
	}
	if extra := len(s.pending) - maxPending; extra > 0 {
		s.pending = s.pending[extra:]
	}
}
