package api

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/slipwayhq/slipway/apidocs"
	"github.com/slipwayhq/slipway/auth"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/ratelimit"
)

// registerDocs serves the OpenAPI document and a page to read it with. Call it
// last: the document has to be complete.
func (s *Server) registerDocs() error {
	document, err := json.Marshal(s.api.OpenAPI())
	if err != nil {
		return err
	}
	if s.opts.Auth != nil {
		if document, err = accounts().AddTo(document); err != nil {
			return err
		}
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

// accounts describes the routes below /api/auth, with what this gateway answers
// there itself, in its own envelope: that an address sends too much, and that a
// handler panicked.
func accounts() auth.Description {
	type object = map[string]any
	envelope := object{"$ref": "#/components/schemas/Error"}
	described := auth.Describe()
	for _, item := range described.Paths {
		for _, op := range item {
			responses := op.(object)["responses"].(object)
			for _, code := range []models.Code{models.CodeRateLimited, models.CodeInternal} {
				status := strconv.Itoa(code.HTTPStatus())
				example := object{"$ref": "#/components/examples/" + string(code)}
				if own, ok := responses[status].(object); ok {
					media := own["content"].(object)["application/json"].(object)
					media["schema"] = object{"anyOf": []object{media["schema"].(object), envelope}}
					media["examples"].(object)[string(code)] = example
					continue
				}
				names := []string{requestIDHeader}
				if code == models.CodeRateLimited {
					names = append(names, "Retry-After", ratelimit.LimitHeader, ratelimit.RemainingHeader, ratelimit.ResetHeader, ratelimit.PolicyHeader)
				}
				headers := object{}
				for _, name := range names {
					headers[name] = object{"$ref": "#/components/headers/" + name}
				}
				responses[status] = object{
					"description": http.StatusText(code.HTTPStatus()), "headers": headers,
					"content": object{"application/json": object{"schema": envelope, "examples": object{string(code): example}}},
				}
			}
		}
	}
	return described
}
