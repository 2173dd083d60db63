package scenarios

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

// A decoder turns a tree of nodes into a Scenario. It goes on after a problem,
// so that all of them are reported at once: each of its methods sets its
// target only if the value is right, and says whether it was.
type decoder struct {
	file     *source
	owner    map[*yaml.Node]*source // of the nodes that overrides brought; the others are the file's
	folder   folder
	maxCells int
	loader   Loader // what it checks by
	report   report
	kinds    map[string][]string // keys of each kind of object that was met; the schema is tested against it
}

// problem reports a problem at a node.
func (d *decoder) problem(n *yaml.Node, hint, format string, args ...any) {
	s := d.owner[n]
	if s == nil {
		s = d.file
	}
	d.report.add(s, n.Line, n.Column, fmt.Sprintf(format, args...), hint)
}

// place names where a node is, for a message about another node.
func (d *decoder) place(n *yaml.Node) string {
	if s := d.owner[n]; s != nil {
		return s.name
	}
	return fmt.Sprintf("line %d", n.Line)
}

// A field is one key of an object and what decodes its value. It is called
// only where the key is there, in the order of the fields, not of the file.
type field struct {
	name   string
	decode func(n *yaml.Node)
}

// An object is a mapping whose keys have been checked.
type object struct {
	node   *yaml.Node
	order  []string // its known keys as they are listed
	values map[string]*yaml.Node
	keys   map[string]*yaml.Node
}

// has says whether the key is there, whatever its value.
func (o object) has(key string) bool { return o.values[key] != nil }

// object checks that a node is a mapping with known keys and decodes them.
// kind is the name of its definition in the JSON Schema.
func (d *decoder) object(n *yaml.Node, kind, what string, fields ...field) (object, bool) {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	d.kinds[kind] = names
	o := object{node: n, values: map[string]*yaml.Node{}, keys: map[string]*yaml.Node{}}
	if n.Kind != yaml.MappingNode {
		d.problem(n, suggestionOfKeys(names), "%s has to be a mapping, not %s", what, describe(n))
		return o, false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if !slices.Contains(names, key.Value) {
			d.problem(key, suggestion(key.Value, names), "%s has no key %s", what, show.Quote(key.Value))
			continue
		}
		if value.Tag == "!!null" && kind+"."+key.Value != "request.json" {
			d.problem(key, "give it a value or leave it out", "%s has no value", key.Value)
			continue
		}
		o.order = append(o.order, key.Value)
		o.keys[key.Value], o.values[key.Value] = key, value
	}
	for _, f := range fields {
		if value := o.values[f.name]; value != nil {
			f.decode(value)
		}
	}
	return o, true
}

func suggestionOfKeys(names []string) string {
	return "its keys are " + strings.Join(names, ", ")
}

// describe says what a node is, for "has to be …, not …".
func describe(n *yaml.Node) string {
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

// items is the content of a list. A single value is a list of one.
func items(n *yaml.Node) []*yaml.Node {
	if n.Kind == yaml.SequenceNode {
		return n.Content
	}
	return []*yaml.Node{n}
}

// list is items of a list that must not be empty or longer than most.
func (d *decoder) list(n *yaml.Node, what string, most int) []*yaml.Node {
	switch list := items(n); {
	case len(list) == 0:
		d.problem(n, "", "%s is an empty list", what)
		return nil
	case len(list) > most:
		d.problem(n, "", "%s has %d entries, more than the limit of %d", what, len(list), most)
		return nil
	default:
		return list
	}
}

// longest is the limit of a text, in bytes.
const longest = 4096

// text reads a string that is not empty.
func (d *decoder) text(n *yaml.Node, what string, into *string) bool {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		hint := ""
		if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
			hint = "put it in quotes: " + show.Quote(n.Value)
		}
		d.problem(n, hint, "%s has to be a text, not %s", what, describe(n))
		return false
	}
	return d.written(n, what, into)
}

// written reads a scalar of any type as it is written: 1.0 stays "1.0".
func (d *decoder) written(n *yaml.Node, what string, into *string) bool {
	switch {
	case n.Kind != yaml.ScalarNode || n.Tag == "!!null":
		d.problem(n, "", "%s has to be a text, not %s", what, describe(n))
	case n.Value == "":
		d.problem(n, "", "%s is empty", what)
	case len(n.Value) > longest:
		d.problem(n, "", "%s has %d bytes, more than the limit of %d", what, len(n.Value), longest)
	case strings.ContainsRune(n.Value, 0):
		d.problem(n, "", "%s contains a NUL byte", what)
	default:
		*into = n.Value
		return true
	}
	return false
}

// checked reads a text that has to satisfy a rule.
func (d *decoder) checked(n *yaml.Node, what string, into *string, rule func(string) bool, hint string) bool {
	var s string
	if !d.text(n, what, &s) {
		return false
	}
	if !rule(s) {
		d.problem(n, hint, "%s cannot be %s", what, show.Quote(s))
		return false
	}
	*into = s
	return true
}

// choice reads one of the given words.
func (d *decoder) choice(n *yaml.Node, what string, into *string, words ...string) bool {
	if n.Kind != yaml.ScalarNode {
		d.problem(n, suggestion("", words), "%s has to be a word, not %s", what, describe(n))
		return false
	}
	if !slices.Contains(words, n.Value) {
		d.problem(n, suggestion(n.Value, words), "%s cannot be %s", what, show.Quote(n.Value))
		return false
	}
	*into = n.Value
	return true
}

// integer reads a whole number within a range, written in decimal.
func (d *decoder) integer(n *yaml.Node, what string, into *int, low, high int) bool {
	value, err := strconv.Atoi(n.Value)
	plain := err == nil && strconv.Itoa(value) == n.Value
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!str" && plain:
		d.problem(n, "write it without quotes", "%s has to be a whole number, not %s", what, describe(n))
	case n.Kind != yaml.ScalarNode || n.Tag != "!!int" || !plain:
		d.problem(n, fmt.Sprintf("a number from %d to %d", low, high), "%s has to be a whole number, not %s", what, describe(n))
	default:
		if err := inRange(what, value, low, high); err != nil {
			d.problem(n, "", "%v", err)
			return false
		}
		*into = value
		return true
	}
	return false
}

// seed reads a number that only has to be the same again.
func (d *decoder) seed(n *yaml.Node, what string, into *uint64) bool {
	value, err := strconv.ParseUint(n.Value, 10, 64)
	if n.Kind != yaml.ScalarNode || n.Tag == "!!str" || err != nil {
		d.problem(n, "", "%s has to be a whole number from 0 to %d, not %s", what, uint64(math.MaxUint64), describe(n))
		return false
	}
	*into = value
	return true
}

// number reads a number within a range, the lower end left out.
func (d *decoder) number(n *yaml.Node, what string, into *float64, above, high float64) bool {
	value, err := units.Parse(n.Value, units.None)
	switch {
	case n.Kind != yaml.ScalarNode || n.Tag != "!!int" && n.Tag != "!!float" || err != nil:
		d.problem(n, "", "%s has to be a number, not %s", what, describe(n))
	case !(value > above && value <= high):
		d.problem(n, "", "%s has to be above %v and at most %v, not %s", what, above, high, n.Value)
	default:
		*into = value
		return true
	}
	return false
}

// boolean reads true or false.
func (d *decoder) boolean(n *yaml.Node, what string, into *bool) bool {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!bool" {
		switch n.Value {
		case "true", "True", "TRUE":
			*into = true
			return true
		case "false", "False", "FALSE":
			*into = false
			return true
		}
	}
	d.problem(n, "write true or false", "%s has to be true or false, not %s", what, describe(n))
	return false
}

// quantity reads a number with its unit.
func (d *decoder) quantity(n *yaml.Node, what string, unit units.Unit) (float64, bool) {
	if n.Kind != yaml.ScalarNode {
		d.problem(n, unit.Example(), "%s has to be %s, not %s", what, unit.Noun(), describe(n))
		return 0, false
	}
	value, err := units.Parse(n.Value, unit)
	if err != nil {
		d.refuse(n, what, err)
	}
	return value, err == nil
}

// refuse reports the error of a value, with its hint if it is one of units.
func (d *decoder) refuse(n *yaml.Node, what string, err error) {
	var wrong *units.Error
	if errors.As(err, &wrong) {
		d.problem(n, wrong.Hint, "%s: %s", what, wrong.Message)
		return
	}
	d.problem(n, "", "%s: %v", what, err)
}

// duration reads a time with its unit.
func (d *decoder) duration(n *yaml.Node, what string, into *time.Duration) bool {
	seconds, ok := d.quantity(n, what, units.Seconds)
	if !ok {
		return false
	}
	value := units.Duration(seconds)
	if err := timeInRange(what, value); err != nil {
		d.problem(n, "", "%v", err)
		return false
	}
	*into = value
	return true
}

// percent reads a share: 5% is 5.
func (d *decoder) percent(n *yaml.Node, what string, into *float64) bool {
	value, ok := d.quantity(n, what, units.Percent)
	if ok && !(value > 0 && value <= 100) {
		d.problem(n, units.Percent.Example(), "%s has to be above 0%% and at most 100%%, not %s", what, n.Value)
		return false
	}
	if ok {
		*into = value
	}
	return ok
}

// size reads a number of bytes with its unit.
func (d *decoder) size(n *yaml.Node, what string, into *int64, low, high int64) bool {
	bytes, ok := d.quantity(n, what, units.Bytes)
	if ok && (bytes < float64(low) || bytes > float64(high)) {
		d.problem(n, "", "%s has to be from %s to %s, not %s", what, sizeText(low), sizeText(high), n.Value)
		return false
	}
	if ok {
		*into = int64(bytes)
	}
	return ok
}

// sizeText is a number of bytes as a scenario writes it.
func sizeText(bytes int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for bytes >= 1024 && bytes%1024 == 0 && i < len(units)-1 {
		bytes, i = bytes/1024, i+1
	}
	return fmt.Sprintf("%d%s", bytes, units[i])
}

// dictionary reads a mapping of free keys to texts as they are written, which
// may be secrets.
func (d *decoder) dictionary(n *yaml.Node, what string, into *map[string]string, rule func(string) bool, hint string) {
	if n.Kind != yaml.MappingNode {
		d.problem(n, "for example {NAME: value}", "%s has to be a mapping, not %s", what, describeSecret(n))
		return
	}
	values := make(map[string]string, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if !rule(key.Value) {
			d.problem(key, hint, "%s has a name that cannot be: %s", what, show.Quote(nameAlone(key.Value)))
			continue
		}
		if value.Kind == yaml.ScalarNode && value.Tag == "!!str" && value.Value == "" {
			values[key.Value] = "" // an empty value is a value
			continue
		}
		var s string
		if d.written(value, what+"."+key.Value, &s) {
			values[key.Value] = s
		}
	}
	*into = values
}
