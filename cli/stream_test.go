package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestStreamLog_goesOnWhereTheConnectionBroke(t *testing.T) {
	f := newFakeAPI(t)
	for i := range 50 {
		f.lines = append(f.lines, fmt.Sprintf("line %d", i+1))
	}
	f.cutAfter = []int{0, 7, 7, 30}
	var got []string
	err := f.client().StreamLog(t.Context(), fakeDep, 0, LogHandlers{Line: func(line LogLine) error {
		got = append(got, line.Text)
		return nil
	}})
	require.NoError(t, err)
	require.Equal(t, f.lines, got)
	require.Equal(t, []string{"", "", "7", "7", "30"}, f.resumed)
}

func TestStreamLog_endsOnAnAnswerThatWillNotChange(t *testing.T) {
	f := newFakeAPI(t)
	tries := 0
	f.before = func(w http.ResponseWriter, _ *http.Request) bool {
		tries++
		if tries < 3 {
			refuse(w, models.CodeDatabase, "The database is away.", nil)
			return true
		}
		refuse(w, models.CodeDeploymentNotFound, "There is no such deployment.", nil)
		return true
	}
	err := f.client().StreamLog(t.Context(), fakeDep, 0, LogHandlers{Line: func(LogLine) error { return nil }})
	require.True(t, hasCode(err, models.CodeDeploymentNotFound), "%v", err)
	require.Equal(t, 3, tries)
}

func TestLogs_ofAParkedDeploymentDoNotWaitForIt(t *testing.T) {
	f := newFakeAPI(t)
	parked := statusAt(7, models.StepDeploy)
	parked.Status, parked.Outcome = models.StatusFailed, models.OutcomeDeadLetter
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/stream") {
			return false
		}
		state, _ := json.Marshal(parked)
		fmt.Fprintf(w, "retry: 2000\nid: 1\nevent: log\ndata: {\"line\":1,\"text\":\"one\"}\n\nevent: status\ndata: %s\n\n", state)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return true
	}
	got := f.run("logs", "-f", fakeDep)
	require.Equal(t, ExitOK, got.code)
	require.Equal(t, "one\n", got.out)
	require.Contains(t, got.err, "slipway status "+fakeDep)
}

func TestLogs_asJSONAreOneObjectALine(t *testing.T) {
	f := newFakeAPI(t)
	f.lines = []string{"a <b>", "two\tthree"}
	for _, args := range [][]string{{"logs", fakeDep, "--json"}, {"logs", "-f", fakeDep, "--json"}} {
		got := f.run(args...)
		require.Equal(t, ExitOK, got.code, got.err)
		decoder := json.NewDecoder(strings.NewReader(got.out))
		var lines []LogLine
		for {
			var line LogLine
			if err := decoder.Decode(&line); err == io.EOF {
				break
			} else {
				require.NoError(t, err)
			}
			lines = append(lines, line)
		}
		require.Equal(t, []LogLine{{1, "a <b>"}, {2, "two\tthree"}}, lines)
		require.Equal(t, 2, strings.Count(got.out, "\n"))
	}
}
