package scenarios

import (
	"fmt"
	"strings"

	"stackmeter/scenarios/show"
)

// Placeholders of a command. The plan fills those that follow from the topology.
// A service's address is known only when a runtime starts it: a container
// listens on all its own addresses, a local process on a free port. {host} and
// {port} are the service's own address, {host:NAME} and {port:NAME} that of
// another service of the topology.
const (
	placeWorkers     = "workers"
	placeThreads     = "threads"
	placeConcurrency = "concurrency"
	placeWSGI        = "wsgi"
	placeASGI        = "asgi"
	placeHost        = "host"
	placePort        = "port"
)

// textPlaceholders are those that the values of env and options can have, too.
func textPlaceholders() []string {
	return []string{placeWorkers, placeThreads, placeConcurrency, placeWSGI, placeASGI}
}

func placeholders() []string { return append(textPlaceholders(), placeHost, placePort) }

// whose returns the service that an address placeholder names. found is false
// for every other placeholder, {host} and {port} included.
func whose(name string) (service string, found bool) {
	kind, service, found := strings.Cut(name, ":")
	return service, found && (kind == placeHost || kind == placePort)
}

// maxCommand bounds the filled commands of one topology, in bytes.
const maxCommand = 8192

// A template is a text with placeholders: parts[0] {names[0]} parts[1] ….
type template struct {
	parts []string
	names []string
}

// parseTemplate finds the {placeholders} of a text. {{ and }} stand for the
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
			return t, fmt.Errorf("%s has an unmatched %s: write %s for the brace itself",
				show.Quote(text), brace, brace+brace)
		}
		t.parts = append(t.parts, part.String())
		t.names = append(t.names, name)
		part.Reset()
		rest = after
	}
}

// fill replaces the placeholders that have a value. The result is a template as
// well: other placeholders stay, and so do doubled braces, so a brace of the
// user's never becomes a placeholder.
func (t template) fill(values map[string]string) string {
	double := strings.NewReplacer("{", "{{", "}", "}}")
	var b strings.Builder
	for i, part := range t.parts {
		b.WriteString(double.Replace(part))
		if i == len(t.names) {
			break
		}
		if value, known := values[t.names[i]]; known {
			b.WriteString(double.Replace(value))
		} else {
			b.WriteString("{" + t.names[i] + "}")
		}
	}
	return b.String()
}
