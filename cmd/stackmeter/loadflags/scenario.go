package loadflags

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"stackmeter/scenarios"
	"stackmeter/scenarios/message"
	"stackmeter/scenarios/show"
)

// Scenario makes a scenario of the flags that Add added, and returns it with the URL of its
// one server. The scenario's own parser checks the values.
func Scenario(rawURL string, flags *pflag.FlagSet) (server string, s *scenarios.Scenario, err error) {
	l := settings{flags: flags}
	u, err := readURL(rawURL)
	if err != nil {
		return "", nil, err
	}
	if server, err = serverOf(u, l.value("unix-socket"), l.value("engine")); err != nil {
		return "", nil, err
	}
	l.all = []scenarios.Setting{
		{From: "URL", Path: "request.path", Value: quoted(u.RequestURI())},
		{From: "URL", Path: "resources.gpu.mode", Value: scenarios.GPUOff},
		{From: "URL", Path: "order", Value: scenarios.OrderListed},
	}
	for _, f := range all() {
		if !utf8.ValidString(l.value(f.name)) {
			return "", nil, fmt.Errorf("--%s is not UTF-8 text, and could not be sent as it is; --file sends any bytes", f.name)
		}
	}
	l.plain()
	if err := l.special(u.Host); err != nil {
		return "", nil, err
	}
	name, _, _ := strings.Cut(rawURL, "?") // a query may hold a key
	loader := scenarios.Loader{Server: &scenarios.Topology{Name: name, Server: scenarios.ServerExisting, TLS: u.Scheme == "https"}}
	if s, err = loader.ParseSettings("load", l.all); err != nil {
		return "", nil, err
	}
	if data := l.value("data"); data != "" {
		s.Request.JSON = json.RawMessage(data) // byte by byte
	}
	if l.value("expect-status") == anySuccess {
		s.Request.Expect.Status = 0
	}
	return server, s, nil
}

// anySuccess is the --expect-status for which a scenario has no word.
const anySuccess = "0"

// settings collect what the flags say as settings of a scenario.
type settings struct {
	flags *pflag.FlagSet
	all   []scenarios.Setting
}

func (l *settings) value(flag string) string { return l.flags.Lookup(flag).Value.String() }

func (l *settings) values(flag string) []string {
	return l.flags.Lookup(flag).Value.(pflag.SliceValue).GetSlice()
}

func (l *settings) set(flag, path, yaml string) {
	carrier := "request.body"
	if l.value("field") != "" {
		carrier = "request.multipart"
	}
	path = strings.Replace(path, payload, carrier, 1)
	l.all = append(l.all, scenarios.Setting{From: "--" + flag, Path: path, Value: yaml})
}

// plain sets what the flags with a path say.
func (l *settings) plain() {
	for _, f := range all() {
		v := l.value(f.name)
		if f.path != "" && v != "" && v != "false" && !(f.name == "expect-status" && v == anySuccess) {
			l.set(f.name, f.path, f.yaml(v))
		}
	}
}

// special sets what the other flags say. host is the URL's.
func (l *settings) special(host string) error {
	client := l.client()
	l.set("client", "matrix.client", quoted(client))
	switch pool := l.value("pool"); {
	case pool == "", client == scenarios.ClientSingle && pool == "1": // which it has anyway
	case client == scenarios.ClientOpen: // which is not crossed with pools
		l.set("pool", "matrix.include", "[{client: open, pool: "+pool+"}]")
	default:
		l.set("pool", "matrix.pool", pool)
	}
	if l.value("generate") != "" {
		l.set("seed", payload+".generate.seed", l.value("seed"))
	}
	if files := l.values("file"); len(files) > 0 {
		l.set("file", payload+".files", quoted(files))
	}
	if data := l.value("data"); data != "" {
		if !json.Valid([]byte(data)) {
			return errors.New("--data is not JSON; put any other body into a file, and name it with --file")
		}
		l.set("data", "request.json", "{}") // Scenario puts the text itself there
	}
	if err := l.headers(host); err != nil {
		return err
	}
	return l.expectJSON()
}

// client returns the client mode: --client, or what the other flags imply.
func (l *settings) client() string {
	given := func(flag string) bool { return l.value(flag) != "" }
	switch {
	case given("client"):
		return l.value("client")
	case given("rate"), given("search-p99"), given("arrivals"):
		return scenarios.ClientOpen
	case given("pool") && l.value("pool") != "1":
		return scenarios.ClientMT
	}
	return scenarios.ClientSingle
}

func (l *settings) headers(host string) error {
	ownHost := false
	for _, header := range l.values("header") {
		name, text, is := strings.Cut(header, ":")
		if !is || strings.TrimSpace(name) != name || name == "" {
			return fmt.Errorf("--header %q: it has to be 'NAME: VALUE'", header)
		}
		name = http.CanonicalHeaderKey(name)
		ownHost = ownHost || name == "Host"
		l.set("header", "request.headers."+name, quoted(message.Literal(text)))
	}
	if l.value("unix-socket") != "" && !ownHost {
		l.set("unix-socket", "request.headers.Host", quoted(host))
	}
	return nil
}

func (l *settings) expectJSON() error {
	var places []string
	for _, expected := range l.values("expect-json") {
		place, value, is := strings.Cut(expected, "=")
		if !is || place == "" {
			return fmt.Errorf("--expect-json %q: it has to be PLACE=VALUE, for example label=cat", expected)
		}
		if value == "" { // a variable of a script that is not set
			return fmt.Errorf(`--expect-json %q: it has no value; the empty text is %s=""`, expected, place)
		}
		if !json.Valid([]byte(value)) {
			value = quoted(value) // a word is a text
		}
		places = append(places, quoted(place)+": "+value)
	}
	if len(places) > 0 {
		l.set("expect-json", "request.expect.json", "{"+strings.Join(places, ", ")+"}")
	}
	return nil
}

// quoted returns a value in YAML, which JSON is part of.
func quoted(value any) string {
	text, _ := json.Marshal(value) // texts and lists of them: there is no error
	return string(text)
}

// readURL reads the URL of a request. Its errors show no password.
func readURL(raw string) (*url.URL, error) {
	shown := raw
	if at := strings.LastIndex(raw, "@"); at >= 0 {
		shown = show.Missing + raw[at:]
	}
	wrong := func(format string, args ...any) (*url.URL, error) {
		return nil, fmt.Errorf("URL %q: %w", shown, fmt.Errorf(format, args...))
	}
	u, err := url.Parse(raw)
	var parsing *url.Error
	switch {
	case len(show.Credentials(raw)) > 0 || err == nil && u.User != nil:
		return wrong("send a name and password in a header: --header 'Authorization: Basic …'")
	case !strings.Contains(raw, "://") && !strings.HasPrefix(raw, "/"):
		return wrong("it has no scheme; write http://%s or https://%s", shown, shown)
	case errors.As(err, &parsing):
		return wrong("%w", parsing.Err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return wrong("it has to begin with http://HOST or https://HOST, for example http://127.0.0.1:8000/predict")
	case u.Fragment != "":
		return wrong("a fragment is never sent; leave out #%s", u.Fragment)
	}
	if port, err := strconv.ParseUint(cmp.Or(u.Port(), "80"), 10, 16); err != nil || port == 0 {
		return wrong("port %s does not exist", u.Port())
	}
	return u, nil
}

// maxSocketPath is the longest path of a unix socket that the kernel takes, in bytes.
const maxSocketPath = 107

// serverOf returns what the client connects to, as a stack's URL.
func serverOf(u *url.URL, socket, engine string) (string, error) {
	switch {
	case socket == "":
		return (&url.URL{Scheme: u.Scheme, Host: u.Host}).String(), nil
	case u.Scheme == "https":
		return "", errors.New("--unix-socket: HTTPS is not spoken over one; use http://")
	case engine != scenarios.EngineNative:
		return "", fmt.Errorf("--unix-socket: the engine %s cannot connect to one", engine)
	}
	path, err := filepath.Abs(socket)
	if len(path) > maxSocketPath {
		return "", fmt.Errorf("--unix-socket: the path has %d bytes, and the kernel takes at most %d; go to its folder, or use a link", len(path), maxSocketPath)
	}
	return (&url.URL{Scheme: "http+unix", Path: path}).String(), err
}
