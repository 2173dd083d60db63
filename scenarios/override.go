package scenarios

import (
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
)

// override applies one "a.b=value" to the tree. It only refuses what has no
// place in the tree; whether the keys and the value are right is found out
// when the tree is decoded, as for the file.
func (d *decoder) override(root *yaml.Node, s *source, text string) {
	refuse := func(message, hint string) { d.report.add(s, 0, 0, message, hint) }
	path, value, found := strings.Cut(text, "=")
	segments := strings.Split(strings.TrimSpace(path), ".")
	for _, segment := range segments {
		if !found || segment == "" {
			refuse("not of the form KEY=VALUE", "for example matrix.requests=[20] or topologies.0.workers=2")
			return
		}
	}
	node := d.readTree(s, []byte(value), maxOverrideSize)
	if node == nil {
		return
	}
	o := overriding{d: d, source: s, refuse: refuse, value: node}
	for i := range segments[:len(segments)-1] {
		o.unfold(segments[:i], root)
		if root = o.step(root, segments[:i], segments[i]); root == nil {
			return
		}
	}
	o.unfold(segments[:len(segments)-1], root)
	o.put(root, segments)
}

// overriding is one override on its way through the tree.
type overriding struct {
	d      *decoder
	source *source
	refuse func(message, hint string)
	value  *yaml.Node
}

// own makes a node of the override's.
func (o overriding) own(n *yaml.Node) *yaml.Node {
	o.d.owner[n] = o.source
	return n
}

func (o overriding) key(name string) *yaml.Node {
	return o.own(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name})
}

// step goes to a member of a node. A key that is not there yet is made.
func (o overriding) step(n *yaml.Node, path []string, segment string) *yaml.Node {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == segment {
				return n.Content[i+1]
			}
		}
		made := o.own(&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"})
		n.Content = append(n.Content, o.key(segment), made)
		return made
	case yaml.SequenceNode:
		if i, ok := o.index(n, path, segment); ok {
			return n.Content[i]
		}
		return nil
	}
	what := describe(n)
	if o.source.allSecret {
		what = describeSecret(n)
	}
	o.refuse(joined(path)+" is "+what+" and has no "+show.Quote(segment), "")
	return nil
}

// put gives the member that the path ends with its value; null takes it out.
func (o overriding) put(n *yaml.Node, segments []string) {
	path, segment := segments[:len(segments)-1], segments[len(segments)-1]
	remove := o.value.Tag == "!!null"
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value != segment {
				continue
			}
			if remove {
				n.Content = append(n.Content[:i], n.Content[i+2:]...)
			} else {
				n.Content[i], n.Content[i+1] = o.key(segment), o.value
			}
			return
		}
		if remove {
			o.refuse(joined(segments)+" is not in the scenario: there is nothing to take out", "")
			return
		}
		n.Content = append(n.Content, o.key(segment), o.value)
	case yaml.SequenceNode:
		i, ok := o.index(n, path, segment)
		switch {
		case ok && remove:
			n.Content = append(n.Content[:i], n.Content[i+1:]...)
		case ok:
			n.Content[i] = o.value
		}
	default:
		o.step(n, path, segment) // says why there is no such place
	}
}

// index reads a place in a list.
func (o overriding) index(n *yaml.Node, path []string, segment string) (int, bool) {
	i, err := strconv.Atoi(segment)
	if err == nil && i >= 0 && i < len(n.Content) {
		return i, true
	}
	where, last := joined(path), strconv.Itoa(len(n.Content)-1)
	switch {
	case len(n.Content) == 0:
		o.refuse(where+" is an empty list", "")
	case err != nil:
		o.refuse(where+" is a list and has no "+show.Quote(segment), "name a place in it: "+where+".0 to "+where+"."+last)
	default:
		o.refuse(where+" has no place "+segment, "there are 0 to "+last)
	}
	return 0, false
}

// joined is a path as a message shows it.
func joined(path []string) string {
	return show.Shorten(show.Columns(strings.Join(path, ".")), show.Quoted)
}

// unfold writes a short form out, so that a part of it can be replaced.
func (o overriding) unfold(path []string, n *yaml.Node) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		return
	}
	var long *yaml.Node
	switch where := strings.Join(path, "."); {
	case where == "app.build":
		long = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: n.Line, Column: n.Column}
		key, context := *n, *n
		key.Value = "context"
		long.Content = []*yaml.Node{&key, &context}
	case len(path) == 2 && path[0] == "topologies":
		short, err := parseShorthand(n.Value)
		if err != nil {
			return // reported when it is decoded
		}
		long = short.mapping(n)
	default:
		return
	}
	if s := o.d.owner[n]; s != nil {
		for _, member := range long.Content {
			o.d.owner[member] = s
		}
	}
	*n = *long
}
