package threshold

import (
	"fmt"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// nearly is the share by which a figure of an unchanged build is a little more or less
// than that of the baseline.
const nearly = 1e-6

// counted are figures that are counted, and the same wherever nothing changed.
const counted = "errors"

// Tight says why an unchanged build breaks the threshold, and what to write instead;
// both are empty where it does not. It goes by each comparison with a baseline that lets
// a figure get no worse at all: a build that nothing changed in is a little above it in
// half of the nights, and a little below it in the others.
func (t *Threshold) Tight() (why, hint string) {
	var tight, never []string
	t.tight(t.tree, true, func(figure string, half bool) {
		if half {
			tight = append(tight, figure)
		} else {
			never = append(never, figure)
		}
	})
	switch {
	case len(tight) > 0:
		return fmt.Sprintf("%s: an unchanged build is over this limit in half of the nights, as its %s is a little more or less than that of base", t.Text, strings.Join(tight, " and ")),
			"leave room for noise, such as duration < base * 1.05 or throughput > base * 0.95"
	case len(never) > 0:
		return fmt.Sprintf("%s: an unchanged build is over this limit, which asks for another %s than that of base", t.Text, strings.Join(never, " and ")),
			"a limit that only a change keeps is for --fail-on of one run; duration < base * 1.05 is one that an unchanged build keeps"
	}
	return "", ""
}

// tight tells of each comparison of a figure with its own baseline that an unchanged
// build breaks: by being a little more or a little less, in half of the nights, or both.
func (t *Threshold) tight(n ast.Node, want bool, tell func(figure string, half bool)) {
	if not, is := n.(*ast.UnaryNode); is {
		t.tight(not.Node, !want, tell)
		return
	}
	node := n.(*ast.BinaryNode)
	if node.Operator == "and" || node.Operator == "or" {
		t.tight(node.Left, want, tell)
		t.tight(node.Right, want, tell)
		return
	}
	names := identifiers(node)
	figure := ""
	for _, name := range names {
		if name != counted && len(identifiers(node, name, basePrefix+name)) == 2 {
			figure = name
		}
	}
	if figure == "" {
		return
	}
	breaks := func(by float64) bool {
		v := values{}
		for _, name := range names {
			v[name] = 1
		}
		v[figure] = by
		holds, err := v.holds(node, want)
		return err == nil && holds != want
	}
	if more, less := breaks(1+nearly), breaks(1-nearly); more || less {
		tell(figure, more != less)
	}
}
