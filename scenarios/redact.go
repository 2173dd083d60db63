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

// written are the environment variables whose values are written: numbers and
// names that say how an app was set up, never secrets.
var written = []string{
	"MODEL", "TORCH_THREADS", "SEED", "WEB_CONCURRENCY",
	"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
	"CUDA_MODULE_LOADING", "PYTORCH_CUDA_ALLOC_CONF",
}

// Redacted is the plan without values that may be secrets: those of environment
// variables that are not on the list, of build arguments and of request headers.
// Their names stay. Its Fingerprint differs from the plan's.
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

// minSecret is the length, in bytes, from which on a value is removed from other
// texts. A shorter one ("1", "true", "small") would be removed everywhere and
// protects nothing.
const minSecret = 6

// maxCutOff is how many bytes of a secret can be left before the mark where
// show.Quote or show.Shorten cuts a text off. Quote leaves at most this: all its
// characters, the longest as \U0001f600.
const maxCutOff = 10 * show.Quoted

// Scrubber returns a function that removes from a text the values that Redacted
// leaves out of the plan: an app that fails may print its whole environment, and
// its last words are kept. It removes each value in all its forms, and the lines
// and passwords in it. A value that is part of a name in the plan ("gunicorn")
// stays, because the name is written anyway.
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
	// The longest come first: a secret can begin with another one.
	slices.SortFunc(texts, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	var pairs []string
	for _, text := range slices.Compact(texts) {
		pairs = append(pairs, text, Redacted)
		for n := min(len(text), maxCutOff) - 1; n >= minSecret; n-- {
			for _, mark := range []string{`"` + show.Missing, show.Missing} {
				pairs = append(pairs, text[:n]+mark, Redacted+mark)
			}
		}
	}
	return strings.NewReplacer(pairs...).Replace
}

// secretsIn returns a value and the parts of it that can occur alone: its lines,
// because a log has the service's name before each, and the password of a URL.
func secretsIn(value string) []string {
	secrets := []string{value}
	for line := range strings.Lines(value) {
		secrets = append(secrets, strings.TrimSpace(line))
	}
	return append(secrets, Credentials(value)...)
}

// Credentials are the user:password of a URL and the password, both as they are
// written and unescaped; none if the text has no such part.
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

// userinfo is the user:password of a URL as it is written, or the token in its
// place; empty if there is none. Programs accept a proxy's address without a
// scheme, and so does this: user:password@host.
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

// Python's repr puts a text between apostrophes, or between quotation marks if it
// has an apostrophe. If it has both, the apostrophe is escaped.
var (
	repr     = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
	reprBoth = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`, `'`, `\'`)
)

// forms are the ways to print a secret: as it is, quoted as in Go and in Python,
// in JSON and in a URL.
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

// ascii escapes all of a JSON text that is not ASCII, as Python's json does.
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
