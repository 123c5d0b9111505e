// Package apidocs serves an OpenAPI document and a page to read it with, from
// the binary itself: /openapi.json, /docs and /docs/scalar.js. The gateway and
// the dispatcher each have a document of their own and share the page.
package apidocs

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strconv"
	"strings"
)

//go:generate go run bundle.go

//go:embed page.html plain.html bundle
var files embed.FS

// scalarBundle is the page's program. `go generate ./apidocs` puts it there; a
// binary built without it shows the plain page.
const scalarBundle = "bundle/scalar.js.gz"

// pagePolicy lets the page load its program and the document from here and
// nothing from anywhere else. The program sets inline styles, and has its icons
// as data. The plain page has no program.
const (
	pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
		"font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	plainPolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// Docs answers for one document. Safe for concurrent use.
type Docs struct {
	document, page, script []byte
	policy                 string
}

// New prepares the answers for a document in JSON. An error says that it is none.
func New(document []byte) (*Docs, error) {
	script, err := files.ReadFile(scalarBundle)
	if err != nil {
		script = nil
	}
	return newDocs(document, script)
}

func newDocs(document, script []byte) (*Docs, error) {
	d := &Docs{document: document, script: script, policy: pagePolicy}
	name := "page.html"
	if script == nil {
		name, d.policy = "plain.html", plainPolicy
	}
	var content outline
	if err := json.Unmarshal(document, &content); err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	content.operations()
	page, err := template.ParseFS(files, name)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := page.Execute(&out, content); err != nil {
		return nil, err
	}
	d.page = out.Bytes()
	return d, nil
}

// HasScript says that /docs/scalar.js is there.
func (d *Docs) HasScript() bool { return d.script != nil }

// Document answers /openapi.json.
func (d *Docs) Document(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache")
	send(w, r, "application/json", d.document)
}

// Page answers /docs.
func (d *Docs) Page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", d.policy)
	send(w, r, "text/html; charset=utf-8", d.page)
}

// Script answers /docs/scalar.js.
func (d *Docs) Script(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		send(w, r, "text/javascript; charset=utf-8", d.script)
		return
	}
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	plain, err := gzip.NewReader(bytes.NewReader(d.script))
	if err != nil {
		// The build wrote the file; it would be damaged in the binary.
		panic(err)
	}
	if r.Method != http.MethodHead {
		_, _ = io.Copy(w, plain)
	}
}

func send(w http.ResponseWriter, r *http.Request, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// outline is what the pages read of a document.
type outline struct {
	Info struct{ Title, Description, Version string }
	// Paths have operations beside what is no operation, such as parameters.
	Paths      map[string]map[string]json.RawMessage
	Operations map[string]map[string]operation `json:"-"`
}

type operation struct {
	Summary, Description string
	Security             []any
	Responses            map[string]json.RawMessage
}

func (o *outline) operations() {
	o.Operations = make(map[string]map[string]operation, len(o.Paths))
	for path, item := range o.Paths {
		o.Operations[path] = make(map[string]operation)
		for method, raw := range item {
			var op operation
			if json.Unmarshal(raw, &op) == nil && op.Responses != nil {
				o.Operations[path][strings.ToUpper(method)] = op
			}
		}
	}
}
