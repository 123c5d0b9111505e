// Package dashboard serves the page for people who would rather look than read:
// a program in the browser that knows the API over HTTP and nothing else of the
// server. The gateway shows it at /app; it is never on a host that serves
// tenants' code.
package dashboard

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:generate go run bundle.go

//go:embed shell.html plain.html icon.svg theme.js bundle
var files embed.FS

// Root is the path the dashboard is below.
const Root = "/app"

// assetRoot is where files are that never change under their name.
const assetRoot = Root + "/assets/"

// turnstileOrigin is where the challenge of Cloudflare Turnstile comes from.
const turnstileOrigin = "https://challenges.cloudflare.com"

// Options of a Dashboard.
type Options struct {
	// Turnstile lets the page show Cloudflare's challenge, the one thing it then
	// loads from elsewhere.
	Turnstile bool
}

// Dashboard answers below Root. Safe for concurrent use.
type Dashboard struct {
	shell      *file
	assets     map[string]*file
	policy     string
	hasProgram bool
}

// file is one answer in the codings it is kept in.
type file struct {
	contentType          string
	plain, gzip, brotli  []byte
	etag, cacheDirective string
}

// programFiles is what `go generate ./dashboard` lists of what it has made.
type programFiles struct {
	Script string   `json:"script"`
	Style  string   `json:"style"`
	Files  []string `json:"files"`
}

// New prepares all answers. A binary built without the program answers with a page
// that says so.
func New(opts Options) (*Dashboard, error) {
	d := &Dashboard{assets: map[string]*file{}, policy: policy(opts)}
	var made programFiles
	if data, err := files.ReadFile("bundle/files.json"); err == nil {
		if err := json.Unmarshal(data, &made); err != nil {
			return nil, fmt.Errorf("read the dashboard's list of files: %w", err)
		}
		d.hasProgram = true
	}
	for _, name := range made.Files {
		f, err := readAsset(name)
		if err != nil {
			return nil, err
		}
		d.assets[name] = f
	}
	// Scripts are never inline, so the one that sets the theme before anything is
	// painted is a file too.
	for _, name := range []string{"theme.js", "icon.svg"} {
		content, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		d.assets[name] = plainFile(name, content)
	}
	page := "plain.html"
	if d.hasProgram {
		page = "shell.html"
	}
	parsed, err := template.ParseFS(files, page)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, made); err != nil {
		return nil, err
	}
	d.shell = plainFile(page, out.Bytes())
	return d, nil
}

// policy lets the page load its program and ask its own host, and nothing else.
// No string becomes code or markup: the program makes elements one by one.
func policy(opts Options) string {
	script, connect, frame, types := "'self'", "'self'", "", "; require-trusted-types-for 'script'"
	if opts.Turnstile {
		script, frame, types = script+" "+turnstileOrigin, "; frame-src "+turnstileOrigin, ""
	}
	return "default-src 'none'; script-src " + script + "; style-src 'self'; connect-src " + connect + "; img-src 'self' data:" + frame +
		"; base-uri 'none'; form-action 'self'; frame-ancestors 'none'" + types
}

// HasProgram says that the binary was built with the program.
func (d *Dashboard) HasProgram() bool { return d.hasProgram }

// ServeHTTP answers Root and everything below it: files by their name, and the
// same page for every other path, which the program reads.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, isAsset := strings.CutPrefix(r.URL.Path, assetRoot)
	if !isAsset {
		w.Header().Set("Content-Security-Policy", d.policy)
		w.Header().Set("Cross-Origin-Opener-Policy", "same-origin")
		w.Header().Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
		d.shell.send(w, r)
		return
	}
	f := d.assets[name]
	if f == nil {
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "There is no such file; load the page again.", http.StatusNotFound)
		return
	}
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	f.send(w, r)
}

func readAsset(name string) (*file, error) {
	zipped, err := files.ReadFile("bundle/" + name + ".gz")
	if err != nil {
		return nil, err
	}
	br, err := files.ReadFile("bundle/" + name + ".br")
	if err != nil {
		return nil, err
	}
	reader, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	plain, err := io.ReadAll(reader)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	f := plainFile(name, plain)
	f.gzip, f.brotli = zipped, br
	if strings.Contains(name, "-") {
		// The name has a digest of the content in it.
		f.cacheDirective = "public, max-age=31536000, immutable"
	}
	return f, nil
}

func plainFile(name string, content []byte) *file {
	sum := sha256.Sum256(content)
	kind := mime.TypeByExtension(path.Ext(name))
	switch path.Ext(name) {
	case ".js":
		kind = "text/javascript; charset=utf-8"
	case ".svg":
		kind = "image/svg+xml"
	}
	return &file{contentType: kind, plain: content, etag: hex.EncodeToString(sum[:12]), cacheDirective: "no-cache"}
}

func (f *file) send(w http.ResponseWriter, r *http.Request) {
	body, coding := f.plain, ""
	accepted := r.Header.Get("Accept-Encoding")
	switch {
	case f.brotli != nil && accepts(accepted, "br"):
		body, coding = f.brotli, "br"
	case f.gzip != nil && accepts(accepted, "gzip"):
		body, coding = f.gzip, "gzip"
	}
	etag := `"` + f.etag + coding + `"`
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", f.cacheDirective)
	h.Set("ETag", etag)
	if f.gzip != nil {
		h.Add("Vary", "Accept-Encoding")
	}
	if strings.Contains(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if coding != "" {
		h.Set("Content-Encoding", coding)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// accepts says whether an Accept-Encoding header names a coding without refusing
// it (RFC 9110 §12.5.3).
func accepts(header, coding string) bool {
	for item := range strings.SplitSeq(header, ",") {
		name, weight, _ := strings.Cut(item, ";")
		if !strings.EqualFold(strings.TrimSpace(name), coding) {
			continue
		}
		value, found := strings.CutPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
		q, err := strconv.ParseFloat(value, 64)
		return !found || err != nil || q > 0
	}
	return false
}
