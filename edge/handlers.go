package edge

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// examiner are the modules that come before a release's own when it is to be known
// what its main module exports, the main one first. They answer every request with
// yes or no, by the rules of workerd (ServiceWorkerGlobalScope::request and
// Worker::Lock::getExportedHandler): a request goes to the fetch of the default
// export, an object or a class, and without a default export to the listeners.
func examiner(bundle *models.WorkerBundle) []examinerModule {
	listeners, main := freeName(bundle, "slipway-listeners.js"), freeName(bundle, "slipway-examiner.js")
	return []examinerModule{
		{main, `import { heard } from ` + specifier(listeners) + `;
import * as main from ` + specifier(bundle.Modules[0].Name) + `;
const exported = main.default;
const answers = typeof exported?.fetch === "function" || typeof exported?.prototype?.fetch === "function" ||
	exported === undefined && heard.has("fetch");
export default { fetch() { return new Response(answers ? "yes" : "no"); } };
`},
		{listeners, `export const heard = new Set();
const add = globalThis.addEventListener;
globalThis.addEventListener = (type, ...rest) => { heard.add(String(type)); return add.call(globalThis, type, ...rest); };
`},
	}
}

type examinerModule struct{ name, source string }

// freeName is a name that no module of the bundle has.
func freeName(bundle *models.WorkerBundle, name string) string {
	for _, module := range bundle.Modules {
		if module.Name == name {
			return freeName(bundle, "_"+name)
		}
	}
	return name
}

// specifier names a module to another one that is beside all of them.
func specifier(name string) string {
	quoted, _ := json.Marshal("./" + name) // a string
	return string(quoted)
}

// errNoHandler refuses code that can answer nobody.
func errNoHandler() error {
	return models.Errorf(models.CodeWorkerStart,
		"The worker exports no fetch handler, so it can answer no request. Its main module needs a default export with one: export default { fetch(request, env, ctx) { … } }.")
}

// checkHandler starts a release once more, aside, to see whether its main module
// exports a fetch handler. What cannot be seen is not refused: code that does not
// start together with the examiner answered by itself before. CodeWorkerStart when
// there is none, else the platform's codes and the context's.
func (h *Host) checkHandler(ctx context.Context, r Release) error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return busy(5*time.Second, "The edge host is being stopped.")
	}
	h.tasks.Add(1)
	h.sequence++
	sequence := h.sequence
	h.mu.Unlock()
	defer h.tasks.Done()
	limited, cancel := context.WithTimeout(ctx, h.limits.StartTimeout)
	defer cancel()
	defer context.AfterFunc(h.lifetime, cancel)()
	w, err := h.make(limited, r, sequence, true)
	if err != nil {
		return err
	}
	defer func() {
		select {
		case <-w.done:
		default:
			h.kill(w, ending{outcome: outcomeStopped, message: "its exports are known", quiet: true})
			<-w.done
		}
	}()
	select {
	case <-w.listening:
		if said, err := h.examine(limited, w); err == nil && said == "no" {
			return errNoHandler()
		}
	case <-w.done:
	case <-limited.Done():
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case limited.Err() != nil, w.fate.Load() != nil:
		return busy(time.Second, "It was not seen in time what the worker exports; try again in a moment.")
	}
	return nil
}

// examine asks the examiner.
func (h *Host) examine(ctx context.Context, w *worker) (said string, err error) {
	answer, err := h.askOnce(ctx, w)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 16))
	return string(body), err
}

// smokeHost is who the first request of a release is for: a name that nobody has
// (RFC 6761 §6.4).
const smokeHost = "smoke.invalid"

// keepingSmoke answers what is sent on to smokeHost. A main module without a default
// export and without listeners has workerd send each request on, and somebody's
// resolver may know every name.
func keepingSmoke(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect && strings.EqualFold(r.URL.Hostname(), smokeHost) {
			http.Error(w, "There is nobody at "+smokeHost+".", http.StatusBadGateway)
			return
		}
		next.ServeHTTP(w, r)
	})
}
