package scenarios

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

// baseName is the same figure of the baseline's cell: in duration < base * 1.05
// it is the baseline's duration.
const baseName = "base"

// A Threshold is a condition that every cell of a run has to meet: a comparison
// of figures, for example p99 < 2s or duration < base * 1.05, or several with
// and, or and not. Its units have been checked.
type Threshold struct {
	Text string

	own, base []string // figures that it names, of the cell and of the baseline's
	program   *vm.Program
}

// A ThresholdError is what is wrong with the text of a threshold.
type ThresholdError struct {
	Column  int // from 1, in characters
	Message string
	Hint    string
}

func (e *ThresholdError) Error() string {
	text := fmt.Sprintf("column %d: %s", e.Column, e.Message)
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// Limits of a threshold's text.
const (
	maxThreshold      = 500 // bytes
	maxThresholdNodes = 200
)

// ParseThreshold reads a threshold and checks its names and units. The error
// is a *ThresholdError.
//
// The language is that of github.com/expr-lang/expr, without everything but
// comparisons, arithmetic, and, or, not and parentheses, and with units behind
// numbers: 2s, 500ms, 5000MiB, 10/s, 5%.
func ParseThreshold(text string) (*Threshold, error) {
	if len(text) > maxThreshold {
		return nil, &ThresholdError{1, fmt.Sprintf("a threshold has %d bytes, more than the limit of %d", len(text), maxThreshold), "split it: each one has to hold"}
	}
	if strings.TrimSpace(text) == "" {
		return nil, &ThresholdError{1, "a threshold is empty", `for example "errors == 0"`}
	}
	source, err := withoutUnits(text)
	if err != nil {
		return nil, err
	}
	tree, err := parser.Parse(source.text)
	if err != nil {
		return nil, source.wrong(err)
	}
	check := thresholdCheck{source: source, base: map[string]bool{}, own: map[string]bool{}}
	node, err := check.condition(tree.Node)
	if err != nil {
		return nil, err
	}
	program, err := expr.Compile(node.String(), expr.Env(thresholdEnv(nil, nil)), expr.AsBool(),
		expr.DisableAllBuiltins(), expr.MaxNodes(maxThresholdNodes),
		expr.Function(finiteName, func(side ...any) (any, error) {
			if value := side[0].(float64); !math.IsNaN(value) && !math.IsInf(value, 0) {
				return value, nil
			}
			return nil, ErrNotFinite
		}, new(func(float64) float64)))
	if err != nil {
		return nil, source.wrong(err)
	}
	return &Threshold{Text: text, own: sorted(check.own), base: sorted(check.base), program: program}, nil
}

// Own are the figures of the cell that the threshold needs, sorted.
func (t *Threshold) Own() []string { return slices.Clone(t.own) }

// Base are the figures of the baseline's cell that it needs, sorted; none when
// it does not refer to a baseline.
func (t *Threshold) Base() []string { return slices.Clone(t.base) }

// finiteName is a function within a program, see finite.
const finiteName = "finite"

// ErrNotFinite is what Holds fails with when a side of a comparison has no
// value.
var ErrNotFinite = errors.New("it divides by 0, so that there is nothing to compare")

// Holds evaluates the threshold over the figures of a cell and of its
// baseline, in base units. A figure that it needs and that is not there is an
// error, and so is a division by 0, see ErrNotFinite.
func (t *Threshold) Holds(own, base map[string]float64) (bool, error) {
	for _, need := range []struct {
		names  []string
		values map[string]float64
		whose  string
	}{{t.own, own, "the cell"}, {t.base, base, "the baseline"}} {
		for _, name := range need.names {
			if value, known := need.values[name]; !known || math.IsNaN(value) {
				return false, fmt.Errorf("threshold %s: %s has no %s", t.Text, need.whose, name)
			}
		}
	}
	holds, err := expr.Run(t.program, thresholdEnv(own, base))
	if errors.Is(err, ErrNotFinite) {
		err = ErrNotFinite // without the library's excerpt of the program
	}
	if err != nil {
		return false, fmt.Errorf("threshold %s: %w", t.Text, err)
	}
	return holds == true, nil
}

// basePrefix makes the name of a baseline's figure within a program.
const basePrefix = "base_"

// thresholdEnv has all names, so that a program's types can be checked; what
// is missing is 0, and Holds does not let it be used.
func thresholdEnv(own, base map[string]float64) map[string]float64 {
	env := map[string]float64{}
	for _, f := range Figures() {
		env[f.Name], env[basePrefix+f.Name] = own[f.Name], base[f.Name]
	}
	return env
}

func sorted(set map[string]bool) []string {
	var names []string
	for name := range set {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// thresholdSource is a threshold with its numbers in base units and without
// their units, and where its characters were before.
type thresholdSource struct {
	text    string
	columns []int                  // of the character, from 0, in the original; one more for the end
	units   map[int]units.Quantity // of the number that begins at this character
}

// count is the unit of errors: comparable with a plain number, and not with a
// percentage.
const count units.Unit = "n"

// wrong is an error of the library's, where it was written.
func (s thresholdSource) wrong(err error) error {
	var at *file.Error
	if errors.As(err, &at) {
		return s.problem(at.From, lowerFirst(at.Message), "for example p99 < 2s, or duration < base * 1.05 and errors == 0")
	}
	return s.problem(0, err.Error(), "")
}

func (s thresholdSource) problem(at int, message, hint string) *ThresholdError {
	return &ThresholdError{Column: s.columns[min(max(at, 0), len(s.columns)-1)] + 1, Message: show.Columns(message), Hint: hint}
}

func lowerFirst(text string) string {
	if text == "" {
		return text
	}
	return strings.ToLower(text[:1]) + text[1:]
}
