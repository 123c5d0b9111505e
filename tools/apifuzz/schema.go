package apifuzz

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// schema is a JSON Schema as OpenAPI 3.1 has them, as far as documents of ours go.
type schema struct {
	Ref        string             `json:"$ref"`
	Type       oneOrMore          `json:"type"`
	Format     string             `json:"format"`
	Media      string             `json:"contentMediaType"`
	Enum       []any              `json:"enum"`
	Pattern    string             `json:"pattern"`
	MinLength  *int               `json:"minLength"`
	MaxLength  *int               `json:"maxLength"`
	Minimum    *float64           `json:"minimum"`
	Maximum    *float64           `json:"maximum"`
	MinItems   *int               `json:"minItems"`
	MaxItems   *int               `json:"maxItems"`
	Unique     bool               `json:"uniqueItems"`
	Items      *schema            `json:"items"`
	Properties map[string]*schema `json:"properties"`
	Required   []string           `json:"required"`
	Additional *additional        `json:"additionalProperties"`
	AnyOf      []*schema          `json:"anyOf"`
	OneOf      []*schema          `json:"oneOf"`
	AllOf      []*schema          `json:"allOf"`
	Examples   []any              `json:"examples"`
	Default    any                `json:"default"`
}

// oneOrMore is a string or a list of them.
type oneOrMore []string

// UnmarshalJSON implements json.Unmarshaler.
func (o *oneOrMore) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*o = oneOrMore{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(o))
}

// additional is a boolean or a schema.
type additional struct {
	allowed bool
	schema  *schema
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *additional) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &a.allowed) == nil {
		return nil
	}
	a.allowed = true
	return json.Unmarshal(data, &a.schema)
}

func (d *document) resolve(s *schema) *schema {
	for s != nil && s.Ref != "" {
		s = d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	return s
}

// validate says how a value, decoded with UseNumber, breaks the schema.
func (d *document) validate(s *schema, v any, at string) []string {
	s = d.resolve(s)
	if s == nil {
		return nil
	}
	for _, part := range s.AllOf {
		if wrong := d.validate(part, v, at); wrong != nil {
			return wrong
		}
	}
	for _, choice := range [][]*schema{s.AnyOf, s.OneOf} {
		if len(choice) > 0 && !slices.ContainsFunc(choice, func(c *schema) bool { return d.validate(c, v, at) == nil }) {
			return []string{at + " fits none of its schemas"}
		}
	}
	if len(s.Type) > 0 && !slices.Contains(s.Type, typeOf(v)) && (typeOf(v) != "integer" || !slices.Contains(s.Type, "number")) {
		return []string{fmt.Sprintf("%s is %s, not %s", at, typeOf(v), strings.Join(s.Type, " or "))}
	}
	if len(s.Enum) > 0 && !slices.ContainsFunc(s.Enum, func(e any) bool { return fmt.Sprint(e) == fmt.Sprint(v) }) {
		return []string{fmt.Sprintf("%s is %v, none of %v", at, v, s.Enum)}
	}
	switch v := v.(type) {
	case string:
		return s.checkString(v, at)
	case json.Number:
		n, err := v.Float64()
		if err != nil || s.Minimum != nil && n < *s.Minimum || s.Maximum != nil && n > *s.Maximum {
			return []string{at + " is out of bounds: " + v.String()}
		}
	case []any:
		if s.MinItems != nil && len(v) < *s.MinItems || s.MaxItems != nil && len(v) > *s.MaxItems {
			return []string{fmt.Sprintf("%s has %d items", at, len(v))}
		}
		for i, item := range v {
			if wrong := d.validate(s.Items, item, at+"["+strconv.Itoa(i)+"]"); wrong != nil {
				return wrong
			}
		}
	case map[string]any:
		return d.checkObject(s, v, at)
	}
	return nil
}

func (s *schema) checkString(v, at string) []string {
	length := utf8.RuneCountInString(v)
	if s.MinLength != nil && length < *s.MinLength || s.MaxLength != nil && length > *s.MaxLength {
		return []string{fmt.Sprintf("%s has %d characters", at, length)}
	}
	if s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(v) {
		return []string{fmt.Sprintf("%s does not match %s: %q", at, s.Pattern, v)}
	}
	if s.Format == "date-time" {
		moment, err := time.Parse(time.RFC3339, v)
		if err != nil || moment.Location() != time.UTC {
			return []string{fmt.Sprintf("%s is not a time in UTC: %q", at, v)}
		}
	}
	return nil
}

func (d *document) checkObject(s *schema, v map[string]any, at string) []string {
	var wrong []string
	for _, name := range s.Required {
		if _, there := v[name]; !there {
			wrong = append(wrong, at+"."+name+" is not there")
		}
	}
	for name, value := range v {
		property, known := s.Properties[name]
		switch {
		case known:
			wrong = append(wrong, d.validate(property, value, at+"."+name)...)
		case s.Additional != nil && !s.Additional.allowed:
			wrong = append(wrong, at+"."+name+" is not documented")
		case s.Additional != nil:
			wrong = append(wrong, d.validate(s.Additional.schema, value, at+"."+name)...)
		}
	}
	slices.Sort(wrong)
	return wrong
}

func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return "number"
		}
		return "integer"
	case []any:
		return "array"
	default:
		return "object"
	}
}
