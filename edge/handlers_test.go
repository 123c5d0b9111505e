package edge

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// Such a worker went live and answered every visitor with 500, or, without a default
// export, sent each of them on to itself.
func TestSmoke_refusesAWorkerWithoutAFetchHandler(t *testing.T) {
	w := newWorld(t)
	for name, script := range map[string]string{
		"nothing":   `export default {}`,
		"named":     `export const fetch = () => new Response("hi")`,
		"scheduled": `export default { scheduled() {} }`,
		"no":        `export default { fetch: undefined }`,
		"class": `import { WorkerEntrypoint } from "cloudflare:workers";
			export default class extends WorkerEntrypoint { scheduled() {} }`,
		"listener": `addEventListener("scheduled", () => {})`,
	} {
		t.Run(name, func(t *testing.T) {
			r := w.deploy("none-"+name, script)
			for range 2 { // the step may run twice
				err := w.Smoke(t.Context(), r)
				require.Equal(t, models.CodeWorkerStart, models.CodeOf(err), "%v", err)
				assert.Contains(t, models.MessageOf(err), "exports no fetch handler")
			}
		})
	}
	assert.Zero(t, w.Status().Counts.Crashes)
}

func TestSmoke_letsAFetchHandlerAnswerWhatItLikes(t *testing.T) {
	w := newWorld(t)
	for name, script := range map[string]string{
		"throws":   `console.log("once"); export default { fetch() { throw new Error("every request fails") } }`,
		"answers":  `console.log("once"); export default { fetch() { return new Response("no", { status: 500 }) } }`,
		"instance": `console.log("once"); export default new (class { fetch() { throw 1 } })()`,
		"class": `import { WorkerEntrypoint } from "cloudflare:workers"; console.log("once");
			export default class extends WorkerEntrypoint { fetch() { throw new Error("no") } }`,
		"listener": `console.log("once"); addEventListener("fetch", (event) => event.respondWith(new Response("no", { status: 503 })))`,
		"proxy":    `console.log("once"); export default { fetch(request) { return fetch(request) } }`,
		"await":    `console.log("once"); const late = await Promise.resolve(500); export default { fetch() { return new Response("no", { status: late }) } }`,
	} {
		t.Run(name, func(t *testing.T) {
			r := w.deploy("answers-"+name, script)
			require.NoError(t, w.Smoke(t.Context(), r))
			w.awaitLine(r, models.LogRequest, "")
			said := 0
			for _, line := range w.lines.of(r.ID) {
				if strings.Contains(line.Message, "once") || strings.Contains(line.Message, "worker started") {
					said++
				}
			}
			assert.LessOrEqual(t, said, 2, "that it was examined shows in its log: %s", w.logOf(r))
		})
	}
	assert.NotContains(t, strings.Join(w.way.all(), " "), smokeHost)
}

func TestSmoke_examinesWorkersWhateverTheirModulesAreCalled(t *testing.T) {
	w := newWorld(t)
	broken := func(id, main string, rest ...module) error {
		content := `export default { fetch() { throw new Error("no") } }`
		if strings.HasPrefix(id, "none") {
			content = `import "./slipway-listeners.js"; export default {}`
		}
		modules := append([]module{{name: main, kind: models.ModuleES, content: content}}, rest...)
		return w.Smoke(t.Context(), w.deployModules(id, modules))
	}
	own := []module{
		{name: "slipway-listeners.js", kind: models.ModuleES, content: `export default 1`},
		{name: "_slipway-listeners.js", kind: models.ModuleText, content: `text`},
	}
	require.NoError(t, broken("r1", "slipway-examiner.js", own...))
	require.NoError(t, broken("r2", `src/it's "main" ü.js`))
	err := broken("none", "slipway-examiner.js", own...)
	require.Equal(t, models.CodeWorkerStart, models.CodeOf(err))
	assert.Contains(t, models.MessageOf(err), "exports no fetch handler")
}
