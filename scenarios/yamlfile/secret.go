package yamlfile

import (
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
)

// Others read the problems, in the log of a CI job for example. So neither a
// message nor an excerpt shows what may be a secret: the values below the keys that
// Rules.Secrets finds. Their names are shown.

// A visit is a node, reached either outside or inside of what may be a secret.
type visit struct {
	node   *yaml.Node
	secret bool
}

// conceal marks the lines that have a value below such a key.
func (f *File) conceal(s *source, n *yaml.Node, secret bool, seen map[visit]bool) {
	if secret {
		s.secret[n.Line] = true
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if seen[visit{n, secret}] {
		return // an alias can contain itself
	}
	seen[visit{n, secret}] = true
	for i, member := range n.Content {
		below := secret
		if n.Kind == yaml.MappingNode {
			key := n.Content[i-i%2]
			below = below || key.Kind == yaml.ScalarNode && f.secretKey.MatchString(key.Value)
		}
		f.conceal(s, member, below, seen)
	}
}

// describeSecret is Describe without the text of a value.
func describeSecret(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		return "a text"
	}
	return Describe(n)
}

// nameAlone cuts a text that may be NAME=VALUE or NAME: VALUE after the name.
func nameAlone(text string) string {
	if end := strings.IndexAny(text, "=: "); end >= 0 {
		return text[:end] + show.Missing
	}
	return text
}
