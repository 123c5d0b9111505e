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
	SweepWorkerLog(ctx context.Context, before time.Time, limit int) (int, error)
	AppendWorkerLog(ctx context.Context, rows []models.WorkerLogRow) error
	TrimWorkerLog(ctx context.Context, releaseID string, keep int, keepBytes int64) error
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
	// longestPause bounds the growing wait while the database is away.
	longestPause = 5 * time.Second
	// writeTimeout bounds one write.
	writeTimeout = 5 * time.Second
	// maxPending and maxPendingBytes bound what waits while the database is slow or
	// away; an organization has a quarter of it, a release a tenth of the lines.
	maxPending      = 20_000
	maxPendingBytes = 64 << 20
	// batch and batchBytes bound what one statement writes: a greater one might
	// never be written within writeTimeout, and all behind it wait.
	batch      = 1_000
	batchBytes = 4 << 20
	// keepTime is how long lines are kept: there are ever more releases that say
	// nothing any more.
	keepTime   = 30 * 24 * time.Hour
	sweepEvery = time.Hour
	sweepLines = 1_000
	// keepBytes is about how much of a release is kept, in bytes of JSON.
	keepBytes = 8 << 20
)

// Sink is an edge.LogSink. Safe for concurrent use.
type Sink struct {
	options Options

	mu      sync.Mutex
	pending []line
	// waiting counts what is pending: by release, by organization, and all by "".
	waiting map[string]amount
	// dropped counts lines by release.
	dropped  map[string]int
	projects map[string]string

	// written counts what a release got since it was last trimmed; of Run alone.
	written map[string]amount

	// pause is how long the next attempt waits while writing fails, resume when
	// that is; 0 while it works. Of Run alone.
	pause  time.Duration
	resume time.Time
}

// line is a row and whose it is.
type line struct {
	models.WorkerLogRow
	organization string
}

// amount is of lines.
type amount struct{ lines, bytes int }

func (a amount) plus(l line) amount { return amount{a.lines + 1, a.bytes + len(l.Line)} }

// New makes a sink; Run writes.
func New(options Options) *Sink {
	return &Sink{
		options: options, waiting: map[string]amount{}, dropped: map[string]int{}, projects: map[string]string{}, written: map[string]amount{},
	}
}

// Log takes lines; it never blocks. What does not fit is counted and said later.
func (s *Sink) Log(r edge.Release, lines []models.WorkerLogLine) {
	rows := make([]line, 0, len(lines))
	for _, said := range lines {
		row, err := rowOf(r, said)
		if err != nil {
			s.options.Log.WithError(err).WithField("release", r.ID).Error("a line of a worker's log cannot be written")
			continue
		}
		rows = append(rows, row)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, row := range rows {
		if s.fits(row) {
			s.pending = append(s.pending, row)
			s.count(row)
			continue
		}
		s.dropped[r.ID]++
		s.projects[r.ID] = r.ProjectID
	}
}

// fits says whether a line may wait. The caller holds mu.
func (s *Sink) fits(l line) bool {
	all, own := s.waiting[""], s.waiting[l.organization]
	return s.waiting[l.ReleaseID].lines < maxPending/10 &&
		(l.organization == "" || own.lines < maxPending/4 && own.bytes+len(l.Line) <= maxPendingBytes/4) &&
		all.lines < maxPending && all.bytes+len(l.Line) <= maxPendingBytes
}

// count adds a line to what waits. The caller holds mu.
func (s *Sink) count(l line) {
	s.waiting[""] = s.waiting[""].plus(l)
	s.waiting[l.ReleaseID] = s.waiting[l.ReleaseID].plus(l)
	if l.organization != "" {
		s.waiting[l.organization] = s.waiting[l.organization].plus(l)
	}
}

// rowOf encodes a line. PostgreSQL's jsonb holds no NUL character, so those of a
// worker's text are shown as U+2400.
func rowOf(r edge.Release, said models.WorkerLogLine) (line, error) {
	said.ReleaseID = r.ID
	data, err := json.Marshal(said)
	if err != nil {
		return line{}, err
	}
	text := string(data)
	if strings.Contains(text, `\u0000`) {
		for _, field := range []*string{&said.Message, &said.Stack, &said.Path, &said.Method, &said.RequestID} {
			*field = strings.ReplaceAll(*field, "\x00", "\u2400")
		}
		if data, err = json.Marshal(said); err != nil {
			return line{}, err
		}
	}
	return line{models.WorkerLogRow{ProjectID: r.ProjectID, ReleaseID: r.ID, Line: data}, r.OrganizationID}, nil
}

// Run writes what was taken until ctx ends, and then what is left. It removes
// lines that are old.
func (s *Sink) Run(ctx context.Context) error {
	tick, old := time.NewTicker(flushEvery), time.NewTicker(sweepEvery)
	defer tick.Stop()
	defer old.Stop()
	for {
		select {
		case now := <-tick.C:
			if !now.Before(s.resume) {
				s.flush(ctx)
			}
		case <-old.C:
			s.sweep(ctx, time.Now().Add(-keepTime))
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
			defer cancel()
			s.flush(last)
			return nil
		}
	}
}

// sweep removes the lines from before a time; those to write go in between.
func (s *Sink) sweep(ctx context.Context, before time.Time) {
	for n := sweepLines; n == sweepLines && ctx.Err() == nil; s.flush(ctx) {
		var err error
		if n, err = s.options.Rows.SweepWorkerLog(ctx, before, sweepLines); err != nil {
			s.options.Log.WithError(err).Warn("old lines of workers' logs were not removed")
			return
		}
	}
}

// flush writes all that waits. What cannot be written is kept for the next time,
// as far as it fits.
func (s *Sink) flush(ctx context.Context) {
	rows := s.take()
	for len(rows) > 0 {
		part := rows[:batchOf(rows)]
		if err := s.write(ctx, part); err != nil {
			s.giveBack(rows)
			s.fails(ctx, err)
			return
		}
		rows = rows[len(part):]
		s.works()
	}
}

// fails waits longer and longer for a database that is away, and says so once.
func (s *Sink) fails(ctx context.Context, err error) {
	if s.pause == 0 && ctx.Err() == nil {
		s.options.Log.WithError(err).Warn("workers' logs cannot be written; trying again until they can")
	}
	s.pause = min(max(2*s.pause, flushEvery), longestPause)
	s.resume = time.Now().Add(s.pause)
}

func (s *Sink) works() {
	if s.pause > 0 {
		s.options.Log.Info("workers' logs are written again")
	}
	s.pause = 0
}

// batchOf is how many of the rows one statement writes; at least one.
func batchOf(rows []line) int {
	bytes := 0
	for i, row := range rows[:min(batch, len(rows))] {
		if bytes += len(row.Line); bytes > batchBytes && i > 0 {
			return i
		}
	}
	return min(batch, len(rows))
}

func (s *Sink) write(ctx context.Context, lines []line) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	rows := make([]models.WorkerLogRow, 0, len(lines))
	for _, l := range lines {
		rows = append(rows, l.WorkerLogRow)
	}
	if err := s.options.Rows.AppendWorkerLog(ctx, rows); err != nil {
		return err
	}
	for _, l := range lines {
		s.written[l.ReleaseID] = s.written[l.ReleaseID].plus(l)
	}
	for release, n := range s.written {
		// Trimming each time would cost more than the lines.
		if n.lines < max(s.options.Keep/10, 1) && n.bytes < keepBytes/10 {
			continue
		}
		delete(s.written, release)
		if err := s.options.Rows.TrimWorkerLog(ctx, release, s.options.Keep, keepBytes); err != nil {
			s.options.Log.WithError(err).WithField("release", release).Warn("old lines of a worker's log were not removed")
		}
	}
	return nil
}

func (s *Sink) take() []line {
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
func (s *Sink) giveBack(rows []line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, row := range rows {
		s.count(row)
	}
	s.pending = append(rows, s.pending...)
	all, extra := s.waiting[""], 0
	for ; all.lines > maxPending || all.bytes > maxPendingBytes; extra++ {
		all.lines, all.bytes = all.lines-1, all.bytes-len(s.pending[extra].Line)
	}
	s.waiting[""] = all
	s.pending = s.pending[extra:]
}
