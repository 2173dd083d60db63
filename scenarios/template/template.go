// Package template is a text with {placeholders}, whose other braces are doubled.
package template

import (
	"fmt"
	"strings"

	"stackmeter/scenarios/show"
)

// A Template is a text with placeholders: parts[0] {Names[0]} parts[1] ….
type Template struct {
	Names []string
	parts []string
}

// Parse finds the {placeholders} of a text. {{ and }} stand for the
// braces themselves.
func Parse(text string) (Template, error) {
	var t Template
	var part strings.Builder
	for rest := text; ; {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			part.WriteString(rest)
			t.parts = append(t.parts, part.String())
			return t, nil
		}
		part.WriteString(rest[:i])
		brace := rest[i : i+1]
		rest = rest[i+1:]
		if strings.HasPrefix(rest, brace) {
			part.WriteString(brace)
			rest = rest[1:]
			continue
		}
		name, after, closed := strings.Cut(rest, "}")
		if brace == "}" || !closed || strings.Contains(name, "{") {
			return t, fmt.Errorf("%s has an unmatched %s: write %s for the brace itself",
				show.Quote(text), brace, brace+brace)
		}
		t.parts = append(t.parts, part.String())
		t.Names = append(t.Names, name)
		part.Reset()
		rest = after
	}
}

// Fill replaces the placeholders that have a value. The result is a template as
// well: other placeholders stay, and so do doubled braces, so a brace of the
// user's never becomes a placeholder.
func (t Template) Fill(values map[string]string) string {
	double := strings.NewReplacer("{", "{{", "}", "}}")
	var b strings.Builder
	for i, part := range t.parts {
		b.WriteString(double.Replace(part))
		if i == len(t.Names) {
			break
		}
		if value, known := values[t.Names[i]]; known {
			b.WriteString(double.Replace(value))
		} else {
			b.WriteString("{" + t.Names[i] + "}")
		}
	}
	return b.String()
}
