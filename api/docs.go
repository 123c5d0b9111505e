package api

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"html/template"
	"io"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"
)

//go:generate go run docs/bundle.go

//go:embed docs/page.html docs/plain.html docs/bundle
var docFiles embed.FS

// scalarBundle is the documentation page's program. `go generate ./api` puts it
// there; a binary built without it shows the plain page.
const scalarBundle = "docs/bundle/scalar.js.gz"

// docsPolicy lets the page load its program and the document from here and
// nothing from anywhere else. The program sets inline styles, and has its icons
// as data.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// registerDocs serves the OpenAPI document and a page to read it with. Call it
// last: the document has to be complete.
func (s *Server) registerDocs() error {
	document, err := json.Marshal(s.api.OpenAPI())
	if err != nil {
		return err
	}
	s.engine.GET("/openapi.json", func(c *gin.Context) {
		c.Header("Cache-Control", "no-cache")
		c.Data(http.StatusOK, "application/json", document)
	})
	script, err := docFiles.ReadFile(scalarBundle)
	if err != nil {
		plain, err := plainPage(s.api.OpenAPI())
		if err != nil {
			return err
		}
		s.serveDocs(plain, "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		return nil
	}
	page, err := docFiles.ReadFile("docs/page.html")
	if err != nil {
		return err
	}
	s.serveDocs(page, docsPolicy)
	s.engine.GET("/docs/scalar.js", func(c *gin.Context) {
		c.Header("Cache-Control", "no-cache")
		c.Header("Vary", "Accept-Encoding")
		c.Header("Content-Type", "text/javascript; charset=utf-8")
		if strings.Contains(c.GetHeader("Accept-Encoding"), "gzip") {
			c.Header("Content-Encoding", "gzip")
			_, _ = c.Writer.Write(script)
			return
		}
		plain, err := gzip.NewReader(bytes.NewReader(script))
		if err != nil {
			s.writeError(c, err)
			return
		}
		_, _ = io.Copy(c.Writer, plain)
	})
	return nil
}

func (s *Server) serveDocs(page []byte, policy string) {
	s.engine.GET("/docs", func(c *gin.Context) {
		c.Header("Content-Security-Policy", policy)
		c.Data(http.StatusOK, "text/html; charset=utf-8", page)
	})
}

// plainPage is a page without any script, made once from the document.
func plainPage(document *huma.OpenAPI) ([]byte, error) {
	page, err := template.ParseFS(docFiles, "docs/plain.html")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = page.Execute(&out, document)
	return out.Bytes(), err
}
