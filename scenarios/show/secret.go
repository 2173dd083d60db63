package show

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Redacted stands for a value that is not written to a store or a report.
const Redacted = "(not written)"

// MinSecret is the length, in bytes, from which on a value is removed from other
// texts. A shorter one ("1", "true", "small") would be removed everywhere and
// protects nothing.
const MinSecret = 6

// maxCutOff is how many bytes of a secret can be left before the mark where
// Quote or Shorten cuts a text off. Quote leaves at most this: all its
// characters, the longest as \U0001f600.
const maxCutOff = 10 * Quoted

// Scrubber returns a function that removes values from a text, each in all its
// forms, and the lines and passwords in it. One that is part of a name ("gunicorn")
// stays: the name is written anyway.
func Scrubber(values, names []string) func(string) string {
	var texts []string
	for _, value := range values {
		for _, secret := range secretsIn(value) {
			inName := func(name string) bool { return strings.Contains(name, secret) }
			if len(secret) >= MinSecret && !slices.ContainsFunc(names, inName) {
				texts = append(texts, forms(secret)...)
			}
		}
	}
	// The longest come first: a secret can begin with another one.
	slices.SortFunc(texts, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	var pairs []string
	for _, text := range slices.Compact(texts) {
		pairs = append(pairs, text, Redacted)
		for n := min(len(text), maxCutOff) - 1; n >= MinSecret; n-- {
			for _, mark := range []string{`"` + Missing, Missing} {
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
