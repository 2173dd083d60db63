// Package threshold is the language of conditions: p99 < 2s and errors == 0, or
// duration < base * 1.05. It is given the names and units of the figures that a
// condition can be about.
//
// The language is that of github.com/expr-lang/expr, cut down to comparisons,
// arithmetic, and, or, not and parentheses, with units behind numbers.
package threshold

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"

	"stackmeter/scenarios/units"
)

// A Figure is a name for one number of what a cell measured, and its unit.
type Figure struct {
	Name string
	Unit units.Unit
}

// A Vocabulary is all the figures that there are.
type Vocabulary []Figure

// Find returns the figure with a name, and whether there is one.
func (v Vocabulary) Find(name string) (Figure, bool) {
	i := slices.IndexFunc(v, func(f Figure) bool { return f.Name == name })
	if i < 0 {
		return Figure{}, false
	}
	return v[i], true
}

// Names are the names of the figures, in their order.
func (v Vocabulary) Names() []string {
	names := make([]string, len(v))
	for i, f := range v {
		names[i] = f.Name
	}
	return names
}

// baseName is the same figure of the baseline's cell: in duration < base * 1.05
// it is the baseline's duration.
const baseName = "base"

// A Threshold is a condition that every cell of a run has to meet. Its names
// and units have been checked.
type Threshold struct {
	Text string

	own, base []string // figures that it names, of the cell and of the baseline's
	tree      ast.Node
}

// An Error is what is wrong with the text of a threshold.
type Error struct {
	Column  int // from 1, in characters
	Message string
	Hint    string // what would be right; can be empty
}

func (e *Error) Error() string {
	text := fmt.Sprintf("column %d: %s", e.Column, e.Message)
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// maxText is how many bytes a threshold may have.
const maxText = 500

// Parse reads a threshold and checks its names and units. The error is an
// *Error.
func (v Vocabulary) Parse(text string) (*Threshold, error) {
	if len(text) > maxText {
		return nil, &Error{1, fmt.Sprintf("a threshold has %d bytes, more than the limit of %d", len(text), maxText), "split it: each one has to hold"}
	}
	if strings.TrimSpace(text) == "" {
		return nil, &Error{1, "a threshold is empty", `for example "errors == 0"`}
	}
	source, err := withoutUnits(text)
	if err != nil {
		return nil, err
	}
	tree, err := parser.Parse(source.text)
	if err != nil {
		return nil, source.wrong(err)
	}
	check := check{vocabulary: v, source: source, base: map[string]bool{}, own: map[string]bool{}}
	node, err := check.condition(tree.Node)
	if err != nil {
		return nil, err
	}
	return &Threshold{Text: text, own: slices.Sorted(maps.Keys(check.own)), base: slices.Sorted(maps.Keys(check.base)), tree: node}, nil
}

// Own returns the figures of the cell that the threshold needs, sorted.
func (t *Threshold) Own() []string { return slices.Clone(t.own) }

// Base returns the figures of the baseline's cell that it needs, sorted; none if
// it does not refer to a baseline.
func (t *Threshold) Base() []string { return slices.Clone(t.base) }

// Holds evaluates the threshold over the figures of a cell and of its baseline,
// in base units. A figure that it needs and that is not there is an error, and
// so is a division by 0.
func (t *Threshold) Holds(own, base map[string]float64) (bool, error) {
	v, err := t.values(own, base)
	if err != nil {
		return false, err
	}
	holds, err := v.holds(t.tree, false)
	if err != nil {
		return false, fmt.Errorf("threshold %s: %w", t.Text, err)
	}
	return holds, nil
}

// WithoutBase evaluates the threshold over the figures of a cell alone: whether it
// can hold, and whether it does, whatever the baseline is.
func (t *Threshold) WithoutBase(own map[string]float64) (can, does bool, err error) {
	v, err := (&Threshold{Text: t.Text, own: t.own}).values(own, nil)
	if err != nil {
		return false, false, err
	}
	if can, err = v.holds(t.tree, true); err != nil {
		return false, false, fmt.Errorf("threshold %s: %w", t.Text, err)
	}
	does, err = v.holds(t.tree, false)
	return can, does && err == nil, nil // what divides by 0 may not count once there is a baseline
}

// values puts the figures of both sides together.
func (t *Threshold) values(own, base map[string]float64) (values, error) {
	all := values{}
	for _, need := range []struct {
		names  []string
		values map[string]float64
		whose  string
		prefix string
	}{{t.own, own, "the cell", ""}, {t.base, base, "the baseline", basePrefix}} {
		for _, name := range need.names {
			value, known := need.values[name]
			if !known || math.IsNaN(value) {
				return nil, fmt.Errorf("threshold %s: %s has no %s", t.Text, need.whose, name)
			}
			all[need.prefix+name] = value
		}
	}
	return all, nil
}
