package cli

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// display understands what a screen writes: text, LF, CR, cursor up (CSI A),
// clear to the end (CSI J); styles (CSI m) are dropped.
type display struct {
	lines []string
	row   int
}

func (d *display) Write(p []byte) (int, error) {
	text := string(p)
	for text != "" {
		switch {
		case text[0] == '\n':
			d.row++
			text = text[1:]
		case text[0] == '\r':
			text = text[1:]
		case text[0] == 0x1b:
			length := escapeLength(text)
			switch sequence := text[2:length]; sequence[len(sequence)-1] {
			case 'A':
				n, _ := strconv.Atoi(sequence[:len(sequence)-1])
				d.row -= n
			case 'J':
				d.lines = d.lines[:min(d.row, len(d.lines))]
			}
			text = text[length:]
		default:
			end := strings.IndexAny(text, "\n\r\x1b")
			if end < 0 {
				end = len(text)
			}
			for len(d.lines) <= d.row {
				d.lines = append(d.lines, "")
			}
			d.lines[d.row] += text[:end]
			text = text[end:]
		}
	}
	return len(p), nil
}

func TestScreen_keepsLiveLinesBelowThoseThatStay(t *testing.T) {
	d := &display{}
	s := newScreen(d)
	s.size = func() (int, int) { return 20, 10 }
	s.print("first")
	s.draw([]string{"step a", "step b"})
	s.print("log 1", "log 2")
	s.draw([]string{"step a done"})
	s.print("log 3")
	require.Equal(t, []string{"first", "log 1", "log 2", "log 3", "step a done"}, d.lines)
	s.release()
	s.print("after")
	require.Equal(t, []string{"first", "log 1", "log 2", "log 3", "step a done", "after"}, d.lines)
}

func TestScreen_neverDrawsMoreThanFits(t *testing.T) {
	d := &display{}
	s := newScreen(d)
	s.size = func() (int, int) { return 10, 4 }
	live := []string{"0", "1", "2", "3", "a line too long for it"}
	s.draw(live)
	require.Equal(t, []string{"2", "3", "a line t…"}, d.lines)
	s.draw(live)
	require.Equal(t, []string{"2", "3", "a line t…"}, d.lines)
}

func TestTerminalView_showsTheStepsAndTheLog(t *testing.T) {
	d := &display{}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := newScreen(d)
	s.size = func() (int, int) { return 80, 24 }
	v := &terminalView{screen: s, style: style{enabled: true}, clock: newStepClock(func() time.Time { return now })}
	v.upload(uploadState{sent: 1, total: 2, sentBytes: 500, totalBytes: 1000})
	require.Equal(t, []string{"  Uploading ███████████████░░░░░░░░░░░░░░░ 1 of 2 files, 500 B of 1 kB"}, d.lines)
	v.upload(uploadState{})
	v.status(statusAt(1, models.StepBuild))
	now = now.Add(1500 * time.Millisecond)
	v.log("npm \x1b[31mci")
	v.tick()
	require.Equal(t, []string{
		"  │ npm ci",
		"",
		"  ✓ validate  0.5s",
		"  ✓ sync      0.5s",
		"  ✓ sandbox   0.5s",
		"  ⠙ build     1.5s",
		"  · deploy   ",
		"  · cleanup  ",
		"  ██████████████████░░░░░░░░░░░░  60%  1.5s",
	}, d.lines)
	v.status(succeeded(2))
	v.close()
	require.Equal(t, "  ██████████████████████████████ 100%  1.5s", d.lines[len(d.lines)-1])
}

func TestBar_growsWithTheShareDone(t *testing.T) {
	require.Equal(t, "░░░░", bar(0, 4))
	require.Equal(t, "█▌░░", bar(0.375, 4))
	require.Equal(t, "████", bar(1, 4))
	require.Equal(t, "████", bar(7, 4))
	require.Equal(t, "░░░░", bar(-1, 4))
}

func TestFormat_isForPeople(t *testing.T) {
	bytesCases := map[int64]string{0: "0 B", 999: "999 B", 1000: "1 kB", 1234: "1.23 kB", 999_600: "1 MB", 5 << 20: "5.24 MB", 12_345_678_901: "12.3 GB"}
	for n, want := range bytesCases {
		require.Equal(t, want, formatBytes(n))
	}
	durations := map[time.Duration]string{-1: "0.0s", 1234 * time.Millisecond: "1.2s", 42 * time.Second: "42s", 125 * time.Second: "2m05s", 3*time.Hour + 7*time.Minute: "3h07m"}
	for d, want := range durations {
		require.Equal(t, want, formatDuration(d))
	}
	require.Equal(t, "1 file", plural(1, "file"))
	require.Equal(t, "0 files", plural(0, "file"))
}

func TestFit_countsColumnsNotBytes(t *testing.T) {
	require.Equal(t, "日本", fit("日本", 4))
	require.Equal(t, "日…", fit("日本", 3))
	require.Equal(t, "é", fit("é", 1))
	require.Equal(t, "abc…", fit("abcdef", 4))
	require.Equal(t, "\x1b[31mab…\x1b[0m", fitStyled("\x1b[31mabcdef\x1b[0m", 3))
}

func TestPrintable_takesControlOut(t *testing.T) {
	cases := map[string]string{
		"plain":                           "plain",
		"\x1b[31mred\x1b[0m":              "red",
		"\x1b]0;title\x07x":               "x",
		"\x1b]52;c;ZXZpbA==\x1b\\x":       "x",
		"a\rb\x08c\x00":                   "abc",
		"tab\there":                       "tab    here",
		"\xff":                            "\ufffd",
		"a\u202eb":                        "a\ufffdb",
		"\u009b31mx":                      "31mx",
		"ü ✓ 日":                           "ü ✓ 日",
		"\x1bPq" + strings.Repeat("x", 9): "",
	}
	for in, want := range cases {
		require.Equal(t, want, printable(in), "%q", in)
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("\x1b[31mred\x1b[0m\x1b]0;t\x07\r\n\u202e")
	f.Fuzz(func(t *testing.T, text string) {
		out := printable(text)
		for _, r := range out {
			if r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) {
				t.Fatalf("%q leaves %q", text, out)
			}
		}
		if again := printable(out); again != out {
			t.Fatalf("%q is not stable: %q", out, again)
		}
		if got := fit(out, 10); textColumns(got) > 10 {
			t.Fatalf("%q does not fit", got)
		}
	})
}

func TestPlainView_writesEachChangeOnce(t *testing.T) {
	var out bytes.Buffer
	v := newView(&out, false)
	for range 3 {
		v.status(statusAt(1, models.StepSync))
	}
	v.status(statusAt(2, models.StepSandbox))
	require.Equal(t, "[validate] completed in 0.5s\n[sync] started\n[sync] completed in 0.5s\n[sandbox] started\n", out.String())
}

func TestStepClock_leavesOutTheTimeAStepWasParked(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	now := began.Add(10 * time.Minute)
	clock := newStepClock(func() time.Time { return now })
	s := models.StepStatus{Status: models.StepInProgress, StartedAt: &began, Timestamp: &began}
	require.Zero(t, clock.took(models.StepBuild, s))
	now = now.Add(7 * time.Second)
	require.Equal(t, 7*time.Second, clock.took(models.StepBuild, s))
	end := now
	s.Status, s.Timestamp = models.StepCompleted, &end
	require.Equal(t, 7*time.Second, clock.took(models.StepBuild, s))
	now = now.Add(time.Minute)
	require.Equal(t, 7*time.Second, clock.took(models.StepBuild, s))
	require.Equal(t, 10*time.Minute+7*time.Second, clock.took(models.StepSandbox, s))
}

func TestWorkerName_isMadeOfTheFoldersName(t *testing.T) {
	cases := map[string]string{
		"My Site!":                "my-site",
		"--a__b--":                "a-b",
		"ünïcode":                 "n-code",
		strings.Repeat("ab-", 30): "ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-a",
	}
	for folder, want := range cases {
		got, err := workerNameOf("/x/" + folder)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.NoError(t, models.ValidateNewWorkerName(got, nil))
	}
	_, err := workerNameOf("/x/日本")
	require.Error(t, err)
	_, err = workerNameOf("/")
	require.Error(t, err)
}
