package activities

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestCleanLine_isWhatATerminalWouldHaveLeft(t *testing.T) {
	for raw, want := range map[string]string{
		"plain":                                "plain",
		"\x1b[32m✓ built\x1b[0m in 2s":         "✓ built in 2s",
		"10%\r50%\r100%":                       "100%",
		"windows\r":                            "windows",
		"\x1b]8;;http://x\x07link\x1b]8;;\x07": "link",
		"bad \xff byte\x00":                    "bad � byte",
		"tab\there":                            "tab\there",
	} {
		require.Equal(t, want, cleanLine(raw), "%q", raw)
	}
}

func TestCleanLine_masksSecrets(t *testing.T) {
	for _, line := range []string{
		"token slp_" + strings.Repeat("a", 43),
		"//registry/:_authToken=abcdef123456",
		"Authorization: Bearer abcdefghijkl",
		"cloning https://user:hunter22@example.com/x.git",
		`API_KEY="super-secret-value"`,
		"ghp_" + strings.Repeat("b", 36),
	} {
		got := cleanLine(line)
		require.Contains(t, got, masked, line)
		for _, secret := range []string{strings.Repeat("a", 43), "abcdef123456", "abcdefghijkl", "hunter22", "super-secret-value", strings.Repeat("b", 36)} {
			require.NotContains(t, got, secret)
		}
	}
	require.Equal(t, "vite v7.1.0 building for production...", cleanLine("vite v7.1.0 building for production..."))
}

func FuzzCleanLine(f *testing.F) {
	f.Add("\x1b[1mbold\x1b[0m\r\npassword=abcdefgh")
	f.Add(strings.Repeat("é", 5000))
	f.Fuzz(func(t *testing.T, raw string) {
		got := cleanLine(raw)
		if !utf8.ValidString(got) || len(got) > maxLogLine+len("…") || strings.ContainsAny(got, "\x00\x1b\r\n") {
			t.Fatalf("%q became %q", raw, got)
		}
	})
}

func TestBuildLog_goesOnAfterAnEarlierAttemptAndLosesNothing(t *testing.T) {
	b := newBench(t)
	id := b.deployment(map[string]string{"index.html": "x"}, nil).Deployment.DeploymentID
	var want []string
	for attempt := range 2 {
		log, err := b.openLog(t.Context(), id)
		require.NoError(t, err)
		for i := range 450 {
			line := fmt.Sprintf("attempt %d line %d", attempt, i)
			want = append(want, line)
			_, err := log.Write([]byte(line[:5]))
			require.NoError(t, err)
			_, err = log.Write([]byte(line[5:] + "\n"))
			require.NoError(t, err)
		}
		_, _ = log.Write([]byte("no newline"))
		want = append(want, "no newline")
		require.NoError(t, log.Close())
	}
	var got []string
	chunks, err := b.Store.LogChunks(t.Context(), id, 0, 1000)
	require.NoError(t, err)
	for _, c := range chunks {
		got = append(got, c.Lines...)
	}
	require.Equal(t, want, got)
}

func TestBuildLog_endlessOutputIsCutWithANote(t *testing.T) {
	b := newBench(t)
	log, err := b.openLog(t.Context(), b.deployment(map[string]string{"index.html": "x"}, nil).Deployment.DeploymentID)
	require.NoError(t, err)
	line := []byte(strings.Repeat("y", 100) + "\n")
	for range maxLogLines + 1000 {
		_, _ = log.Write(line)
	}
	log.Line("the end")
	require.Equal(t, "the end", log.Tail()[tailLines-1])
	require.NoError(t, log.Close())
	require.Equal(t, int64(maxLogLines+2), log.next)
}
