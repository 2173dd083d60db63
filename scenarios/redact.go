package scenarios

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"stackmeter/scenarios/show"
)

// Redacted stands for a value that is not written to a store or a report.
const Redacted = "(not written)"

// written are the environment variables whose values are: numbers and names
// that say how an app was set up, which never are secrets.
var written = []string{
	"MODEL", "TORCH_THREADS", "SEED", "WEB_CONCURRENCY",
	"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
	"CUDA_MODULE_LOADING", "PYTORCH_CUDA_ALLOC_CONF",
}

// Redacted is the plan without values that may be secrets: those of
// environment variables that are not on the list, of build arguments and of
// request headers. Their names stay. Its Fingerprint is another one.
func (p Plan) Redacted() Plan {
	p.App.Env = redacted(p.App.Env)
	if p.App.Build != nil {
		build := *p.App.Build
		build.Args = redacted(build.Args)
		p.App.Build = &build
	}
	p.Request.Headers = redacted(p.Request.Headers)
	p.Trials = slices.Clone(p.Trials)
	for i := range p.Trials {
		p.Trials[i].Topology = p.Trials[i].Topology.Redacted()
	}
	return p
}

// Redacted is the topology without values that may be secrets.
func (t Topology) Redacted() Topology {
	t.Env = redacted(t.Env)
	t.Services = slices.Clone(t.Services)
	for i := range t.Services {
		t.Services[i].Env = redacted(t.Services[i].Env)
	}
	return t
}

func redacted(values map[string]string) map[string]string {
	values = maps.Clone(values)
	for name := range values {
		if !slices.Contains(written, name) {
			values[name] = Redacted
		}
	}
	return values
}

// minSecret is from how many bytes on a value is taken out of other texts. A
// shorter one ("1", "true", "small") would be taken out of everything, and
// protects nothing.
const minSecret = 6

// maxCutOff is how many bytes of a secret can be left in front of the mark
// where show.Quote cut a text off: its characters, the longest as \U0001f600.
const maxCutOff = 10 * show.Quoted

// Scrubber returns a function that takes the values out of a text which
// Redacted leaves out of the plan: an app that fails may print its whole
// environment, and its last words are kept. Each is taken out in all of its
// forms, lines and passwords in it included. One that is part of a name in the
// plan ("gunicorn") stays: the name is written anyway.
//
// more are other values that no text may have.
func (p Plan) Scrubber(more ...string) func(string) string {
	values := slices.Clone(more)
	names := []string{p.Scenario}
	add := func(list map[string]string) {
		for name, value := range list {
			if !slices.Contains(written, name) {
				values = append(values, value)
			}
		}
	}
	add(p.App.Env)
	if p.App.Build != nil {
		add(p.App.Build.Args)
	}
	add(p.Request.Headers)
	for _, value := range p.Request.Headers {
		if _, credentials, found := strings.Cut(value, " "); found { // Authorization: Bearer TOKEN
			values = append(values, credentials)
		}
	}
	for _, trial := range p.Trials {
		add(trial.Topology.Env)
		names = append(names, trial.Topology.Name)
		for _, service := range trial.Topology.Services {
			add(service.Env)
			names = append(names, service.Name)
		}
	}
	var texts []string
	for _, value := range values {
		for _, secret := range secretsIn(value) {
			inName := func(name string) bool { return strings.Contains(name, secret) }
			if len(secret) >= minSecret && !slices.ContainsFunc(names, inName) {
				texts = append(texts, forms(secret)...)
			}
		}
	}
	// A secret that begins with another one is taken out whole.
	slices.SortFunc(texts, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	var pairs []string
	for _, text := range slices.Compact(texts) {
		pairs = append(pairs, text, Redacted)
		for n := min(len(text), maxCutOff) - 1; n >= minSecret; n-- {
			pairs = append(pairs, text[:n]+`"`+show.Missing, Redacted+`"`+show.Missing)
		}
	}
	return strings.NewReplacer(pairs...).Replace
}

// secretsIn are a value and the parts of it that can be met without the rest:
// its lines, because a log has the service's name before each, and the
// password of a URL.
func secretsIn(value string) []string {
	secrets := []string{value}
	for line := range strings.Lines(value) {
		secrets = append(secrets, strings.TrimSpace(line))
	}
	return append(secrets, Credentials(value)...)
}

// Credentials are the user:password of a URL and the password, as they are
// written there and unescaped; none of a text that has no such part.
func Credentials(address string) []string {
	user := userinfo(address)
	if user == "" {
		return nil
	}
	_, password, _ := strings.Cut(user, ":")
	var all []string
	for _, part := range []string{user, password} {
		all = append(all, part)
		if plain, err := url.PathUnescape(part); err == nil {
			all = append(all, plain)
		}
	}
	return all
}

// userinfo is the user:password of a URL, as it is written there, or the token
// in its place. The scheme can be left out before user:password@host, as
// programs allow in a proxy's address. It is empty where there is none.
func userinfo(address string) string {
	_, rest, isURL := strings.Cut(address, "://")
	if !isURL {
		rest = address
	}
	if end := strings.IndexAny(rest, "/?# \t\r\n"); end >= 0 {
		rest = rest[:end]
	}
	user := rest[:max(0, strings.LastIndex(rest, "@"))]
	if !isURL && !strings.Contains(user, ":") {
		return "" // someone@example.com
	}
	return user
}

// Python's repr: between apostrophes, and between quotation marks where the
// text has an apostrophe, which it escapes where the text has both.
var (
	repr     = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
	reprBoth = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`, `'`, `\'`)
)

// forms are how a secret is printed: as it is, by Go's and Python's ways of
// quoting, in JSON and in a URL.
func forms(secret string) []string {
	quoted := strconv.Quote(secret)
	all := []string{
		secret, quoted[1 : len(quoted)-1], repr.Replace(secret), reprBoth.Replace(secret),
		url.QueryEscape(secret), url.PathEscape(secret),
	}
	for _, html := range []bool{false, true} {
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(html)
		_ = encoder.Encode(secret) // a string and a buffer: there is no error
		text := strings.TrimSuffix(b.String(), "\n")
		text = text[1 : len(text)-1]
		all = append(all, text, ascii(text))
	}
	return all
}

// ascii escapes what of a JSON text is outside of ASCII, as Python's json does.
func ascii(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}
