package api

import (
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/slipwayhq/slipway/ratelimit"
)

// completeDocument adds what huma does not derive from types: where the service is,
// what the tags mean, an example of every body, and the headers of every answer.
// Call it when all operations are there.
func (s *Server) completeDocument() {
	doc := s.api.OpenAPI()
	url := s.opts.AppURL
	if url == "" {
		url = "/"
	}
	doc.Servers = []*huma.Server{{URL: url, Description: "This gateway"}}
	doc.Tags = documentTags()
	headers, errors := documentHeaders(), documentErrorExamples()
	doc.Components.Headers, doc.Components.Examples = map[string]*huma.Header{}, map[string]*huma.Example{}
	examples := exampleMaker{schemas: doc.Components.Schemas, common: commonExamples()}
	for _, schema := range doc.Components.Schemas.Map() {
		examples.name(schema)
		describePattern(schema)
	}
	for _, op := range operations(doc) {
		examples.complete(op)
		for status, response := range op.Responses {
			for _, name := range headerNames(headers, status, op, response) {
				response.Headers[name] = &huma.Header{Ref: "#/components/headers/" + name}
				doc.Components.Headers[name] = headers[name]
			}
			for _, media := range response.Content {
				for code := range media.Examples {
					doc.Components.Examples[code] = errors[code]
				}
			}
		}
	}
	documentDetails(doc.Components.Schemas)
}

// documentDetails says what the details of an error may be, which no Go type does.
func documentDetails(schemas huma.Registry) {
	fields := &huma.Schema{Type: huma.TypeArray, Items: schemas.Schema(reflect.TypeFor[FieldError](), true, "FieldError")}
	details := schemas.Map()["Error"].Properties["details"]
	details.AnyOf = []*huma.Schema{fields, {Type: huma.TypeObject, AdditionalProperties: true}}
}

// operations lists those of the document, in the order of their paths.
func operations(doc *huma.OpenAPI) []*huma.Operation {
	var list []*huma.Operation
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		item := doc.Paths[path]
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete, item.Patch, item.Head, item.Options} {
			if op != nil {
				list = append(list, op)
			}
		}
	}
	return list
}

// describePattern says in the description what a pattern means. OpenAPI has no
// field for it; huma has made its messages of it by now.
func describePattern(schema *huma.Schema) {
	if schema == nil {
		return
	}
	if meaning := schema.PatternDescription; meaning != "" {
		schema.PatternDescription = ""
		if !strings.Contains(schema.Description, meaning) {
			schema.Description = strings.TrimPrefix(schema.Description+"; "+meaning, "; ")
		}
	}
	describePattern(schema.Items)
	for _, property := range schema.Properties {
		describePattern(property)
	}
}

// headerNames names the shared headers that an answer with the status carries.
func headerNames(shared map[string]*huma.Header, status string, op *huma.Operation, response *huma.Response) []string {
	if response.Headers == nil {
		response.Headers = map[string]*huma.Header{}
	}
	names := []string{requestIDHeader}
	switch code, _ := strconv.Atoi(status); code {
	case http.StatusUnauthorized:
		names = append(names, "WWW-Authenticate")
	case http.StatusTooManyRequests:
		names = append(names, "Retry-After", ratelimit.LimitHeader, ratelimit.RemainingHeader, ratelimit.ResetHeader, ratelimit.PolicyHeader)
	case http.StatusServiceUnavailable:
		if op.OperationID != "health" {
			names = append(names, "Retry-After")
		}
	}
	for name := range response.Headers {
		if shared[name] != nil {
			names = append(names, name)
		}
	}
	return names
}

// documentHeaders are the response headers that operations share.
func documentHeaders() map[string]*huma.Header {
	text := func(description, example string) *huma.Header {
		return &huma.Header{Description: description, Schema: &huma.Schema{Type: huma.TypeString}, Example: example}
	}
	number := func(description string, example int) *huma.Header {
		return &huma.Header{Description: description, Schema: &huma.Schema{Type: huma.TypeInteger}, Example: example}
	}
	return map[string]*huma.Header{
		requestIDHeader:    text("Names the request in our log: the caller's own, when it sent a sane one, else one made here", "5f0c1a526f5b4a398d0e3c1d"),
		"Location":         text("The path of what was made", "/projects/prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"),
		"ETag":             text("Names the state that was read; send it as If-Match to change only that state", `"9f2c4b"`),
		"WWW-Authenticate": text("How to say who calls (RFC 6750 §3)", `Bearer realm="slipway"`),
		"Retry-After":      number("Seconds to wait before trying again", 5),

		ratelimit.LimitHeader:     number("How many requests the limit that is nearest allows in its period. Every answer to which a limit applies has these four", 1200),
		ratelimit.RemainingHeader: number("How many of them are left", 0),
		ratelimit.ResetHeader:     number("Seconds until all of them are there again", 60),
		ratelimit.PolicyHeader:    text("The limit with its period in seconds", "1200;w=60"),
	}
}

// documentTags says what the groups of operations are about, in the order the
// reference shows them.
func documentTags() []*huma.Tag {
	return []*huma.Tag{
		{Name: "Deployments", Description: "Send files, watch the six steps, read the build log, and act on what is parked or running."},
		{Name: "Projects", Description: "What deployments belong to: a name for people and the label under which the site answers."},
		{Name: "Releases", Description: "What deployments made, going back to one, and bringing one live for a share of the visitors."},
		{Name: "Domains", Description: "Host names of one's own, checked in DNS before they count."},
		{Name: "Variables", Description: "Settings and secrets that builds and workers read. Values of secrets never come back."},
		{Name: "Webhooks", Description: "Being told over HTTP of what happens, and what came of telling it."},
		{Name: "Blobs", Description: "Uploading files by their content, so that only what changed is sent."},
		{Name: "Organizations", Description: "Who belongs to an organization, with which role, and who is invited to it."},
		{Name: "Tokens", Description: "Secrets that programs call this API with, in the name of who made them."},
		{Name: "Devices", Description: "How a program without a browser gets a token: its person confirms a code (RFC 8628)."},
		{Name: "Service", Description: "What this service is and whether it works."},
	}
}
