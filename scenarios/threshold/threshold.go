// Package threshold is the language of conditions: p99 < 2s and errors == 0, or
// duration < base * 1.05. It is given the names and units of the figures that a
// condition can be about.
//
// The language is that of github.com/expr-lang/expr, cut down to comparisons,
// arithmetic, and, or, not and parentheses, with units behind numbers.
package threshold

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

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
	program   *vm.Program
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

// Limits of a threshold.
const (
	maxText  = 500 // bytes
	maxNodes = 200
)

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
	names := map[string]float64{}
	for name := range check.own {
		names[name] = 0
	}
	for name := range check.base {
		names[basePrefix+name] = 0
	}
	program, err := expr.Compile(node.String(), expr.Env(names), expr.AsBool(),
		expr.DisableAllBuiltins(), expr.MaxNodes(maxNodes),
		expr.Function(finiteName, func(side ...any) (any, error) {
			if value := side[0].(float64); !math.IsNaN(value) && !math.IsInf(value, 0) {
				return value, nil
			}
			return nil, errNotFinite
		}, new(func(float64) float64)))
	if err != nil {
		return nil, source.wrong(err)
	}
	return &Threshold{Text: text, own: slices.Sorted(maps.Keys(check.own)), base: slices.Sorted(maps.Keys(check.base)), program: program}, nil
}

// Own returns the figures of the cell that the threshold needs, sorted.
func (t *Threshold) Own() []string { return slices.Clone(t.own) }

// Base returns the figures of the baseline's cell that it needs, sorted; none if
// it does not refer to a baseline.
func (t *Threshold) Base() []string { return slices.Clone(t.base) }

// finiteName is a function within a program, see finite.
const finiteName = "finite"

// basePrefix makes the name of a baseline's figure within a program.
const basePrefix = "base_"

// errNotFinite is what Holds fails with if a side of a comparison has no value.
var errNotFinite = errors.New("it divides by 0, so there is nothing to compare")

// Holds evaluates the threshold over the figures of a cell and of its baseline,
// in base units. A figure that it needs and that is not there is an error, and
// so is a division by 0.
func (t *Threshold) Holds(own, base map[string]float64) (bool, error) {
	values := map[string]float64{}
	for _, need := range []struct {
		names  []string
		values map[string]float64
		whose  string
		prefix string
	}{{t.own, own, "the cell", ""}, {t.base, base, "the baseline", basePrefix}} {
		for _, name := range need.names {
			value, known := need.values[name]
			if !known || math.IsNaN(value) {
				return false, fmt.Errorf("threshold %s: %s has no %s", t.Text, need.whose, name)
			}
			values[need.prefix+name] = value
		}
	}
	holds, err := expr.Run(t.program, values)
	if errors.Is(err, errNotFinite) {
		err = errNotFinite // without the library's excerpt of the program
	}
	if err != nil {
		return false, fmt.Errorf("threshold %s: %w", t.Text, err)
	}
	return holds == true, nil
}
