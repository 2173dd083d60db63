package export

import (
	"strings"

	"gopkg.in/yaml.v3"
)

// A block is a mapping of YAML that keeps its order.
type block struct{ node yaml.Node }

// add adds a key. The comment stands above it where it is long, and else behind it.
func (b *block) add(key string, value any, comment string) {
	name := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}
	b.node.Kind = yaml.MappingNode
	of := nodeOf(value)
	switch {
	case comment == "":
	case of.Kind == yaml.ScalarNode && len(comment) < 60:
		of.LineComment = "# " + comment
	default:
		name.HeadComment = "# " + comment
	}
	b.node.Content = append(b.node.Content, name, of)
}

// nodeOf is a value as a node. Short lists are written on one line, and texts of several
// lines as they are.
func nodeOf(value any) *yaml.Node {
	switch v := value.(type) {
	case *block:
		return &v.node
	case []*block:
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, one := range v {
			list.Content = append(list.Content, &one.node)
		}
		return list
	}
	node := new(yaml.Node)
	_ = node.Encode(value) // of texts, numbers and lists of them
	if list, is := value.([]string); is && len(strings.Join(list, ", ")) < 60 && !strings.Contains(strings.Join(list, ""), "\n") {
		node.Style = yaml.FlowStyle
	}
	return node
}

// document writes blocks as documents of one file.
func document(all ...*block) string {
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	for _, one := range all {
		_ = enc.Encode(&one.node) // a Builder takes everything
	}
	_ = enc.Close()
	return b.String()
}
