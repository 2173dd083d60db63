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
	if strings.TrimSpace(value) == "" { // a variable of a script that is not set
		f.add(s, 0, 0, joined([]string{path})+" has no value", "write null to remove it")
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
	o := overriding{f: f, source: s}
	at, segments := f.Root, strings.Split(path, ".")
	last := len(segments) - 1
	for i, segment := range segments {
		o.unfold(segments[:i], at)
		key, value := o.member(at, segments[:i], segment, i < last || node.Tag != "!!null")
		switch {
		case value < 0:
			return
		case i < last:
			at = at.Content[value]
		case node.Tag != "!!null":
			at.Content[key], at.Content[value] = o.key(segment), node // of a list both are one
		default:
			at.Content = slices.Delete(at.Content, key, value+1)
		}
	}
}

// overriding is one override on its way through the tree.
type overriding struct {
	f      *File
	source *source
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

// member returns where the key and the value of a member are in a node's content;
// -1 if there is no such place. Of a list both are the item. A key that is not
// there is added, or refused.
func (o overriding) member(n *yaml.Node, path []string, segment string, add bool) (key, value int) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == segment {
				return i, i + 1
			}
		}
		if add {
			n.Content = append(n.Content, o.key(segment), o.own(&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}))
			return len(n.Content) - 2, len(n.Content) - 1
		}
		o.refuse(joined(append(slices.Clone(path), segment))+" is not in the "+o.f.rules.What+": there is nothing to remove", "")
	case yaml.SequenceNode:
		i, err := strconv.Atoi(segment)
		if err == nil && i >= 0 && i < len(n.Content) {
			return i, i
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
	default:
		what := Describe(n)
		if o.source.allSecret {
			what = describeSecret(n)
		}
		o.refuse(joined(path)+" is "+what+" and has no "+show.Quote(segment), "")
	}
	return -1, -1
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
