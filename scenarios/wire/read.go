package wire

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/expect"
	"stackmeter/scenarios/folder"
	"stackmeter/scenarios/message"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/yamlfile"
)

// maxFiles bounds the payload files of one scenario. All of them are in memory
// while the load runs.
const maxFiles = 10_000

// A Reader reads a request. It knows what is around it.
type Reader struct {
	*yamlfile.File
	Folder folder.Folder
	Env    map[string]string // the operator's variables, which headers can name

	// Able reports what the scenario's client cannot do, unless able is true, and
	// returns whether it can.
	Able func(n *yaml.Node, able bool, instead, format string, args ...any) bool
}

// Read reads the block of a request over its defaults.
func (d Reader) Read(n *yaml.Node, r *Request) {
	var expected yamlfile.Object
	o, _ := d.Object(n, "request", "request",
		yamlfile.Key("method", func(n *yaml.Node) { d.Choice(n, "request.method", &r.Method, message.Methods()...) }),
		yamlfile.Key("path", func(n *yaml.Node) { message.Path(d.File, n, "request.path", &r.Path) }),
		yamlfile.Key("headers", func(n *yaml.Node) { message.Headers(d.File, n, "request.headers", d.Env, &r.Headers) }),
		yamlfile.Key("multipart", func(n *yaml.Node) { r.Multipart = d.multipart(n) }),
		yamlfile.Key("body", func(n *yaml.Node) { r.Body = d.body(n) }),
		yamlfile.Field{Name: "json", Null: true, Read: func(n *yaml.Node) { r.JSON = d.JSON(n, "request.json") }},
		yamlfile.Key("pick", func(n *yaml.Node) { d.Choice(n, "request.pick", &r.Pick, pickCycle, PickRandom) }),
		yamlfile.Key("timeout", func(n *yaml.Node) { d.Duration(n, "request.timeout", &r.Timeout) }),
		yamlfile.Key("expect", func(n *yaml.Node) { expected = expect.Read(d.File, n, &r.Expect) }),
		yamlfile.Key("stream", func(n *yaml.Node) { d.Choice(n, "request.stream", &r.Stream, StreamEvents, StreamLines, StreamChunks) }),
		yamlfile.Key("tls", func(n *yaml.Node) { r.TLS = d.tls(n) }),
		yamlfile.Key("max_errors", func(n *yaml.Node) { r.MaxErrors = d.errorLimit(n, "request.max_errors") }),
	)
	bodies := o.Among("multipart", "body", "json")
	for _, key := range bodies[min(1, len(bodies)):] {
		d.Problem(o.Keys[key], "keep one of them", "request has both %s and %s", bodies[0], key)
	}
	if r.Pick == PickRandom && r.Multipart == nil && r.Body == nil {
		d.Problem(o.Keys["pick"], "remove it, or add multipart or body", "request.pick chooses among payloads, and the request has none to choose from")
	}
	if r.Pick == pickCycle {
		r.Pick = "" // as if it were not said
	}
	switch {
	case !o.Has("method") && len(bodies) > 0:
		r.Method = http.MethodPost
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && len(bodies) > 0:
		d.Problem(o.Keys["method"], "use POST, or remove "+bodies[0], "a %s sends no %s", r.Method, bodies[0])
	}
	for name := range r.Headers {
		if strings.EqualFold(name, "Content-Type") && (o.Has("multipart") || o.Has("json")) {
			d.Problem(o.Keys["headers"], "remove it", "request.headers cannot set Content-Type: %s sets it", bodies[0])
		}
	}
	if r.Stream != "" || r.Expect.Streams() {
		d.stream(o, expected, r)
	}
}

// stream checks a request whose answers have to stream.
func (d Reader) stream(o, expected yamlfile.Object, r *Request) {
	for _, n := range []*yaml.Node{o.Values["stream"], expected.Values["events"], expected.Values["last_event"]} {
		if n != nil && !d.Able(n, false, "remove it", "the engine python-requests does not tell the events of an answer apart") {
			break // once is enough
		}
	}
	if r.Method == http.MethodHead {
		d.Problem(o.Keys["method"], "use GET", "the answer to a HEAD has no body, and request says that it streams")
	}
	if status := r.Expect.Status; status == http.StatusNoContent || status == http.StatusNotModified {
		d.Problem(o.Keys["expect"], "expect another status", "an answer with the status %d has no body, and request says that it streams", status)
	}
	for name, value := range r.Headers {
		if strings.EqualFold(name, "Accept-Encoding") && !strings.EqualFold(value, "identity") && r.Stream != StreamChunks {
			d.Problem(o.Keys["headers"], "remove it", "request.headers asks for compressed answers by Accept-Encoding, and request for their events, which cannot be told apart then")
		}
	}
}

func (d Reader) multipart(n *yaml.Node) *Multipart {
	m := &Multipart{}
	o, ok := d.Object(n, "multipart", "request.multipart",
		yamlfile.Needed("field", "add field: NAME", func(n *yaml.Node) {
			d.Checked(n, "request.multipart.field", &m.Field, func(s string) bool {
				return show.Columns(s) == s && !strings.Contains(s, `"`)
			}, "the name of a form's field, for example file")
		}),
		yamlfile.Key("files", func(n *yaml.Node) { m.Files = d.files(n, "request.multipart.files") }),
		yamlfile.Key("generate", func(n *yaml.Node) { m.Generate = d.generate(n, "request.multipart.generate") }),
	)
	d.onePayload(n, o, ok, "request.multipart")
	return m
}

func (d Reader) body(n *yaml.Node) *Body {
	b := &Body{}
	o, ok := d.Object(n, "body", "request.body",
		yamlfile.Key("content_type", func(n *yaml.Node) {
			d.Checked(n, "request.body.content_type", &b.ContentType, func(s string) bool {
				return strings.Contains(s, "/") && show.Columns(s) == s
			}, "for example image/jpeg")
		}),
		yamlfile.Key("files", func(n *yaml.Node) { b.Files = d.files(n, "request.body.files") }),
		yamlfile.Key("generate", func(n *yaml.Node) { b.Generate = d.generate(n, "request.body.generate") }),
	)
	d.onePayload(n, o, ok, "request.body")
	return b
}

// onePayload checks that payloads are either read or generated.
func (d Reader) onePayload(n *yaml.Node, o yamlfile.Object, ok bool, what string) {
	switch files, generate := o.Has("files"), o.Has("generate"); {
	case !ok:
	case files && generate:
		d.Problem(o.Keys["generate"], "keep one of them", "%s has both files and generate", what)
	case !files && !generate:
		d.Problem(n, "add files: [GLOB] or generate: {kind: jpeg, size: 640x480, count: 12, seed: 1}",
			"%s has nothing to send", what)
	}
}

// files expands globs to absolute paths, sorted, each once.
func (d Reader) files(n *yaml.Node, what string) []string {
	var all []string
	for _, item := range d.List(n, what, maxFiles) {
		var glob string
		if !d.Text(item, what, &glob) {
			continue
		}
		found, err := d.Folder.Files(glob, d.Given(item))
		if err != nil {
			d.Problem(item, folder.Hint(err), "%s: %v", what, err)
		}
		if all = append(all, found...); len(all) > maxFiles {
			d.Problem(item, "", "%s: more than %d files", what, maxFiles)
			return nil
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (d Reader) generate(n *yaml.Node, what string) *Generate {
	g := &Generate{Kind: "jpeg", Width: 640, Height: 480, Count: 12, Seed: 1}
	d.Object(n, "generate", what,
		yamlfile.Key("kind", func(n *yaml.Node) { d.Choice(n, what+".kind", &g.Kind, "jpeg") }),
		yamlfile.Key("size", func(n *yaml.Node) {
			const least, most = 8, 4096
			width, height, _ := strings.Cut(n.Value, "x")
			w, errW := strconv.Atoi(width)
			h, errH := strconv.Atoi(height)
			if n.Kind != yaml.ScalarNode || errW != nil || errH != nil || n.Value != fmt.Sprintf("%dx%d", w, h) {
				d.Problem(n, "width x height in pixels, for example 640x480", "%s.size must be a size, not %s", what, yamlfile.Describe(n))
			} else if min(w, h) < least || max(w, h) > most {
				d.Problem(n, "", "%s.size must be from %dx%d to %dx%d, not %s", what, least, least, most, most, n.Value)
			} else {
				g.Width, g.Height = w, h
			}
		}),
		yamlfile.Key("count", func(n *yaml.Node) { d.Integer(n, what+".count", &g.Count, 1, 1000) }),
		yamlfile.Key("seed", func(n *yaml.Node) { d.Seed(n, what+".seed", &g.Seed) }),
	)
	return g
}

// errorLimit reads a limit of errors.
func (d Reader) errorLimit(n *yaml.Node, what string) *ErrorLimit {
	if n.Kind != yaml.ScalarNode {
		d.Problem(n, "for example 10 or 2.5%", "%s must be a number or a percentage, not %s", what, yamlfile.Describe(n))
		return nil
	}
	limit, err := parseErrorLimit(n.Value)
	if err != nil {
		d.Refuse(n, what, err)
		return nil
	}
	return &limit
}
