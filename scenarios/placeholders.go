package scenarios

import (
	"fmt"
	"strings"
)

// Placeholders of a command.
const (
	placeWorkers = "workers"
	placeThreads = "threads"
	placePort    = "port"
	placeWSGI    = "wsgi"
)

func placeholders() []string { return []string{placeWorkers, placeThreads, placePort, placeWSGI} }

// maxCommand bounds the filled commands of one topology, in bytes.
const maxCommand = 8192

// A template is a text with placeholders: parts[0] {names[0]} parts[1] ….
type template struct {
	parts []string
	names []string
}

// parseTemplate finds the {placeholders} of a text; {{ and }} stand for the
// braces themselves.
func parseTemplate(text string) (template, error) {
	var t template
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
			return t, fmt.Errorf("%s has a %s without its counterpart: write %s for the brace itself",
				quote(text), brace, brace+brace)
		}
		t.parts = append(t.parts, part.String())
		t.names = append(t.names, name)
		part.Reset()
		rest = after
	}
}

// fill is the text with its placeholders replaced.
func (t template) fill(values map[string]string) string {
	var b strings.Builder
	for i, part := range t.parts {
		b.WriteString(part)
		if i < len(t.names) {
			b.WriteString(values[t.names[i]])
		}
	}
	return b.String()
}
