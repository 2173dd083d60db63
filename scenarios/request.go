package scenarios

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
)

func (d *decoder) request(n *yaml.Node, r *Request) {
	methods := []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut,
		http.MethodPatch, http.MethodDelete, http.MethodOptions}
	o, _ := d.object(n, "request", "request",
		field{"method", func(n *yaml.Node) { d.choice(n, "request.method", &r.Method, methods...) }},
		field{"path", func(n *yaml.Node) { d.urlPath(n, "request.path", &r.Path) }},
		field{"headers", func(n *yaml.Node) { d.headers(n, &r.Headers) }},
		field{"multipart", func(n *yaml.Node) { r.Multipart = d.multipart(n) }},
		field{"body", func(n *yaml.Node) { r.Body = d.body(n) }},
		field{"json", func(n *yaml.Node) { r.JSON = d.json(n) }},
		field{"pick", func(n *yaml.Node) { d.choice(n, "request.pick", &r.Pick, PickCycle, PickRandom) }},
		field{"timeout", func(n *yaml.Node) { d.duration(n, "request.timeout", &r.Timeout) }},
		field{"expect", func(n *yaml.Node) { d.expect(n, &r.Expect) }},
		field{"tls", func(n *yaml.Node) { r.TLS = d.tls(n) }},
		field{"max_errors", func(n *yaml.Node) { r.MaxErrors = d.errorLimit(n, "request.max_errors") }},
	)
	var bodies []string
	for _, key := range o.order {
		if key == "multipart" || key == "body" || key == "json" {
			bodies = append(bodies, key)
		}
	}
	for _, key := range bodies[min(1, len(bodies)):] {
		d.problem(o.keys[key], "keep one of them", "request has both %s and %s: which of them is sent?", bodies[0], key)
	}
	if r.Pick == PickRandom && r.Multipart == nil && r.Body == nil {
		d.problem(o.keys["pick"], "take it out, or add multipart or body", "request.pick chooses among payloads, and the request has none to choose from")
	}
	if r.Pick == PickCycle {
		r.Pick = "" // as if it were not said
	}
	switch {
	case !o.has("method") && len(bodies) > 0:
		r.Method = http.MethodPost
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && len(bodies) > 0:
		d.problem(o.keys["method"], "use POST, or take "+bodies[0]+" out", "a %s sends no %s", r.Method, bodies[0])
	}
	for name := range r.Headers {
		if strings.EqualFold(name, "Content-Type") && (o.has("multipart") || o.has("json")) {
			d.problem(o.keys["headers"], "leave it out", "request.headers cannot set Content-Type: %s does", bodies[0])
		}
	}
}

// urlPath reads the path of a URL with its query.
func (d *decoder) urlPath(n *yaml.Node, what string, into *string) {
	d.checked(n, what, into, func(s string) bool {
		_, err := url.ParseRequestURI(s)
		return err == nil && strings.HasPrefix(s, "/") && !strings.ContainsAny(s, "# ") && show.Columns(s) == s
	}, "a path starts with / and has no spaces, for example /predict")
}

// headers reads the request's own headers, and refuses those that belong to
// the client because a benchmark with wrong ones would measure nonsense.
func (d *decoder) headers(n *yaml.Node, into *map[string]string) {
	d.dictionary(n, "request.headers", into, validHeader, headerRule)
	if n.Kind != yaml.MappingNode {
		return
	}
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := http.CanonicalHeaderKey(key.Value)
		if before := seen[name]; before != nil {
			d.problem(key, "keep one of them", "the header %s is in %s already", show.Quote(name), d.place(before))
		}
		seen[name] = key
		if slices.Contains([]string{"Connection", "Content-Length", "Transfer-Encoding", "Keep-Alive"}, name) {
			d.problem(key, "leave it out; whether connections are kept alive is matrix.keepalive",
				"the header %s is the client's to set", name)
		}
		if show.Columns(value.Value) != strings.ReplaceAll(value.Value, "\t", " ") {
			d.problem(value, "", "the header %s contains a control character", show.Quote(name))
		}
	}
}

func (d *decoder) multipart(n *yaml.Node) *Multipart {
	m := &Multipart{}
	o, ok := d.object(n, "multipart", "request.multipart",
		field{"field", func(n *yaml.Node) {
			d.checked(n, "request.multipart.field", &m.Field, func(s string) bool {
				return show.Columns(s) == s && !strings.Contains(s, `"`)
			}, "the name of a form's field, for example file")
		}},
		field{"files", func(n *yaml.Node) { m.Files = d.files(n, "request.multipart.files") }},
		field{"generate", func(n *yaml.Node) { m.Generate = d.generate(n, "request.multipart.generate") }},
	)
	if ok && !o.has("field") {
		d.problem(n, "add field: NAME", "request.multipart has no field")
	}
	d.onePayload(o, ok, "request.multipart")
	return m
}

func (d *decoder) body(n *yaml.Node) *Body {
	b := &Body{}
	o, ok := d.object(n, "body", "request.body",
		field{"content_type", func(n *yaml.Node) {
			d.checked(n, "request.body.content_type", &b.ContentType, func(s string) bool {
				return strings.Contains(s, "/") && show.Columns(s) == s
			}, "for example image/jpeg")
		}},
		field{"files", func(n *yaml.Node) { b.Files = d.files(n, "request.body.files") }},
		field{"generate", func(n *yaml.Node) { b.Generate = d.generate(n, "request.body.generate") }},
	)
	d.onePayload(o, ok, "request.body")
	return b
}

// onePayload checks that payloads are read or made, and not both.
func (d *decoder) onePayload(o object, ok bool, what string) {
	switch files, generate := o.has("files"), o.has("generate"); {
	case !ok:
	case files && generate:
		d.problem(o.keys["generate"], "keep files or generate", "%s has files and generate: which of them is sent?", what)
	case !files && !generate:
		d.problem(o.node, "add files: [GLOB] or generate: {kind: jpeg, size: 640x480, count: 12, seed: 1}",
			"%s has nothing to send", what)
	}
}

// files expands globs to absolute paths, sorted, each once.
func (d *decoder) files(n *yaml.Node, what string) []string {
	var all []string
	for _, item := range d.list(n, what, maxFiles) {
		var glob string
		if !d.text(item, what, &glob) {
			continue
		}
		found, err := d.folder.files(glob, d.operators(item))
		if err != nil {
			d.problem(item, pathHint(err), "%s: %v", what, err)
		}
		if all = append(all, found...); len(all) > maxFiles {
			d.problem(item, "", "%s are more than %d files", what, maxFiles)
			return nil
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (d *decoder) generate(n *yaml.Node, what string) *Generate {
	g := &Generate{Kind: "jpeg", Width: 640, Height: 480, Count: 12, Seed: 1}
	d.object(n, "generate", what,
		field{"kind", func(n *yaml.Node) { d.choice(n, what+".kind", &g.Kind, "jpeg") }},
		field{"size", func(n *yaml.Node) {
			const least, most = 8, 4096
			width, height, _ := strings.Cut(n.Value, "x")
			w, errW := strconv.Atoi(width)
			h, errH := strconv.Atoi(height)
			if n.Kind != yaml.ScalarNode || errW != nil || errH != nil || n.Value != fmt.Sprintf("%dx%d", w, h) {
				d.problem(n, "width x height in pixels, for example 640x480", "%s.size has to be a size, not %s", what, describe(n))
			} else if min(w, h) < least || max(w, h) > most {
				d.problem(n, "", "%s.size has to be from %dx%d to %dx%d, not %s", what, least, least, most, most, n.Value)
			} else {
				g.Width, g.Height = w, h
			}
		}},
		field{"count", func(n *yaml.Node) { d.integer(n, what+".count", &g.Count, 1, 1000) }},
		field{"seed", func(n *yaml.Node) { d.seed(n, what+".seed", &g.Seed) }},
	)
	return g
}

// json turns a node into JSON text. Keys keep the file's order.
func (d *decoder) json(n *yaml.Node) json.RawMessage {
	var b bytes.Buffer
	d.writeJSON(&b, n)
	return b.Bytes()
}

func (d *decoder) writeJSON(b *bytes.Buffer, n *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		b.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			writeString(b, n.Content[i].Value)
			b.WriteByte(':')
			d.writeJSON(b, n.Content[i+1])
		}
		b.WriteByte('}')
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			d.writeJSON(b, item)
		}
		b.WriteByte(']')
	default:
		d.writeScalar(b, n)
	}
}

func (d *decoder) writeScalar(b *bytes.Buffer, n *yaml.Node) {
	var value any
	plain := yaml.Node{Kind: yaml.ScalarNode, Tag: n.Tag, Value: n.Value}
	if n.Tag == "!!str" || n.Tag == "!!timestamp" {
		writeString(b, n.Value)
		return
	}
	if n.Tag == "!!int" && json.Valid([]byte(n.Value)) {
		b.WriteString(n.Value) // also where it is too large for 64 bits
		return
	}
	if err := plain.Decode(&value); err != nil {
		d.problem(n, "put it in quotes if it is text", "request.json has a value that is none: %s", show.Quote(n.Value))
	} else if f, ok := value.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
		d.problem(n, "", "request.json cannot hold %s: JSON has no such number", n.Value)
	} else if text, err := json.Marshal(value); err == nil {
		b.Write(text)
	}
}

// writeString leaves <, > and & as they are: this is no HTML.
func writeString(b *bytes.Buffer, s string) {
	encoder := json.NewEncoder(b)
	encoder.SetEscapeHTML(false)
	encoder.Encode(s) // a string and a buffer: there is no error
	b.Truncate(b.Len() - 1)
}
