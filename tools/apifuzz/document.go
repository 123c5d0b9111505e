package apifuzz

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// document is what is read of an OpenAPI document.
type document struct {
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Schemas map[string]*schema `json:"schemas"`
	} `json:"components"`

	operations []*operation
}

// operation is one of the document's.
type operation struct {
	id, method, path string

	OperationID string                `json:"operationId"`
	Security    []map[string][]string `json:"security"`
	Parameters  []*parameter          `json:"parameters"`
	RequestBody *struct {
		Required bool              `json:"required"`
		Content  map[string]*media `json:"content"`
	} `json:"requestBody"`
	Responses map[string]*struct {
		Headers map[string]any    `json:"headers"`
		Content map[string]*media `json:"content"`
	} `json:"responses"`
}

type parameter struct {
	Name     string  `json:"name"`
	In       string  `json:"in"`
	Required bool    `json:"required"`
	Schema   *schema `json:"schema"`
	Example  any     `json:"example"`
}

type media struct {
	Schema   *schema `json:"schema"`
	Example  any     `json:"example"`
	Examples map[string]struct {
		Ref string `json:"$ref"`
	} `json:"examples"`
}

func parse(data []byte) (*document, error) {
	var doc document
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(doc.Paths[path])) {
			if method == "parameters" {
				continue
			}
			op := &operation{path: path, method: strings.ToUpper(method)}
			if err := json.Unmarshal(doc.Paths[path][method], op); err != nil {
				return nil, fmt.Errorf("read %s %s of the OpenAPI document: %w", method, path, err)
			}
			op.id = op.OperationID
			doc.operations = append(doc.operations, op)
		}
	}
	return &doc, nil
}

// body is the JSON body that the operation takes; nil for none.
func (o *operation) body() *media {
	if o.RequestBody == nil {
		return nil
	}
	return o.RequestBody.Content["application/json"]
}

// public says that nobody in particular may call it.
func (o *operation) public() bool {
	return len(o.Security) == 0 || slices.ContainsFunc(o.Security, func(s map[string][]string) bool { return len(s) == 0 })
}

// names lists what parameters and the fields of bodies are called.
func (d *document) names() map[string]bool {
	names := map[string]bool{}
	for _, op := range d.operations {
		for _, p := range op.Parameters {
			names[p.Name] = true
		}
		if body := op.body(); body != nil {
			for name := range d.resolve(body.Schema).Properties {
				names[name] = true
			}
		}
	}
	return names
}
