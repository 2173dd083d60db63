package yamlfile

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
)

// tree parses YAML into a tree of its own nodes. Aliases and merge keys are
// expanded within limits, keys are unique, tags are YAML's own. It returns nil
// after reporting what makes the text useless as a whole.
func (f *File) tree(s *source, data []byte, limit int) *yaml.Node {
	if len(data) > limit {
		f.add(s, 0, 0, "larger than "+strconv.Itoa(limit)+" bytes", "split it into several "+f.rules.What+"s")
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		message, hint := "the file is empty", ""
		if s != f.file {
			message, hint = "the value is empty", "null removes a key"
		}
		f.add(s, 0, 0, message, hint)
		return nil
	} else if err != nil {
		f.syntax(s, err)
		return nil
	}
	if err := decoder.Decode(&more); err == nil {
		f.add(s, more.Line, more.Column, "a second YAML document", "one file is one "+f.rules.What+": remove the ---")
		return nil
	} else if !errors.Is(err, io.EOF) {
		f.syntax(s, err)
		return nil
	}
	f.conceal(s, &doc, false, map[visit]bool{})
	c := copier{file: f, source: s}
	root := c.copy(doc.Content[0], 0)
	if c.stopped {
		return nil
	}
	return root
}

// syntax reports an error of the YAML parser. At best its text has a line.
func (f *File) syntax(s *source, err error) {
	// It is not known which lines have values that may be secrets.
	s.allSecret = s.allSecret || f.secretText.MatchString(strings.Join(s.lines, "\n"))
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = message[len(m[0]):]
		// The library counts lines from 0 in its parser's errors, from 1 in its
		// scanner's.
		if parser := []string{"key", "'-' indicator", "',' or ']'", "',' or '}'", "node content", "<document start>"}; slices.Contains(
			parser, strings.TrimPrefix(message, "did not find expected ")) {
			line++
		}
	} else if m := regexp.MustCompile(`^unknown anchor '(.*)' referenced$`).FindStringSubmatch(message); m != nil {
		for i, text := range s.lines {
			if column := strings.Index(text, "*"+m[1]); column >= 0 {
				message := "no anchor &" + m[1] + " before this"
				if s.concealed(i + 1) {
					message = "no anchor of this name before this"
				}
				f.add(s, i+1, column+1, message, "put a text that begins with * in quotes")
				return
			}
		}
	}
	line = min(line, len(s.lines))
	column := 1
	if line > 0 {
		text := s.lines[line-1]
		column += len(text) - len(strings.TrimLeft(text, " \t"))
	}
	f.add(s, line, column, "not valid YAML here or just before: "+show.Columns(message), "")
}

// A copier copies a tree and expands its aliases and merge keys.
type copier struct {
	file    *File
	source  *source
	nodes   int
	stopped bool // a limit was passed: the copy is of no use
}

func (c *copier) stop(n *yaml.Node, message, hint string) {
	if !c.stopped {
		c.file.add(c.source, n.Line, n.Column, message, hint)
	}
	c.stopped = true
}

func (c *copier) copy(n *yaml.Node, depth int) *yaml.Node {
	c.nodes++
	switch {
	case c.stopped:
		return n
	case depth > maxDepth:
		c.stop(n, "nested more than "+strconv.Itoa(maxDepth)+" levels deep", "an alias that contains itself has no end")
		return n
	case c.nodes > maxNodes:
		c.stop(n, "more than "+strconv.Itoa(maxNodes)+" values once aliases are expanded", "")
		return n
	case n.Kind == yaml.AliasNode:
		return c.copy(n.Alias, depth+1)
	}
	out := &yaml.Node{Kind: n.Kind, Tag: n.ShortTag(), Style: n.Style, Value: n.Value, Line: n.Line, Column: n.Column}
	if c.source != c.file.file {
		c.file.owner[out] = c.source
	}
	switch n.Kind {
	case yaml.MappingNode:
		c.mapping(out, n, depth)
	case yaml.SequenceNode:
		for _, item := range n.Content {
			out.Content = append(out.Content, c.copy(item, depth+1))
		}
	}
	switch out.Tag {
	case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!map", "!!seq":
	case "!!merge":
		out.Tag = "!!str" // "<<" as a value
	default:
		tag := show.Quote(out.Tag)
		if c.source.concealed(n.Line) {
			tag = "of this value"
		}
		c.file.Problem(out, "remove it; put a text that begins with ! in quotes", "the tag %s means nothing here", tag)
	}
	return out
}

// mapping copies the pairs of a mapping. As YAML defines the merge key, the
// mapping's own keys win over merged ones, and earlier merged ones over later.
func (c *copier) mapping(out, n *yaml.Node, depth int) {
	first := map[string]*yaml.Node{}
	add := func(key, value *yaml.Node) { out.Content = append(out.Content, key, value) }
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content) && !c.stopped; i += 2 {
		if n.Content[i].ShortTag() == "!!merge" {
			merged = append(merged, n.Content[i+1])
			continue
		}
		key := c.copy(n.Content[i], depth+1)
		value := c.copy(n.Content[i+1], depth+1)
		if key.Kind != yaml.ScalarNode {
			c.file.Problem(key, "", "a key must be a word, not %s", Describe(key))
			continue
		}
		if before := first[key.Value]; before != nil {
			c.file.Problem(key, "keep one of them", "the key %s is already in line %d", show.Quote(key.Value), before.Line)
			continue
		}
		first[key.Value] = key
		add(key, value)
	}
	for len(merged) > 0 && !c.stopped {
		from := merged[0]
		merged = merged[1:]
		if from.Kind == yaml.SequenceNode {
			if c.nodes += len(from.Content); c.nodes <= maxNodes {
				merged = append(append([]*yaml.Node{}, from.Content...), merged...)
				continue
			}
		}
		from = c.copy(from, depth+1)
		if from.Kind != yaml.MappingNode {
			if !c.stopped {
				c.file.Problem(from, "", "<< takes a mapping or a list of mappings, not %s", Describe(from))
			}
			continue
		}
		for i := 0; i+1 < len(from.Content); i += 2 {
			if key := from.Content[i]; first[key.Value] == nil {
				first[key.Value] = key
				add(key, from.Content[i+1])
			}
		}
	}
}
