package edge

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestLogs_carryWhatTheConsoleWasGiven(t *testing.T) {
	for name, date := range map[string]string{"older": "2024-09-23", "newer": "2026-11-01"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.deploy("r1", `console.log("at start");
			export default { async fetch(request) {
				console.log("two\nlines", { a: [1, { b: 2 }] }, 5n); console.debug("d"); console.info("i"); console.warn("w");
				console.error("bad", new RangeError("inner")); globalThis.process?.stdout?.write?.("raw\n"); globalThis.process?.stderr?.write?.("raw error\n"); console.log("x".repeat(200000));
				return new Response("ok");
			} }`, func(b *models.WorkerBundle) { b.CompatibilityDate = date })
			w.expect(r, "/a?secret=1", "ok")
			assert.Equal(t, "log", w.awaitLine(r, models.LogConsole, "at start").Level)
			assert.Equal(t, "two\nlines { a: [ 1, { b: 2 } ] } 5n", w.awaitLine(r, models.LogConsole, "two").Message)
			for part, level := range map[string]string{"d": "debug", "i": "info", "w": "warn"} {
				w.eventually(func() bool {
					for _, line := range w.lines.of(r.ID) {
						if line.Kind == models.LogConsole && line.Message == part && line.Level == level {
							return true
						}
					}
					return false
				}, func() string { return w.logOf(r) })
			}
			failure := w.awaitLine(r, models.LogConsole, "bad")
			assert.Equal(t, "error", failure.Level)
			assert.Contains(t, failure.Message, "RangeError: inner")
			assert.Contains(t, failure.Message, "main.js:4:")
			assert.NotContains(t, failure.Message, bundlePrefix)
			if name == "newer" {
				w.awaitLine(r, models.LogConsole, "raw")
				assert.Equal(t, "error", w.awaitLine(r, models.LogConsole, "raw error").Level, w.logOf(r))
			}
			long := w.awaitLine(r, models.LogConsole, "xxxx")
			assert.LessOrEqual(t, len(long.Message), maxMessage+3)
			assert.WithinDuration(t, time.Now(), long.Time, time.Minute)

			closed := w.awaitLine(r, models.LogRequest, "")
			closed.Time, closed.DurationMS = time.Time{}, 0
			assert.Equal(t, LogLine{
				ReleaseID: "r1", Kind: models.LogRequest, Level: "info", RequestID: "request-1",
				Method: "GET", Path: "/a", Status: 200, Outcome: "ok",
			}, closed)
		})
	}
}

func TestLogs_carryExceptionsWithTheirPlaceInTheSource(t *testing.T) {
	for name, date := range map[string]string{"older": "2024-09-23", "newer": "2026-11-01"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			script := `function a(){throw new TypeError("no settings")}export default{async fetch(q,e,c){if(q.url.endsWith("/later")){c.waitUntil(Promise.reject(new Error("later")));return new Response("ok")}a()}};`
			r := w.deployModules("r1", []module{{name: "main.js", kind: models.ModuleES, content: script, sourceMap: mapped}},
				func(b *models.WorkerBundle) { b.CompatibilityDate = date })
			assert.Equal(t, 500, w.get(r, "/").status)
			thrown := w.awaitLine(r, models.LogException, "TypeError: no settings")
			assert.Equal(t, "TypeError: no settings", thrown.Message)
			assert.Contains(t, thrown.Stack, "src/settings.ts:4:")
			closed := w.awaitLine(r, models.LogRequest, "")
			assert.Equal(t, "exception", closed.Outcome)
			assert.Equal(t, "error", closed.Level)
			w.expect(r, "/later", "ok")
			w.awaitLine(r, models.LogException, "Error: later")
		})
	}
}

func TestLogs_hideSecrets(t *testing.T) {
	w := newWorld(t)
	w.env.values["r1"] = models.Environment{
		"TOKEN": {Value: "line \"one\"\nline two", Secret: true}, "SHORT": {Value: "a", Secret: true}, "OPEN": {Value: "visible value"},
	}
	r := w.deploy("r1", `export default { fetch(request, env) {
		console.log("plain", env.TOKEN, env.SHORT, env.OPEN); console.log("inside", JSON.stringify(env)); throw new Error("with " + env.TOKEN);
	} }`)
	assert.Equal(t, 500, w.get(r, "/").status)
	assert.Equal(t, "plain [TOKEN] a visible value", w.awaitLine(r, models.LogConsole, "plain").Message)
	assert.Contains(t, w.awaitLine(r, models.LogConsole, "inside").Message, `"TOKEN":"[TOKEN]"`)
	assert.Equal(t, "Error: with [TOKEN]", w.awaitLine(r, models.LogException, "").Message)
	bad := w.deploy("r2", `import { env } from "cloudflare:workers"; throw new Error("with " + env.TOKEN)`)
	w.env.values["r2"] = w.env.values["r1"]
	assert.Equal(t, "The worker did not start: Error: with [TOKEN].", models.MessageOf(w.Smoke(t.Context(), bad)))
}

func TestLogs_dropWhatIsTooMuchAndSayHowMuch(t *testing.T) {
	w := newWorld(t)
	loud := w.deploy("loud", `export default { async fetch() {
		for (let i = 0; i < 200; i++) { for (let j = 0; j < 100; j++) console.log("line", i, "y".repeat(200)); await scheduler.wait(1); }
		return new Response("ok");
	} }`)
	quiet := w.deploy("quiet", hello)
	w.expect(quiet, "/", "hello 1")
	began := time.Now()
	w.expect(loud, "/", "ok")
	dropped := w.awaitLine(loud, models.LogSystem, "lines dropped")
	assert.Equal(t, "warn", dropped.Level)
	w.expect(quiet, "/", "hello 2")
	var count int
	w.lines.mu.Lock()
	defer w.lines.mu.Unlock()
	for _, line := range w.lines.lines {
		if line.ReleaseID == "loud" {
			count++
		}
	}
	// A second more, and a few lines of the host's own.
	assert.LessOrEqual(t, count, lineBurst+lineRate*(2+int(time.Since(began).Seconds()))+10)
}

func TestOutput_readsLinesHoweverTheyArrive(t *testing.T) {
	said := &sink{}
	h := &Host{limits: testLimits(), options: Options{Now: time.Now, Logs: said}, journals: map[string]*journal{}}
	w := &worker{host: h, journal: h.journal(Release{ID: "r1"}), code: &code{maps: newSourceMaps(&models.WorkerBundle{}, "", &sync.Mutex{})}}
	o := newOutput(w)
	text := `{"timestamp":1795293636797,"level":"warn","message":"caf\u00e9"}` + "\nplain {\n\n" +
		`{"timestamp":1,"level":"log","message":"` + strings.Repeat(`\u00e9`, 20000) + `"}` + "\n" +
		`{"timestamp":"1","level":"info","source":"x.c++:1","message":"uncaught exception; source = Uncaught; stack = Error: e\n    at f (main.js:1:2)","context_depth":0}` + "\nend"
	for _, part := range strings.SplitAfter(text, "e") {
		n, err := o.Write([]byte(part))
		require.NoError(t, err)
		require.Equal(t, len(part), n)
	}
	lines := said.of("r1")
	require.Len(t, lines, 4, fmt.Sprint(lines))
	assert.Equal(t, "café", lines[0].Message)
	assert.Equal(t, "warn", lines[0].Level)
	assert.Equal(t, "plain {", lines[1].Message)
	assert.Equal(t, strings.Repeat("é", 100), lines[2].Message[:200])
	assert.Equal(t, models.LogException, lines[3].Kind)
	assert.Equal(t, "Error: e", lines[3].Message)
	assert.Equal(t, "at f (main.js:1:2)", lines[3].Stack)
}

// What a worker prints may look like a line of workerd's with a time of its own.
func TestOutput_believesNoTimeFarFromTheHosts(t *testing.T) {
	now := time.UnixMilli(1795293636797)
	for stamp, want := range map[string]time.Time{
		`1795293636000`: time.UnixMilli(1795293636000), `9223372036854775807`: {}, `-62198755200001`: {}, `1`: {}, `"1"`: {}, `{}`: {},
	} {
		require.True(t, want.Equal(printed{Timestamp: []byte(stamp)}.time(now)), stamp)
	}
}

func FuzzOutput(f *testing.F) {
	f.Add([]byte(`{"timestamp":1,"level":"log","message":"a"}` + "\n"))
	f.Add([]byte(`{"timestamp":"1","level":"info","source":"x","message":"uncaught exception; source = ; stack = E\n at (main.js:1:1)"}` + "\n"))
	f.Add([]byte("a\x00\xff\n{\"timestamp\":1,\"message\":\"\\u00"))
	f.Fuzz(func(t *testing.T, said []byte) {
		lines := &sink{}
		h := &Host{limits: testLimits(), options: Options{Now: time.Now, Logs: lines}, journals: map[string]*journal{}}
		bundle := &models.WorkerBundle{Modules: []models.WorkerModule{{Name: "main.js", SourceMap: "x"}}}
		w := &worker{host: h, journal: h.journal(Release{ID: "r1"}), code: &code{maps: newSourceMaps(bundle, "/nowhere", &sync.Mutex{})}}
		o := newOutput(w)
		half := len(said) / 2
		_, _ = o.Write(said[:half])
		_, _ = o.Write(said[half:])
		_, _ = o.errors.Write(said)
		o.startError()
		for _, line := range lines.of("r1") {
			if len(line.Message) > maxMessage+3 || len(line.Stack) > maxMessage+3 || strings.Contains(line.Message, "\x00") {
				t.Fatalf("unbounded line %q", line.Message)
			}
		}
	})
}
