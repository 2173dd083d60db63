package discover

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// schema is what is read of a schema of OpenAPI's: https://spec.openapis.org/oas/latest.html
type schema struct {
	Ref        string            `json:"$ref"`
	Type       any               `json:"type"` // a text, or a list of them
	Format     string            `json:"format"`
	Media      string            `json:"contentMediaType"`
	Properties map[string]schema `json:"properties"`
	Required   []string          `json:"required"`
	Items      *schema           `json:"items"`
	Example    any               `json:"example"`
	Examples   []any             `json:"examples"`
	Default    any               `json:"default"`
	Const      any               `json:"const"`
	Enum       []any             `json:"enum"`
	AnyOf      []schema          `json:"anyOf"`
	OneOf      []schema          `json:"oneOf"`
	AllOf      []schema          `json:"allOf"`
	Minimum    *float64          `json:"minimum"`
	Above      any               `json:"exclusiveMinimum"` // a number, or in 3.0 whether the minimum is excluded
	Maximum    *float64          `json:"maximum"`
	MinLength  int               `json:"minLength"`
	MaxLength  *int              `json:"maxLength"`
	MinItems   int               `json:"minItems"`
}

type openAPI struct {
	Paths      map[string]map[string]json.RawMessage
	Components struct{ Schemas map[string]schema }
}

type parameter struct {
	Name, In string
	Required bool
	Schema   schema
	Example  any
}

type operation struct {
	Parameters  []parameter
	RequestBody struct {
		Content map[string]struct {
			Schema   schema
			Example  any
			Examples map[string]struct{ Value any }
		}
	}
}

// described are requests that the app's OpenAPI page describes.
func described(ctx context.Context, base string, given Request) []try {
	const where = "/openapi.json"
	status, body, err := ask(ctx, base, Request{Path: where})
	var page openAPI
	if err != nil || status != http.StatusOK || json.Unmarshal(body, &page) != nil {
		return nil
	}
	var all []try
	for _, path := range slices.Sorted(maps.Keys(page.Paths)) {
		if given.Path != "" && path != given.Path || strings.Contains(path, "{") || given.Path == "" && lives.MatchString(path) {
			continue
		}
		for _, method := range []string{"post", "put", "get"} {
			var op operation
			if raw := page.Paths[path][method]; raw == nil || json.Unmarshal(raw, &op) != nil || given.Method != "" && !strings.EqualFold(given.Method, method) {
				continue
			}
			query, able := page.query(op)
			if r, is := page.request(op, given); is && able {
				r.Method, r.Path = strings.ToUpper(method), path+query
				all = append(all, try{r, fmt.Sprintf("the app's %s describes it", where)})
			}
		}
	}
	// What does work is wanted first.
	slices.SortStableFunc(all, func(a, b try) int { return len(b.request.Data) - len(a.request.Data) })
	return all
}

// query has the parameters that an operation needs; false if one of them is elsewhere.
func (page openAPI) query(op operation) (string, bool) {
	values := url.Values{}
	for _, p := range op.Parameters {
		if !p.Required {
			continue
		}
		if p.In != "query" {
			return "", false
		}
		value := p.Example
		if value == nil {
			value = page.value(p.Schema, 0)
		}
		values.Set(p.Name, fmt.Sprint(value))
	}
	if len(values) == 0 {
		return "", true
	}
	return "?" + values.Encode(), true
}

// request is one that an operation takes, with what is given.
func (page openAPI) request(op operation, given Request) (Request, bool) {
	r := given
	if len(op.RequestBody.Content) == 0 {
		return r, given.Data == nil
	}
	if form, is := op.RequestBody.Content["multipart/form-data"]; is && given.Data != nil && !given.JSON {
		s := page.resolve(form.Schema)
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			p := page.resolve(s.Properties[name])
			if r.Field == "" && (p.Format == "binary" || p.Media != "" || len(s.Properties) == 1) {
				r.Field = name
			}
		}
		return r, r.Field != ""
	}
	body, is := op.RequestBody.Content["application/json"]
	switch {
	case !is:
		return r, false
	case given.JSON:
		return r, true
	case given.Data != nil:
		return r, false
	}
	value := body.Example
	for _, name := range slices.Sorted(maps.Keys(body.Examples)) {
		if value == nil {
			value = body.Examples[name].Value
		}
	}
	if value == nil {
		value = page.value(body.Schema, 0)
	}
	text, err := json.Marshal(value)
	r.Data, r.JSON = text, true
	return r, err == nil
}

func (page openAPI) resolve(s schema) schema {
	if name, is := strings.CutPrefix(s.Ref, "#/components/schemas/"); is {
		return page.Components.Schemas[name]
	}
	return s
}

// value is one that a schema allows: an example that it has, or a small one. It knows no
// patterns.
func (page openAPI) value(s schema, depth int) any {
	s = page.resolve(s)
	switch {
	case s.Example != nil:
		return s.Example
	case len(s.Examples) > 0:
		return s.Examples[0]
	case s.Default != nil:
		return s.Default
	case s.Const != nil:
		return s.Const
	case len(s.Enum) > 0:
		return s.Enum[0]
	case depth > 8:
		return nil
	case len(s.AnyOf) > 0:
		return page.value(s.AnyOf[0], depth+1)
	case len(s.OneOf) > 0:
		return page.value(s.OneOf[0], depth+1)
	case len(s.AllOf) > 0:
		all := map[string]any{}
		for _, part := range s.AllOf {
			value := page.value(part, depth+1)
			object, is := value.(map[string]any)
			if !is {
				return value
			}
			maps.Copy(all, object)
		}
		return all
	}
	kind, _ := s.Type.(string)
	if list, is := s.Type.([]any); is && len(list) > 0 {
		kind, _ = list[0].(string)
	}
	switch kind {
	case "object":
		object := map[string]any{}
		for _, name := range s.Required {
			object[name] = page.value(s.Properties[name], depth+1)
		}
		return object
	case "array":
		list := []any{}
		for range max(s.MinItems, 1) {
			if s.Items != nil {
				list = append(list, page.value(*s.Items, depth+1))
			}
		}
		return list
	case "integer", "number":
		return s.number()
	case "boolean":
		return true
	case "string":
		return s.text()
	}
	return nil
}

func (s schema) number() float64 {
	above, is := s.Above.(float64)
	switch {
	case is:
		return above + 1
	case s.Minimum != nil && s.Above == true:
		return *s.Minimum + 1
	case s.Minimum != nil:
		return *s.Minimum
	case s.Maximum != nil && *s.Maximum < 1:
		return *s.Maximum
	}
	return 1
}

// text is one of a format, or of a length.
func (s schema) text() string {
	if text, known := map[string]string{
		"date": "2024-01-31", "date-time": "2024-01-31T12:00:00Z", "email": "one@example.com", "uri": "https://example.com/",
		"uuid": "3fa85f64-5717-4562-b3fc-2c963f66afa6", "byte": "aGVsbG8=",
	}[s.Format]; known {
		return text
	}
	text := strings.Repeat("hello ", s.MinLength/len("hello ")+1)
	text = text[:max(len("hello"), s.MinLength)]
	if s.MaxLength != nil && len(text) > *s.MaxLength {
		text = text[:*s.MaxLength]
	}
	return text
}
