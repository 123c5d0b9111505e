package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/slipwayhq/slipway/models"
)

// route says what register needs to know of an operation beyond its types.
type route struct {
	id, method, path string
	tag              string
	summary          string
	description      string
	// status of the success; 0 means 200.
	status int
	// errors the route can answer with, besides those every route can.
	errors []models.Code
	// maxBody bounds the body in bytes; 0 when the route has none.
	maxBody int64
	// example of the request's body, where one of all its fields would be none.
	example any
	// stream documents a body that the handler reads itself; it finds the request
	// in its context under bodyKey.
	stream *huma.RequestBody
	// endless routes stream their answer for as long as it takes.
	endless bool
	// responses documents answers that are not derived from the output's type.
	responses map[string]*huma.Response
}

// register adds an operation whose errors are translated and documented.
func register[I, O any](s *Server, r route, handler func(context.Context, *I) (*O, error)) {
	op := huma.Operation{
		OperationID: r.id, Method: r.method, Path: r.path, Tags: []string{r.tag},
		Summary: r.summary, Description: r.description, DefaultStatus: r.status,
		RequestBody: r.stream,
		Responses:   r.responses,
	}
	if r.example != nil {
		op.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {Example: r.example}}}
	}
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	if op.DefaultStatus == 0 {
		op.DefaultStatus = http.StatusOK
	}
	codes := append([]models.Code{models.CodeInternal, models.CodeValidation, models.CodeRateLimited, models.CodeTooLarge}, r.errors...)
	switch rule := permissions[r.id]; {
	case rule.public:
		op.Security = []map[string][]string{{}}
	case rule.account:
		op.Security = []map[string][]string{{cookie: {}}}
		codes = append(codes, models.CodeUnauthorized, models.CodeForbidden, models.CodeDatabase, models.CodeCrossSite)
	default:
		op.Security = []map[string][]string{{bearer: {}}, {cookie: {}}}
		codes = append(codes, models.CodeUnauthorized, models.CodeForbidden, models.CodeDatabase, models.CodeCrossSite, models.CodeOrganizationNotFound)
	}
	if r.maxBody > 0 {
		// huma counts a body of exactly its maximum as too large.
		op.MaxBodyBytes = r.maxBody + 1
		op.BodyReadTimeout = s.opts.Limits.BodyTimeout
		codes = append(codes, models.CodeUnsupportedMedia, models.CodeRequestTimeout)
	}
	if r.stream != nil {
		op.Middlewares = huma.Middlewares{withBody}
	}
	op.Errors = []int{http.StatusInternalServerError}
	limit := s.opts.Limits.AnswerTimeout
	switch {
	case r.endless:
		limit = 0
	case r.stream != nil:
		limit += s.opts.Limits.BodyTimeout
	}
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		if limit > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, limit)
			defer cancel()
		}
		out, err := handler(ctx, in)
		if err != nil {
			return nil, s.failure(ctx, err)
		}
		return out, nil
	})
	documentErrors(op.Responses, codes)
}

// documentErrors replaces the error answers huma derived (422 among them, which
// we answer as 400) by ours, with the example of each code.
func documentErrors(responses map[string]*huma.Response, codes []models.Code) {
	schema := responses[strconv.Itoa(http.StatusInternalServerError)].Content["application/json"].Schema
	delete(responses, strconv.Itoa(http.StatusUnprocessableEntity))
	delete(responses, strconv.Itoa(http.StatusInternalServerError))
	for _, code := range codes {
		key := strconv.Itoa(code.HTTPStatus())
		response := responses[key]
		if response == nil {
			response = &huma.Response{
				Description: http.StatusText(code.HTTPStatus()),
				Content:     map[string]*huma.MediaType{"application/json": {Schema: schema, Examples: map[string]*huma.Example{}}},
			}
			responses[key] = response
		}
		media := response.Content["application/json"]
		if media == nil || media.Examples == nil {
			continue
		}
		media.Examples[string(code)] = &huma.Example{Ref: "#/components/examples/" + string(code)}
	}
}
