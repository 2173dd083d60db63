package scenarios

import (
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

// What is wrong with a scenario is printed where others read it, in a CI job's
// log for example. So neither a message nor an excerpt shows what can be a
// secret: the values of environments, headers and build arguments. Their names
// are shown.

var (
	// secretKey is in the keys that have such values, and in likely misspellings
	// of them: environment, header; not venv.
	secretKey = regexp.MustCompile(`(?i)(?:^|[^v])env|header|args`)

	// secretText is such a key in a text that is no YAML, or part of a path.
	secretText = regexp.MustCompile(`(?i)(?:(?:^|[^v])env|header|args)\w*["']?\s*[:.=]`)
)

// A visit is that of a node outside or inside of what may be secret.
type visit struct {
	node   *yaml.Node
	secret bool
}

// conceal notes the lines that have a value below such a key.
func (s *source) conceal(n *yaml.Node, secret bool, seen map[visit]bool) {
	if secret {
		s.secret[n.Line] = true
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if seen[visit{n, secret}] {
		return // an alias can be of what it is in
	}
	seen[visit{n, secret}] = true
	for i, member := range n.Content {
		below := secret
		if n.Kind == yaml.MappingNode {
			key := n.Content[i-i%2]
			below = below || key.Kind == yaml.ScalarNode && secretKey.MatchString(key.Value)
		}
		s.conceal(member, below, seen)
	}
}

// concealed says whether a line is not to be shown.
func (s *source) concealed(line int) bool { return s.allSecret || s.secret[line] }

// describeSecret is describe without the text of a value.
func describeSecret(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		return "a text"
	}
	return describe(n)
}

// nameAlone is the name in a text that may be NAME=VALUE or NAME: VALUE.
func nameAlone(text string) string {
	if end := strings.IndexAny(text, "=: "); end >= 0 {
		return text[:end] + "…"
	}
	return text
}
