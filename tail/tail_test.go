package tail

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/edge"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// breakable is a database that can be away.
type breakable struct {
	*models.Store
	mu   sync.Mutex
	down bool
}

func (b *breakable) AppendWorkerLog(ctx context.Context, rows []models.WorkerLogRow) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return errors.New("down")
	}
	return b.Store.AppendWorkerLog(ctx, rows)
}

func newSink(t *testing.T, keep int) (*Sink, *breakable, edge.Release) {
	t.Helper()
	store, err := models.OpenStore(models.StoreOptions{URL: modelstest.URL(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	owner, err := store.EnsureOwner(t.Context(), "Test", "owner@example.com")
	require.NoError(t, err)
	project, err := store.CreateProject(t.Context(), owner.OrganizationID, "site", "site")
	require.NoError(t, err)
	d, _, err := store.CreateDeployment(t.Context(), models.NewDeployment{Input: models.DeploymentInput{
		DeploymentID: models.NewID(models.PrefixDeployment), ProjectID: project.ID, OrgID: owner.OrganizationID, UserID: owner.UserID}})
	require.NoError(t, err)
	r, err := store.WriteRelease(t.Context(), models.Release{ProjectID: project.ID, OrganizationID: owner.OrganizationID, DeploymentID: d.ID, Sequence: d.Sequence})
	require.NoError(t, err)
	log := logrus.New()
	log.SetOutput(t.Output())
	rows := &breakable{Store: store}
	return New(Options{Rows: rows, Keep: keep, Log: log}), rows, edge.Release{ID: r.ID, ProjectID: project.ID, OrganizationID: owner.OrganizationID}
}

func said(message string) models.WorkerLogLine {
	return models.WorkerLogLine{Time: time.Now().UTC(), Kind: models.LogConsole, Level: "log", Message: message}
}

func (b *breakable) messages(t *testing.T, r edge.Release) []string {
	t.Helper()
	rows, err := b.WorkerLog(t.Context(), r.ProjectID, r.ID, 0, 100_000)
	require.NoError(t, err)
	messages := []string{}
	for _, row := range rows {
		var line models.WorkerLogLine
		require.NoError(t, json.Unmarshal(row.Line, &line))
		require.Equal(t, r.ID, line.ReleaseID)
		messages = append(messages, line.Message)
	}
	return messages
}

func TestSink_keepsTheLatestLinesInOrder(t *testing.T) {
	s, rows, r := newSink(t, 20)
	for n := range 100 {
		s.Log(r, []models.WorkerLogLine{said(fmt.Sprint(n))})
		s.flush(t.Context())
	}
	kept := rows.messages(t, r)
	require.GreaterOrEqual(t, len(kept), 20)
	require.Less(t, len(kept), 25)
	require.Equal(t, "99", kept[len(kept)-1])
	after, err := rows.WorkerLogTail(t.Context(), r.ProjectID, "", 3)
	require.NoError(t, err)
	last, err := rows.WorkerLog(t.Context(), r.ProjectID, "", after, 10)
	require.NoError(t, err)
	require.Len(t, last, 3)
}

func TestSink_losesNothingWhileTheDatabaseIsAwayForAMoment(t *testing.T) {
	s, rows, r := newSink(t, 100)
	rows.down = true
	s.Log(r, []models.WorkerLogLine{said("one")})
	s.flush(t.Context())
	s.Log(r, []models.WorkerLogLine{said("two")})
	rows.down = false
	s.flush(t.Context())
	require.Equal(t, []string{"one", "two"}, rows.messages(t, r))
}

func TestSink_saysWhatItDropped(t *testing.T) {
	s, rows, r := newSink(t, 10_000)
	lines := make([]models.WorkerLogLine, maxPending/10+5)
	for i := range lines {
		lines[i] = said("x")
	}
	s.Log(r, lines)
	s.flush(t.Context())
	kept := rows.messages(t, r)
	require.Len(t, kept, maxPending/10+1)
	require.Contains(t, kept[len(kept)-1], "5 lines dropped")
}

func TestSink_takesWhateverAWorkerSays(t *testing.T) {
	s, rows, r := newSink(t, 100)
	s.Log(r, []models.WorkerLogLine{said("a\x00b"), said("\xff\xfe"), said(`\u0000`), said("'; DROP TABLE worker_logs; --"), said("line\nbreak")})
	s.Log(edge.Release{ID: "rel_gone", ProjectID: r.ProjectID}, []models.WorkerLogLine{said("of a deleted release")})
	s.flush(t.Context())
	require.Equal(t, []string{"a\u2400b", "\ufffd\ufffd", `\u0000`, "'; DROP TABLE worker_logs; --", "line\nbreak"}, rows.messages(t, r))
}

func TestSink_removesLinesThatAreOld(t *testing.T) {
	s, rows, r := newSink(t, 10_000)
	old := make([]models.WorkerLogLine, 1500)
	for i := range old {
		old[i] = said("old")
		old[i].Time = old[i].Time.Add(-2 * keepTime)
	}
	s.Log(r, append(old, said("new")))
	s.flush(t.Context())
	s.sweep(t.Context(), time.Now().Add(-keepTime))
	require.Equal(t, []string{"new"}, rows.messages(t, r))
}

func TestSink_writesWhatIsLeftWhenItStops(t *testing.T) {
	s, rows, r := newSink(t, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	s.Log(r, []models.WorkerLogLine{said("last words")})
	cancel()
	require.NoError(t, <-done)
	require.Equal(t, []string{"last words"}, rows.messages(t, r))
}

// While the database is away, long lines of many releases must neither fill the
// memory nor take the room of other organizations.
func TestSink_holdsNoMoreOfAnOrganizationThanItsShare(t *testing.T) {
	s := New(Options{})
	long := strings.Repeat("\x01", 16<<10)
	for n := range 4000 {
		s.Log(edge.Release{ID: fmt.Sprint("rel_", n%50), OrganizationID: "org_loud"}, []models.WorkerLogLine{said(long)})
	}
	s.Log(edge.Release{ID: "rel_quiet", OrganizationID: "org_quiet"}, []models.WorkerLogLine{said("still heard")})
	require.Equal(t, "rel_quiet", s.pending[len(s.pending)-1].ReleaseID)
	bytes := 0
	for _, line := range s.pending {
		bytes += len(line.Line)
	}
	require.LessOrEqual(t, bytes, maxPendingBytes/4+1000)
	rows := s.take()
	require.LessOrEqual(t, batchOf(rows), 1+batchBytes/len(rows[0].Line))
	s.giveBack(rows)
	require.Len(t, s.pending, len(rows))
	require.Equal(t, len(rows), s.waiting[""].lines)
}

func TestSink_keepsNoMoreBytesOfAReleaseThanItMay(t *testing.T) {
	s, rows, r := newSink(t, 100_000)
	for range 40 {
		text := make([]byte, 512<<10)
		_, _ = rand.Read(text)
		s.Log(r, []models.WorkerLogLine{said(hex.EncodeToString(text))})
		s.flush(t.Context())
	}
	kept := rows.messages(t, r)
	require.NotEmpty(t, kept)
	require.Less(t, len(kept), 20)
}

// A database that was away for ten minutes made three thousand warnings.
func TestSink_saysOnceThatTheDatabaseIsAwayAndThatItIsBack(t *testing.T) {
	s, rows, r := newSink(t, 100)
	log, hook := logtest.NewNullLogger()
	s.options.Log = log
	rows.down = true
	s.Log(r, []models.WorkerLogLine{said("one")})
	for range 20 {
		s.flush(t.Context())
	}
	require.Len(t, hook.AllEntries(), 1)
	require.Equal(t, longestPause, s.pause, "and it asks less and less often")
	rows.down = false
	s.flush(t.Context())
	require.Len(t, hook.AllEntries(), 2)
	require.Zero(t, s.pause)
	require.Equal(t, []string{"one"}, rows.messages(t, r))
}
