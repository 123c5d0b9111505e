package edge

import (
	"testing"

	"github.com/slipwayhq/slipway/models"
)

func TestWorker_callsItselfByABinding(t *testing.T) {
	w := newWorld(t)
	r := w.deploy("r1", `export default { async fetch(request, env) {
		const path = new URL(request.url).pathname;
		return path === "/outer" ? env.ME.fetch("http://any/inner") : new Response("at " + path);
	} }`, func(b *models.WorkerBundle) { b.Self = []string{"ME"} })
	w.expect(r, "/outer", "at /inner")
}
