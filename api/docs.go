package api

import (
	"encoding/json"

	"github.com/gin-gonic/gin"

	"github.com/slipwayhq/slipway/apidocs"
)

// registerDocs serves the OpenAPI document and a page to read it with. Call it
// last: the document has to be complete.
func (s *Server) registerDocs() error {
	document, err := json.Marshal(s.api.OpenAPI())
	if err != nil {
		return err
	}
	docs, err := apidocs.New(document)
	if err != nil {
		return err
	}
	s.engine.GET("/openapi.json", gin.WrapF(docs.Document))
	s.engine.GET("/docs", gin.WrapF(docs.Page))
	if docs.HasScript() {
		s.engine.GET("/docs/scalar.js", gin.WrapF(docs.Script))
	}
	return nil
}
