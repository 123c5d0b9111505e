package workflows

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/slipwayhq/slipway/models"
)

// Recorded histories guard that a deployment which is under way when a new
// version is rolled out goes on under it. They are only ever added to: run
//
//	UPDATE_HISTORIES=1 go test -run _onARealServer ./workflows
//
// to add one of every scene under a new number, and commit them with SHA256SUMS.
const (
	historiesDir = "testdata/histories"
	sumsFile     = "testdata/histories/SHA256SUMS"
)

func TestHistories_replay(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(historiesDir, "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			replayer := worker.NewWorkflowReplayer()
			for name, code := range map[string]any{models.WorkflowDeployment: Deployment, models.WorkflowDomain: Domain, models.WorkflowRollout: Rollout, models.WorkflowWebhook: Webhook} {
				replayer.RegisterWorkflowWithOptions(code, workflow.RegisterOptions{Name: name})
			}
			require.NoError(t, replayer.ReplayWorkflowHistoryFromJSONFile(quiet{}, file))
		})
	}
}

func TestHistories_coverEveryScene(t *testing.T) {
	for _, sc := range scenes() {
		require.FileExists(t, historyFile(sc.name, 1))
	}
}

func TestHistories_areOnlyAddedTo(t *testing.T) {
	listed := readSums(t)
	files, err := filepath.Glob(filepath.Join(historiesDir, "*.json"))
	require.NoError(t, err)
	require.Len(t, listed, len(files), "every history is listed in SHA256SUMS, and none has gone")
	for name, want := range listed {
		content, err := os.ReadFile(filepath.Join(historiesDir, name))
		require.NoError(t, err)
		require.Equal(t, want, sum(content), "%s was changed: record a new one instead", name)
	}
	if _, err := os.Stat("../.git"); err != nil {
		return // a source archive has no log to check against
	}
	touched, err := exec.CommandContext(t.Context(), "git", "log", "--diff-filter=MDR", "--format=%h %s", "--", historiesDir+"/*.json").CombinedOutput()
	require.NoError(t, err, string(touched))
	require.Empty(t, string(touched), "these commits changed or removed a recorded history")
}

func readSums(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open(sumsFile)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	sums := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		digest, name, ok := strings.Cut(lines.Text(), "  ")
		require.True(t, ok, lines.Text())
		sums[name] = digest
	}
	return sums
}

func historyFile(name string, number int) string {
	return filepath.Join(historiesDir, fmt.Sprintf("%s.%d.json", name, number))
}

func sum(content []byte) string {
	digest := sha256.Sum256(content)
	return hex.EncodeToString(digest[:])
}

var sumsMu sync.Mutex

// keepHistory adds the history of a run to the recorded ones when asked to.
func keepHistory(t *testing.T, name string, c client.Client, workflowID string) {
	t.Helper()
	if os.Getenv("UPDATE_HISTORIES") == "" {
		return
	}
	history := historyOf(t, c, workflowID)
	content, err := protojson.Marshal(history)
	require.NoError(t, err)
	sumsMu.Lock()
	defer sumsMu.Unlock()
	require.NoError(t, os.MkdirAll(historiesDir, 0o755))
	number := 1
	for {
		if _, err := os.Stat(historyFile(name, number)); os.IsNotExist(err) {
			break
		}
		number++
	}
	file := historyFile(name, number)
	require.NoError(t, os.WriteFile(file, append(content, '\n'), 0o644))
	sums, err := os.OpenFile(sumsFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	require.NoError(t, err)
	_, err = fmt.Fprintf(sums, "%s  %s\n", sum(append(content, '\n')), filepath.Base(file))
	require.NoError(t, err)
	require.NoError(t, sums.Close())
}

func historyOf(t testing.TB, c client.Client, workflowID string) *historypb.History {
	t.Helper()
	history := &historypb.History{}
	events := c.GetWorkflowHistory(context.Background(), workflowID, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		require.NoError(t, err)
		history.Events = append(history.Events, event)
	}
	return history
}
