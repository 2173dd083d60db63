// Package message reads what all HTTP requests of a scenario have: a path, and headers
// whose values can come from the operator's environment.
//
// A header's value names such variables: "Bearer ${API_TOKEN}". It stays as it is
// written in plans, in the store and in fingerprints. Fill makes what is sent.
package message

import (
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
	"stackmeter/scenarios/yamlfile"
)

// Methods are those that a scenario can name.
func Methods() []string {
	return []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}
}

// Path reads the path of a URL with its query.
func Path(f *yamlfile.File, n *yaml.Node, what string, into *string) {
	f.Checked(n, what, into, func(s string) bool {
		_, err := url.ParseRequestURI(s)
		return err == nil && strings.HasPrefix(s, "/") && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '#' })
	}, "a path starts with /, for example /predict; write a space as %20 and ä as %C3%A4")
}

// Narrower than HTTP's token: what headers really look like.
var name = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)

// Headers reads headers of a scenario's own. It refuses those that the client sets
// itself: with wrong ones a benchmark would measure nonsense. more are those that a probe
// sets. env are the operator's variables, all that a value may name.
func Headers(f *yamlfile.File, n *yaml.Node, what string, env map[string]string, into *map[string]string, more ...string) {
	f.Dictionary(n, what, into, name.MatchString, "letters, digits, - and _")
	seen := map[string]*yaml.Node{}
	for key, value := range yamlfile.Pairs(n) {
		name := http.CanonicalHeaderKey(key.Value)
		if before := seen[name]; before != nil {
			f.Problem(key, "keep one of them", "the header %s is already in %s", show.Quote(name), f.Place(before))
		}
		seen[name] = key
		if text, is := (*into)[key.Value]; is {
			(*into)[key.Value] = strings.Trim(text, " \t") // which is none of a value: RFC 9110, section 5.5
		}
		if slices.Contains(more, name) {
			f.Problem(key, "remove it", "the probe itself sets the header %s", name)
		}
		if slices.Contains([]string{"Connection", "Content-Length", "Transfer-Encoding", "Keep-Alive", "Expect", "Upgrade", "Te", "Trailer"}, name) {
			f.Problem(key, "remove it; matrix.keepalive says whether connections are kept alive",
				"the client itself sets the header %s", name)
		}
		if unprintable(value.Value) {
			f.Problem(value, "", "the header %s contains a control character", show.Quote(name))
		}
		for _, name := range names(value.Value) {
			secret, given := env[name]
			switch {
			case name == "":
				f.Problem(value, "write ${NAME}, or $${ for the two characters themselves", "%s.%s has a ${ without a name and a }", what, key.Value)
			case !given:
				f.Problem(value, "give it by name: --env "+name+", also with --resume, because no value is stored", "%s.%s: the variable %s is not given to this scenario", what, key.Value, name)
			case unprintable(secret):
				f.Problem(value, "look for a line's end in it", "%s.%s: the value of %s has a character that no header can have", what, key.Value, name)
			}
		}
	}
}

// unprintable reports whether a text has control characters, of which only a tab may
// be in a header.
func unprintable(value string) bool {
	return show.Columns(value) != strings.ReplaceAll(value, "\t", " ")
}

// A variable's name as the shell has it.
const variable = `[A-Za-z_][A-Za-z0-9_]{0,255}`

// place finds $${, a ${NAME}, and a ${ that is neither.
var place = regexp.MustCompile(`\$\$\{|\$\{(` + variable + `)\}|\$\{`)

// names are the variables that a value names; empty for a ${ that names none.
func names(value string) []string {
	var all []string
	for _, found := range place.FindAllStringSubmatch(value, -1) {
		if found[0] != "$${" {
			all = append(all, found[1])
		}
	}
	return all
}

// Fill returns headers with the values of the variables that they name, which have
// been checked by Headers.
func Fill(headers, env map[string]string) map[string]string {
	filled := maps.Clone(headers)
	for name, value := range filled {
		filled[name] = place.ReplaceAllStringFunc(value, func(found string) string {
			if found == "$${" {
				return "${"
			}
			return env[strings.Trim(found, "${}")]
		})
	}
	return filled
}

// Literal returns a value that Fill turns into the text.
func Literal(text string) string { return strings.ReplaceAll(text, "${", "$${") }

// scheme is a value that holds nothing secret itself: Bearer ${API_TOKEN}.
var scheme = regexp.MustCompile(`^([A-Za-z-]{1,16} )?\$\{` + variable + `\}$`)

// Redacted returns headers without values that may be secrets: what is left are
// variables' names, with one word before them.
func Redacted(headers map[string]string) map[string]string {
	redacted := maps.Clone(headers)
	for name, value := range redacted {
		if !scheme.MatchString(value) {
			redacted[name] = show.Redacted
		}
	}
	return redacted
}

// Secrets are the values that no text may have: those of headers, filled, and what
// follows the scheme of credentials (Authorization: Bearer TOKEN).
func Secrets(headers, env map[string]string) []string {
	var all []string
	for _, value := range Fill(headers, env) {
		all = append(all, value)
		if _, credentials, found := strings.Cut(value, " "); found {
			all = append(all, credentials)
		}
	}
	return all
}
