// Package examples carries the project that `slipway dev` deploys on its first
// start, so that the binary alone has something to show.
package examples

import (
	"embed"
	"io/fs"
)

// Named one by one: a folder would bring node_modules along where somebody
// installed it.
//
//go:embed vite-react/index.html vite-react/package.json vite-react/package-lock.json
//go:embed vite-react/tsconfig.json vite-react/vite.config.ts vite-react/src vite-react/public
var files embed.FS

// ViteReact is a small Vite and React project with its lockfile.
func ViteReact() fs.FS {
	sub, err := fs.Sub(files, "vite-react")
	if err != nil {
		panic(err) // the path is a constant
	}
	return sub
}
