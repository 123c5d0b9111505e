package framework

// WorkerPlan is where the server code of a project is found after its build.
// The bundler looks first for the redirect that build tools leave in
// .wrangler/deploy/config.json, then takes Settings, then the first of Outputs
// that is there.
type WorkerPlan struct {
	// Settings is the project's own wrangler file, relative to Plan.Root:
	// wrangler.jsonc, wrangler.json or wrangler.toml; "" when there is none.
	Settings string `json:"settings,omitempty"`
	// Outputs are where a framework's adapter puts a worker, for when no settings
	// file names one, likeliest first.
	Outputs []WorkerOutput `json:"outputs,omitempty"`
	// Required says that without a worker there is nothing to serve. Otherwise a
	// build that made only files is a site of files.
	Required bool `json:"required,omitempty"`
}

// WorkerOutput is a worker as a framework's adapter writes it. Paths are
// relative to Plan.Root.
type WorkerOutput struct {
	// Main is the worker's main module, such as .svelte-kit/cloudflare/_worker.js.
	Main string `json:"main"`
	// Assets is the folder of the files served beside the worker; "" for none.
	Assets string `json:"assets,omitempty"`
}
