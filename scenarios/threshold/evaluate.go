package threshold

import (
	"errors"
	"maps"
	"math"
	"slices"

	"github.com/expr-lang/expr/ast"
)

// basePrefix makes the name of a baseline's figure within a tree.
const basePrefix = "base_"

// errNotFinite is what an evaluation fails with if a side of a comparison has no
// value: 0/0 would make any comparison false, and its opposite true.
var errNotFinite = errors.New("it divides by 0, so there is nothing to compare")

// values are the figures of a cell and of its baseline, by their names in a tree.
type values map[string]float64

// holds takes absent for what a comparison says whose figures are not all there.
func (v values) holds(n ast.Node, absent bool) (bool, error) {
	if not, is := n.(*ast.UnaryNode); is {
		holds, err := v.holds(not.Node, !absent)
		return !holds && err == nil, err
	}
	node := n.(*ast.BinaryNode)
	if node.Operator == "and" || node.Operator == "or" {
		holds, err := v.holds(node.Left, absent)
		if err != nil || holds == (node.Operator == "or") {
			return holds, err
		}
		return v.holds(node.Right, absent)
	}
	if slices.ContainsFunc(identifiers(node), func(name string) bool { _, has := v[name]; return !has }) {
		return absent, nil
	}
	left, right := v.number(node.Left), v.number(node.Right)
	if difference := left - right; math.IsNaN(difference) || math.IsInf(difference, 0) {
		return false, errNotFinite
	}
	switch node.Operator {
	case "<":
		return left < right, nil
	case "<=":
		return left <= right, nil
	case ">":
		return left > right, nil
	case ">=":
		return left >= right, nil
	case "==":
		return left == right, nil
	}
	return left != right, nil
}

func (v values) number(n ast.Node) float64 {
	switch node := n.(type) {
	case *ast.FloatNode:
		return node.Value
	case *ast.IdentifierNode:
		return v[node.Value]
	case *ast.UnaryNode:
		if node.Operator == "-" {
			return -v.number(node.Node)
		}
		return v.number(node.Node)
	}
	node := n.(*ast.BinaryNode)
	left, right := v.number(node.Left), v.number(node.Right)
	switch node.Operator {
	case "+":
		return left + right
	case "-":
		return left - right
	case "*":
		return left * right
	}
	return left / right
}

// Fails reports whether a threshold fails where a change from the baseline may
// be noise. counts is asked about each figure that moved a comparison to its wrong
// side, and says whether a rise, or a fall, of that figure is to count. What does
// not hang on such a figure fails by its values: a comparison with a number, and
// one that the baseline does not keep either, which asks for an improvement. A
// figure that stays 0 has not grown by any percentage.
func (t *Threshold) Fails(own, base map[string]float64, counts func(figure string, rise bool) bool) bool {
	v, err := t.values(own, base)
	return err != nil || v.fails(t.tree, true, counts)
}

// fails asks about every comparison, so that counts hears of all figures.
func (v values) fails(n ast.Node, want bool, counts func(string, bool) bool) bool {
	if not, is := n.(*ast.UnaryNode); is {
		return v.fails(not.Node, !want, counts)
	}
	node := n.(*ast.BinaryNode)
	if node.Operator == "and" || node.Operator == "or" {
		left, right := v.fails(node.Left, want, counts), v.fails(node.Right, want, counts)
		if (node.Operator == "and") == want {
			return left || right
		}
		return left && right
	}
	if holds, err := v.holds(node, want); err != nil || holds == want {
		return err != nil
	}
	unchanged := maps.Clone(v)
	var moved []string
	for name := range v {
		before, both := v[basePrefix+name]
		if !both || len(identifiers(node, name, basePrefix+name)) < 2 {
			continue
		}
		moved = append(moved, name)
		if before == 0 {
			before = 1
		}
		unchanged[name], unchanged[basePrefix+name] = before, before
	}
	if holds, err := unchanged.holds(node, want); len(moved) == 0 || err != nil || holds != want {
		return true
	}
	asked, differs, failing := false, false, false
	for _, name := range moved {
		before := v[basePrefix+name]
		without := maps.Clone(v)
		without[name] = before
		differs = differs || v[name] != before
		if !(v.excess(node, want) <= without.excess(node, want)) { // also where one of them is no number
			asked, failing = true, counts(name, v[name] > before) || failing
		}
	}
	return failing || differs && !asked
}

// excess is how far a comparison is on the wrong side.
func (v values) excess(node *ast.BinaryNode, want bool) float64 {
	by := v.number(node.Left) - v.number(node.Right)
	switch node.Operator {
	case "==":
		by = math.Abs(by)
	case "!=":
		by = -math.Abs(by)
	case ">", ">=":
		by = -by
	}
	if !want {
		return -by
	}
	return by
}
