package yamlfile

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
)

// JSON turns a node into JSON text. Keys keep the file's order.
func (f *File) JSON(n *yaml.Node, what string) json.RawMessage {
	var b bytes.Buffer
	f.writeJSON(&b, n, what)
	return b.Bytes()
}

func (f *File) writeJSON(b *bytes.Buffer, n *yaml.Node, what string) {
	switch n.Kind {
	case yaml.MappingNode:
		b.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			writeString(b, n.Content[i].Value)
			b.WriteByte(':')
			f.writeJSON(b, n.Content[i+1], what)
		}
		b.WriteByte('}')
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			f.writeJSON(b, item, what)
		}
		b.WriteByte(']')
	default:
		f.writeScalar(b, n, what)
	}
}

func (f *File) writeScalar(b *bytes.Buffer, n *yaml.Node, what string) {
	var value any
	plain := yaml.Node{Kind: yaml.ScalarNode, Tag: n.Tag, Value: n.Value}
	if isNumber(n) {
		b.WriteString(n.Value)
		return
	}
	if n.Tag == "!!str" || n.Tag == "!!timestamp" {
		writeString(b, n.Value)
		return
	}
	if err := plain.Decode(&value); err != nil {
		f.Problem(n, "put it in quotes if it is text", "%s has an invalid value: %s", what, show.Quote(n.Value))
	} else if number, ok := value.(float64); ok && (math.IsNaN(number) || math.IsInf(number, 0)) {
		f.Problem(n, "", "%s cannot hold %s: JSON has no such number", what, n.Value)
	} else if text, err := json.Marshal(value); err == nil {
		b.Write(text)
	}
}

// isNumber reports whether a node is a number as JSON writes it. It is kept digit by
// digit: 64 bits do not hold each, and YAML takes 1e400 for a text.
func isNumber(n *yaml.Node) bool {
	return n.Style == 0 && strings.Trim(n.Value, "-+.eE0123456789") == "" && json.Valid([]byte(n.Value))
}

// writeString leaves <, > and & as they are: this is not HTML.
func writeString(b *bytes.Buffer, s string) {
	encoder := json.NewEncoder(b)
	encoder.SetEscapeHTML(false)
	encoder.Encode(s) // a string and a buffer: there is no error
	b.Truncate(b.Len() - 1)
}
