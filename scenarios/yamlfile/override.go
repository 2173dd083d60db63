package yamlfile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
)

// Override puts the value of "--set a.b=value" into the tree: a path of keys, and
// of indices from 0 into lists, then a YAML value that replaces what is there. null
// removes the key. Override refuses only what has no place in the tree; keys and
// values are checked when they are read.
func (f *File) Override(text string) {
	s := f.given(text)
	path, value, found := strings.Cut(text, "=")
	if path = strings.TrimSpace(path); !found || slices.Contains(strings.Split(path, "."), "") {
		f.add(s, 0, 0, "not of the form KEY=VALUE", "for example "+f.rules.Example)
		return
	}
	f.put(s, path, value)
}

// Set puts the value of a flag into the tree. from is what a problem calls the
// flag. No two flags may set the same path.
func (f *File) Set(from, path, value string) {
	s := f.given(path + "=")
	s.name = from
	if before, given := f.from[path]; given {
		f.add(s, 0, 0, fmt.Sprintf("%s already says what %s is", before, path), "keep one of them")
		return
	}
	f.from[path] = from
	f.put(s, path, value)
}

// given is the next value of the command line. Its problems show only the name of
// what may be a secret.
func (f *File) given(text string) *source {
	f.sets++
	secret := f.secretText.MatchString(text)
	if secret {
		text = nameAlone(text)
	}
	return &source{name: "--set " + show.Shorten(show.Columns(text), placeWidth), rank: f.sets, secret: map[int]bool{}, allSecret: secret}
}

func (f *File) put(s *source, path, value string) {
	node := f.tree(s, []byte(value), maxValueSize)
	if node == nil {
		return
	}
	o := overriding{f: f, source: s, value: node}
	at, segments := f.Root, strings.Split(path, ".")
	for i := range segments[:len(segments)-1] {
		o.unfold(segments[:i], at)
		if at = o.step(at, segments[:i], segments[i]); at == nil {
			return
		}
	}
	o.unfold(segments[:len(segments)-1], at)
	o.put(at, segments)
}

// overriding is one override on its way through the tree.
type overriding struct {
	f      *File
	source *source
	value  *yaml.Node
}

func (o overriding) refuse(message, hint string) { o.f.add(o.source, 0, 0, message, hint) }

// own notes that a node comes from the override.
func (o overriding) own(n *yaml.Node) *yaml.Node {
	o.f.owner[n] = o.source
	return n
}

func (o overriding) key(name string) *yaml.Node {
	return o.own(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name})
}

// step goes to a member of a node. It adds a key that is not there yet.
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
	what := Describe(n)
	if o.source.allSecret {
		what = describeSecret(n)
	}
	o.refuse(joined(path)+" is "+what+" and has no "+show.Quote(segment), "")
	return nil
}

// put sets the member at the end of the path. null removes it.
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
			o.refuse(joined(segments)+" is not in the "+o.f.rules.What+": there is nothing to remove", "")
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
	long := o.f.rules.Unfold(path, n)
	if long == nil {
		return
	}
	if s := o.f.owner[n]; s != nil {
		for _, member := range long.Content {
			o.f.owner[member] = s
		}
	}
	*n = *long
}
