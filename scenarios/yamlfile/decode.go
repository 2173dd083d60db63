package yamlfile

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

// A Field is one key of an object and what reads its value. Read is called only if
// the key is there, in the order of the fields, not of the file.
type Field struct {
	Name string
	Read func(n *yaml.Node)
	Null bool   // null is a value, not a missing one
	Add  string // the hint where the key is missing; empty: it may be
}

// Key is a Field whose value is never null.
func Key(name string, read func(n *yaml.Node)) Field { return Field{Name: name, Read: read} }

// Needed is a Key that has to be there.
func Needed(name, add string, read func(n *yaml.Node)) Field {
	return Field{Name: name, Read: read, Add: add}
}

// An Object is a mapping whose keys have been checked.
type Object struct {
	Order  []string // its known keys as they are listed
	Values map[string]*yaml.Node
	Keys   map[string]*yaml.Node
}

// Has reports whether the key is there, whatever its value.
func (o Object) Has(key string) bool { return o.Values[key] != nil }

// Among are those of some keys that are there, in their order.
func (o Object) Among(keys ...string) []string {
	return slices.DeleteFunc(slices.Clone(o.Order), func(key string) bool { return !slices.Contains(keys, key) })
}

// Object checks that a node is a mapping with known keys and reads their values.
// kind is the name of its definition in a JSON Schema.
func (f *File) Object(n *yaml.Node, kind, what string, fields ...Field) (Object, bool) {
	known := make(map[string]Field, len(fields))
	names := make([]string, len(fields))
	for i, field := range fields {
		names[i], known[field.Name] = field.Name, field
	}
	f.Kinds[kind] = names
	o := Object{Values: map[string]*yaml.Node{}, Keys: map[string]*yaml.Node{}}
	if n.Kind != yaml.MappingNode {
		f.Problem(n, "its keys are "+strings.Join(names, ", "), "%s must be a mapping, not %s", what, Describe(n))
		return o, false
	}
	said := map[string]bool{}
	for key, value := range Pairs(n) {
		said[key.Value] = true
		field, is := known[key.Value]
		if !is {
			f.Problem(key, show.Suggest(key.Value, names), "%s has no key %s", what, show.Quote(key.Value))
			continue
		}
		if value.Tag == "!!null" && !field.Null {
			f.Problem(key, "give it a value or leave it out", "%s has no value", key.Value)
			continue
		}
		o.Order = append(o.Order, key.Value)
		o.Keys[key.Value], o.Values[key.Value] = key, value
	}
	for _, field := range fields {
		if value := o.Values[field.Name]; value != nil {
			field.Read(value)
		} else if field.Add != "" && !said[field.Name] {
			f.Problem(n, field.Add, "%s has no %s", what, field.Name)
		}
	}
	return o, true
}

// Describe says what a node is, for "must be …, not …".
func Describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	case n.Tag == "!!str":
		return "the text " + show.Quote(n.Value)
	}
	return show.Quote(n.Value)
}

// Pairs are the keys and values of a mapping; none of anything else.
func Pairs(n *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content) && yield(n.Content[i], n.Content[i+1]); i += 2 {
		}
	}
}

// Items returns the content of a list. A single value is a list of one.
func Items(n *yaml.Node) []*yaml.Node {
	if n.Kind == yaml.SequenceNode {
		return n.Content
	}
	return []*yaml.Node{n}
}

// List returns the items of a list that must not be empty or longer than most.
func (f *File) List(n *yaml.Node, what string, most int) []*yaml.Node {
	switch list := Items(n); {
	case len(list) == 0:
		f.Problem(n, "", "%s is an empty list", what)
		return nil
	case len(list) > most:
		f.Problem(n, "", "%s has %d entries, more than the limit of %d", what, len(list), most)
		return nil
	default:
		return list
	}
}

// MaxText is the limit of a text, in bytes.
const MaxText = 4096

// Text reads a string that is not empty.
func (f *File) Text(n *yaml.Node, what string, into *string) bool {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		hint := ""
		if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
			hint = "put it in quotes: " + show.Quote(n.Value)
		}
		f.Problem(n, hint, "%s must be text, not %s", what, Describe(n))
		return false
	}
	return f.Written(n, what, into)
}

// Written reads a scalar of any type as it is written: 1.0 stays "1.0".
func (f *File) Written(n *yaml.Node, what string, into *string) bool {
	switch {
	case n.Kind != yaml.ScalarNode || n.Tag == "!!null":
		f.Problem(n, "", "%s must be text, not %s", what, Describe(n))
	case n.Value == "":
		f.Problem(n, "", "%s is empty", what)
	case len(n.Value) > MaxText:
		f.Problem(n, "", "%s has %d bytes, more than the limit of %d", what, len(n.Value), MaxText)
	case strings.ContainsRune(n.Value, 0):
		f.Problem(n, "", "%s contains a NUL byte", what)
	default:
		*into = n.Value
		return true
	}
	return false
}

// Checked reads a text that must satisfy a rule.
func (f *File) Checked(n *yaml.Node, what string, into *string, rule func(string) bool, hint string) bool {
	var s string
	if !f.Text(n, what, &s) {
		return false
	}
	if !rule(s) {
		f.Problem(n, hint, "%s cannot be %s", what, show.Quote(s))
		return false
	}
	*into = s
	return true
}

// Choice reads one of the given words.
func (f *File) Choice(n *yaml.Node, what string, into *string, words ...string) bool {
	if n.Kind != yaml.ScalarNode {
		f.Problem(n, show.Suggest("", words), "%s must be a word, not %s", what, Describe(n))
		return false
	}
	if !slices.Contains(words, n.Value) {
		f.Problem(n, show.Suggest(n.Value, words), "%s cannot be %s", what, show.Quote(n.Value))
		return false
	}
	*into = n.Value
	return true
}

// Integer reads a whole number within a range, written in decimal.
func (f *File) Integer(n *yaml.Node, what string, into *int, low, high int) bool {
	value, err := strconv.Atoi(n.Value)
	plain := err == nil && strconv.Itoa(value) == n.Value
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!str" && plain:
		f.Problem(n, "remove the quotes", "%s must be a whole number, not %s", what, Describe(n))
	case n.Kind != yaml.ScalarNode || n.Tag != "!!int" || !plain:
		f.Problem(n, fmt.Sprintf("a number from %d to %d", low, high), "%s must be a whole number, not %s", what, Describe(n))
	case value < low || value > high:
		f.Problem(n, "", "%s must be from %d to %d, not %d", what, low, high, value)
	default:
		*into = value
		return true
	}
	return false
}

// Seed reads any whole number of 64 bits.
func (f *File) Seed(n *yaml.Node, what string, into *uint64) bool {
	value, err := strconv.ParseUint(n.Value, 10, 64)
	if n.Kind != yaml.ScalarNode || n.Tag == "!!str" || err != nil {
		f.Problem(n, "", "%s must be a whole number from 0 to %d, not %s", what, uint64(math.MaxUint64), Describe(n))
		return false
	}
	*into = value
	return true
}

// Boolean reads true or false.
func (f *File) Boolean(n *yaml.Node, what string, into *bool) bool {
	yes, no := slices.Contains([]string{"true", "True", "TRUE"}, n.Value), slices.Contains([]string{"false", "False", "FALSE"}, n.Value)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || !yes && !no {
		f.Problem(n, "write true or false", "%s must be true or false, not %s", what, Describe(n))
		return false
	}
	*into = yes
	return true
}

// Quantity reads a number with its unit.
func (f *File) Quantity(n *yaml.Node, what string, unit units.Unit) (float64, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		f.Problem(n, unit.Example(), "%s must be %s, not %s", what, unit.Noun(), Describe(n))
		return 0, false
	}
	value, err := units.Parse(n.Value, unit)
	if err != nil {
		f.Refuse(n, what, err)
	}
	return value, err == nil
}

// QuantityIn reads a number with its unit within a range, see units.Unit.InRange.
func (f *File) QuantityIn(n *yaml.Node, what string, unit units.Unit, low, high float64) (float64, bool) {
	value, ok := f.Quantity(n, what, unit)
	if err := unit.InRange(what, value, low, high); ok && err != nil {
		f.Problem(n, "", "%v", err)
		return 0, false
	}
	return value, ok
}

// The range of a time-out, in seconds.
const ShortestTime, LongestTime = 1e-3, 24 * 3600

// Duration reads a time-out or a limit of latency.
func (f *File) Duration(n *yaml.Node, what string, into *time.Duration) bool {
	seconds, ok := f.QuantityIn(n, what, units.Seconds, ShortestTime, LongestTime)
	if ok {
		*into = units.Duration(seconds)
	}
	return ok
}

// Refuse reports the error of a value, with its hint if it is one of units.
func (f *File) Refuse(n *yaml.Node, what string, err error) {
	var wrong *units.Error
	if errors.As(err, &wrong) {
		f.Problem(n, wrong.Hint, "%s: %s", what, wrong.Message)
		return
	}
	f.Problem(n, "", "%s: %v", what, err)
}

// Dictionary reads a mapping of free keys to texts as they are written. The texts
// may be secrets.
func (f *File) Dictionary(n *yaml.Node, what string, into *map[string]string, rule func(string) bool, hint string) {
	if n.Kind != yaml.MappingNode {
		f.Problem(n, "for example {NAME: value}", "%s must be a mapping, not %s", what, describeSecret(n))
		return
	}
	values := make(map[string]string, len(n.Content)/2)
	for key, value := range Pairs(n) {
		if !rule(key.Value) {
			f.Problem(key, hint, "%s has the invalid name %s", what, show.Quote(nameAlone(key.Value)))
			continue
		}
		if value.Kind == yaml.ScalarNode && value.Tag == "!!str" && value.Value == "" {
			values[key.Value] = "" // an empty value is a value
			continue
		}
		var s string
		if f.Written(value, what+"."+key.Value, &s) {
			values[key.Value] = s
		}
	}
	*into = values
}
