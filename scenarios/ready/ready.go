// Package ready says when a stack is ready, and reads it from a scenario.
package ready

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/message"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
	"stackmeter/scenarios/yamlfile"
)

// A Probe asks a stack whether it is ready: by a request of Path through the whole
// stack, by a connection alone (TCP), or by a Command inside the service that has to
// answer. The zero value asks nothing: the stack is ready at once.
type Probe struct {
	Path    string            `json:"path"`
	Method  string            `json:"method,omitempty"`  // GET when empty
	Headers map[string]string `json:"headers,omitempty"` // see package message
	Status  []string          `json:"status,omitempty"`  // that are accepted, as 204 or 2xx; 2xx when empty
	Body    string            `json:"body,omitempty"`
	JSON    json.RawMessage   `json:"json,omitempty"` // the body instead
	TCP     bool              `json:"tcp,omitempty"`
	Command []string          `json:"command,omitempty"` // an argv, its addresses unfilled, whose exit status is 0 when the stack is ready
	Timeout time.Duration     `json:"-"`                 // of all probes together
}

// Default is a GET of /, the one path that every site has, for a minute.
func Default() Probe { return Probe{Path: "/", Timeout: time.Minute} }

// None reports whether nothing is asked.
func (p Probe) None() bool { return p.Path == "" && !p.TCP && len(p.Command) == 0 }

// NeedsPort reports whether the probe asks the service at a port of its own.
func (p Probe) NeedsPort() bool {
	return p.TCP || slices.ContainsFunc(p.Command, func(arg string) bool { return strings.Contains(arg, "{port}") })
}

// Asks is the request line of a probe that is a request, as servers log it: GET /.
func (p Probe) Asks() string { return cmp.Or(p.Method, http.MethodGet) + " " + p.Path }

// Accepted are the accepted statuses in words.
func (p Probe) Accepted() string { return cmp.Or(strings.Join(p.Status, " or "), "2xx") }

// Accepts reports whether an answer with the status says that the stack is ready.
func (p Probe) Accepts(status int) bool {
	text := strconv.Itoa(status)
	return slices.ContainsFunc(strings.Split(p.Accepted(), " or "), func(one string) bool { return one == text || one == text[:1]+"xx" })
}

// String says what the probe asks.
func (p Probe) String() string {
	switch {
	case len(p.Command) > 0:
		return fmt.Sprintf("%q exits with status 0", p.Command)
	case p.TCP:
		return "it takes a TCP connection"
	}
	return p.Asks() + " is answered with " + p.Accepted()
}

// Request is the probe's request of a URL, which Path is part of.
func (p Probe) Request(url string) (*http.Request, error) {
	var body io.Reader
	content := ""
	switch {
	case p.JSON != nil:
		body, content = bytes.NewReader(p.JSON), "application/json"
	case p.Body != "":
		body, content = strings.NewReader(p.Body), "text/plain; charset=utf-8"
	}
	req, err := http.NewRequest(cmp.Or(p.Method, http.MethodGet), url, body)
	if err != nil {
		return nil, err
	}
	if content != "" {
		req.Header.Set("Content-Type", content)
	}
	for name, value := range p.Headers {
		if name = http.CanonicalHeaderKey(name); name == "Host" {
			req.Host = value
		} else {
			req.Header.Set(name, value)
		}
	}
	return req, nil
}

// plain is a Probe without methods.
type plain Probe

type probeJSON struct {
	*plain
	TimeoutS float64 `json:"timeout_s"`
}

// MarshalJSON implements json.Marshaler: a duration is a number of seconds.
func (p Probe) MarshalJSON() ([]byte, error) {
	return json.Marshal(probeJSON{(*plain)(&p), p.Timeout.Seconds()})
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Probe) UnmarshalJSON(text []byte) error {
	read := probeJSON{plain: (*plain)(p)}
	err := json.Unmarshal(text, &read)
	p.Timeout = units.Duration(read.TimeoutS)
	return err
}

// Read reads a probe over its defaults. env are the operator's variables that headers
// can name. command reads an argv in which {host} and {port} stand for where the service
// listens.
func Read(f *yamlfile.File, n *yaml.Node, env map[string]string, command func(n *yaml.Node, what string) []string, p *Probe) {
	const what = "app.ready"
	o, ok := f.Object(n, "ready", what,
		yamlfile.Key("path", func(n *yaml.Node) { message.Path(f, n, what+".path", &p.Path) }),
		yamlfile.Key("method", func(n *yaml.Node) { f.Choice(n, what+".method", &p.Method, message.Methods()...) }),
		yamlfile.Key("headers", func(n *yaml.Node) { message.Headers(f, n, what+".headers", env, &p.Headers, "User-Agent") }),
		yamlfile.Key("status", func(n *yaml.Node) { p.Status = statuses(f, n, what+".status") }),
		yamlfile.Key("body", func(n *yaml.Node) { f.Text(n, what+".body", &p.Body) }),
		yamlfile.Field{Name: "json", Null: true, Read: func(n *yaml.Node) { p.JSON = f.JSON(n, what+".json") }},
		yamlfile.Key("tcp", func(n *yaml.Node) { f.Boolean(n, what+".tcp", &p.TCP) }),
		yamlfile.Key("command", func(n *yaml.Node) { p.Command = command(n, what+".command") }),
		yamlfile.Key("timeout", func(n *yaml.Node) { f.Duration(n, what+".timeout", &p.Timeout) }),
	)
	if !ok {
		return
	}
	if o.Has("body") && o.Has("json") {
		f.Problem(o.Keys["json"], "keep one of them", "%s has both body and json", what)
	}
	switch sends := o.Has("body") || o.Has("json"); {
	case sends && p.Method == "":
		p.Method = http.MethodPost
	case sends && (p.Method == http.MethodGet || p.Method == http.MethodHead):
		f.Problem(o.Keys["method"], "use POST, or remove the body", "a %s sends no body", p.Method)
	}
	if p.Method == http.MethodGet {
		p.Method = "" // as if it were not said
	}
	if !p.TCP && !o.Has("command") {
		return
	}
	p.Path = ""
	instead := "tcp"
	if o.Has("command") {
		instead = "command"
	}
	for _, key := range o.Order {
		if key != instead && key != "timeout" {
			f.Problem(o.Keys[key], "keep one of them", "%s has both %s and %s", what, instead, key)
		}
	}
}

// statuses reads statuses and their classes.
func statuses(f *yamlfile.File, n *yaml.Node, what string) []string {
	var all []string
	for _, item := range f.List(n, what, 16) {
		one := item.Value
		code, err := strconv.Atoi(one)
		class := len(one) == 3 && strings.HasSuffix(one, "xx") && one[0] >= '2' && one[0] <= '5'
		switch {
		case item.Kind != yaml.ScalarNode || !class && (err != nil || code < 200 || code > 599 || strconv.Itoa(code) != one):
			f.Problem(item, "for example 204, [200, 204] or 2xx", "%s cannot be %s", what, yamlfile.Describe(item))
		case slices.Contains(all, one):
			f.Problem(item, "remove one of them", "%s has %s twice", what, show.Quote(one))
		default:
			all = append(all, one)
		}
	}
	return all
}
