package models_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
)

// BenchmarkDeploymentRows writes what one deployment writes, from its row to its
// settled quota, eight at a time, with and without the triggers that tell pages of
// changes (migration 00015). Besides the time, which is that of one of them at full
// load, it reports the processor time of the database for each: of the sessions that
// write, and of those that listen. Servers of tests do not wait for the disk; one that
// does commits what notifies one after the other.
func BenchmarkDeploymentRows(b *testing.B) {
	for _, mode := range []string{"told", "untold", "told", "untold"} {
		b.Run(mode, func(b *testing.B) { benchmarkDeploymentRows(b, mode == "told") })
	}
}

// writers is how many deployments write their rows at a time.
const writers = 8

func benchmarkDeploymentRows(b *testing.B, told bool) {
	url := modelstest.URL(b)
	admin, err := pgx.Connect(b.Context(), url)
	require.NoError(b, err)
	defer admin.Close(context.Background())
	if !told {
		_, err := admin.Exec(b.Context(), `DO $$ DECLARE r record; BEGIN
			FOR r IN SELECT tgname, tgrelid::regclass AS t FROM pg_trigger WHERE tgname LIKE 'tell\_%' LOOP
				EXECUTE format('ALTER TABLE %s DISABLE TRIGGER %I', r.t, r.tgname);
			END LOOP; END $$`)
		require.NoError(b, err)
	}
	store, err := models.OpenStore(models.StoreOptions{URL: url, MaxConns: writers})
	require.NoError(b, err)
	defer store.Close()
	id, err := store.EnsureOwner(b.Context(), "Test", "owner@example.com")
	require.NoError(b, err)
	require.NoError(b, store.SetQuotas(b.Context(), id.OrganizationID, models.QuotaChange{Deployments: new(int64(1 << 40)), Projects: new(int64(1 << 40))}))
	stop, heard := listenForChanges(b, store, 2)
	defer stop()
	// All sessions are there before their time is taken.
	var sessions sync.WaitGroup
	projects := make([]models.Project, writers)
	for i := range projects {
		sessions.Go(func() {
			name := fmt.Sprintf("site-%d", i)
			projects[i], err = store.CreateProject(b.Context(), id.OrganizationID, name, name)
			require.NoError(b, err)
		})
	}
	sessions.Wait()
	pids := backends(b, admin)
	before := ticks(b, pids)
	b.ResetTimer()
	var work sync.WaitGroup
	var next atomic.Int64
	for _, p := range projects {
		work.Go(func() {
			for next.Add(1) <= int64(b.N) {
				writeDeployment(b, store, id, p)
			}
		})
	}
	work.Wait()
	b.StopTimer()
	b.ReportMetric(float64(ticks(b, pids)-before)*10/float64(b.N), "database-cpu-ms/op")
	b.ReportMetric(float64(heard())/float64(b.N), "heard/op")
}

// writeDeployment writes the rows of a deployment with as many statuses as a short
// build has.
func writeDeployment(b *testing.B, store *models.Store, id models.Identity, p models.Project) {
	row, _, err := store.CreateDeployment(b.Context(), deploymentOf(id, p))
	if err != nil {
		b.Error(err)
		return
	}
	for version := range int64(14) {
		st := models.Status{DeploymentID: row.ID, Status: models.StatusInProgress, Version: version + 1, Timestamp: time.Now().UTC(), Steps: models.NewSteps(), Logs: []string{"line"}}
		if err := store.RecordStatus(b.Context(), st); err != nil {
			b.Error(err)
		}
	}
	if err := store.SettleQuota(b.Context(), row.ID); err != nil {
		b.Error(err)
	}
}

// listenForChanges listens as so many gateways do, and counts what they hear.
func listenForChanges(b *testing.B, store *models.Store, gateways int) (stop func(), heard func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	var group, listening sync.WaitGroup
	var mu sync.Mutex
	var n int
	listening.Add(gateways)
	for range gateways {
		group.Go(func() {
			_ = store.ListenChanges(ctx, listening.Done, func(models.Change) {
				mu.Lock()
				defer mu.Unlock()
				n++
			})
		})
	}
	listening.Wait()
	return func() { cancel(); group.Wait() }, func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

// backends are the processes of the sessions of this database.
func backends(b *testing.B, conn *pgx.Conn) (pids []int) {
	rows, err := conn.Query(b.Context(), "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	require.NoError(b, err)
	for rows.Next() {
		var pid int
		require.NoError(b, rows.Scan(&pid))
		pids = append(pids, pid)
	}
	require.NoError(b, rows.Err())
	return pids
}

// ticks is the processor time that processes have used, in hundredths of a second.
func ticks(b *testing.B, pids []int) (sum int64) {
	for _, pid := range pids {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		require.NoError(b, err)
		// After the name, which may hold anything: proc_pid_stat(5).
		fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
		for _, field := range fields[11:13] {
			n, err := strconv.ParseInt(field, 10, 64)
			require.NoError(b, err)
			sum += n
		}
	}
	return sum
}
