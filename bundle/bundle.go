// Package bundle turns what a build left behind into the code of a worker.
//
// One half runs inside the sandbox, as a command of the guest: Run reads the
// project's wrangler settings, bundles with esbuild or collects modules that
// are bundled already, and lays out the result in Dir and AssetsDir. The other
// half runs on the host: Read checks what came out, which is hostile input like
// everything from a sandbox, and gives the models.WorkerBundle.
//
// The settings and their meaning are wrangler's
// (https://developers.cloudflare.com/workers/wrangler/configuration/). What
// cannot be honoured here fails the build by name; docs/projects.md lists it.
package bundle

import (
	"errors"

	"github.com/slipwayhq/slipway/models"
)

// Where Run puts its results, relative to the workspace.
const (
	// Dir holds DescriptionFile, the modules as modules/0, modules/1, … in the
	// order of the description, and the source maps there are as maps/0, ….
	// Files have numbers because a module's name may be no good file name.
	Dir = ".slipway/worker"
	// DescriptionFile is the Description, in Dir.
	DescriptionFile = "worker.json"
	// AssetsDir holds the files to serve beside the worker, without those that
	// .assetsignore and our own rules leave out.
	AssetsDir = ".slipway/assets"
)

// Phase is what models.Diagnosis calls this step of a build.
const Phase = "bundle"

// DefaultCompatibilityDate is for projects that name none. It does not follow
// the calendar, so that the same source always gives the same worker; a release
// of Slipway that moves it says so in its change log.
const DefaultCompatibilityDate = "2026-11-01"

// Version names what decides, beside a project's files, how it is bundled. It is
// part of the key under which outputs are kept, so raise its number with every
// change that gives the same source another worker.
const Version = "esbuild 0.28.2, 1"

// Limits of one worker. Those of modules are over what Cloudflare allows (10 MiB
// compressed), so that what runs there is not refused here.
const (
	MaxModules       = 5_000
	MaxModuleBytes   = 64 << 20  // all modules together
	MaxMapBytes      = 128 << 20 // all source maps together; what is over is left out
	maxNameBytes     = 255
	maxSettingsBytes = 1 << 20
	maxVarBytes      = 1 << 20 // all values together
	maxVars          = 1_000
	maxFlags         = 100
	maxNamespaces    = 100
	maxPatterns      = 100
)

// Request says where to look for a worker. Paths are slash-separated.
type Request struct {
	// Root is the project's folder from the workspace; "." when it is the same.
	Root string `json:"root"`
	// Settings is the project's own wrangler file, relative to Root; "" for none.
	Settings string `json:"settings,omitempty"`
	// Outputs are where a framework puts a worker when no settings file names
	// one, likeliest first.
	Outputs []Output `json:"outputs,omitempty"`
	// LatestDate is the newest compatibility date of the runtime; "" when unknown.
	LatestDate string `json:"latestDate,omitempty"`
}

// Output is a worker that a framework's build leaves, relative to Root. Main is
// a file, or a folder with an index.js; Assets is a folder, "" for none.
type Output struct {
	Main   string `json:"main"`
	Assets string `json:"assets,omitempty"`
}

// Description is what Run tells the host about its results.
type Description struct {
	Version int `json:"version"`
	// Worker is the code without digests and sizes: the host sees for itself.
	// Nil when the settings ask for a site of files only.
	Worker *models.WorkerBundle `json:"worker,omitempty"`
	// Assets says that AssetsDir has the files to serve.
	Assets bool `json:"assets,omitempty"`
	// HTMLHandling and NotFoundHandling are how they are served; "" leaves it
	// to the framework's rule.
	HTMLHandling     string `json:"htmlHandling,omitempty"`
	NotFoundHandling string `json:"notFoundHandling,omitempty"`
}

// descriptionVersion changes with the meaning of a Description. Both halves are
// of one executable, so only a stray file can differ.
const descriptionVersion = 1

// ErrNotBundled is in the chain of Run's error for code that esbuild refuses: the
// log has its messages. Every other error with models.CodeBuildFailed says all
// there is to say.
var ErrNotBundled = errors.New("the worker's code cannot be bundled")

// ErrNoWorker is Run's error when nothing says that the project has a worker, or
// that its files are served from a certain folder.
var ErrNoWorker = errors.New("the project has no worker")
