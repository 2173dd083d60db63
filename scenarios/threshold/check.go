package threshold

import (
	"errors"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

// A check walks the tree of a threshold. It refuses everything but comparisons of
// figures, checks the units, and replaces base by the figure that it stands for.
type check struct {
	vocabulary Vocabulary
	source     source
	own, base  map[string]bool // figures that are needed
}

// count is the unit of errors: comparable with a plain number, and not with a
// percentage.
const count units.Unit = "n"

// joins are the operators between comparisons, by how they can be written.
func joins() map[string]string {
	return map[string]string{"and": "and", "&&": "and", "or": "or", "||": "or"}
}

func (c *check) problem(n ast.Node, message, hint string) error {
	return c.source.problem(n.Location().From, message, hint)
}

// condition checks what is true or false.
func (c *check) condition(n ast.Node) (ast.Node, error) {
	switch node := n.(type) {
	case *ast.UnaryNode:
		if node.Operator != "not" && node.Operator != "!" {
			break
		}
		inner, err := c.condition(node.Node)
		if err != nil {
			return nil, err
		}
		return &ast.UnaryNode{Operator: "not", Node: inner}, nil
	case *ast.BinaryNode:
		switch {
		case joins()[node.Operator] != "":
			left, err := c.condition(node.Left)
			if err != nil {
				return nil, err
			}
			right, err := c.condition(node.Right)
			if err != nil {
				return nil, err
			}
			return &ast.BinaryNode{Operator: joins()[node.Operator], Left: left, Right: right}, nil
		case slices.Contains([]string{"<", "<=", ">", ">=", "==", "!="}, node.Operator):
			return c.comparison(node)
		}
	}
	return nil, c.problem(n, "a threshold must be a comparison", "for example p99 < 2s, or duration < base * 1.05 and errors == 0")
}

// comparison checks both sides of a comparison, which have to have one unit.
func (c *check) comparison(node *ast.BinaryNode) (ast.Node, error) {
	figures := identifiers(node, c.vocabulary.Names()...)
	left, right, unitLeft, unitRight, err := c.sides(node, figures)
	if err != nil {
		return nil, err
	}
	if len(figures) == 0 {
		return nil, c.problem(node, "the comparison names no figure of the cell", "there are "+c.names())
	}
	if !sameUnit(unitLeft, unitRight) {
		return nil, c.mismatch(node, "compared with", unitLeft, unitRight)
	}
	return &ast.BinaryNode{Operator: node.Operator, Left: left, Right: right}, nil
}

// sides checks both sides of an operator, which are numbers.
func (c *check) sides(node *ast.BinaryNode, figures []string) (left, right ast.Node, a, b units.Unit, err error) {
	if left, a, err = c.value(node.Left, figures); err == nil {
		right, b, err = c.value(node.Right, figures)
	}
	return left, right, a, b, err
}

// mismatch is the error of two values whose units do not fit.
func (c *check) mismatch(node *ast.BinaryNode, verb string, left, right units.Unit) error {
	if left == units.Percent || right == units.Percent {
		return c.problem(node, noun(left)+" cannot be "+verb+" "+noun(right), "of the baseline 5% more is base * 1.05")
	}
	if node.Operator != "*" && node.Operator != "/" {
		// A number with the wrong unit, or with none: in the words of units.
		for _, side := range []struct {
			node ast.Node
			want units.Unit
		}{{node.Left, right}, {node.Right, left}} {
			var wrong *units.Error
			if _, err := c.source.units[side.node.Location().From].In(side.want); errors.As(err, &wrong) && isNumber(side.node) {
				return c.problem(side.node, wrong.Message, wrong.Hint)
			}
		}
	}
	return c.problem(node, noun(left)+" cannot be "+verb+" "+noun(right), "")
}

func isNumber(n ast.Node) bool {
	_, is := n.(*ast.FloatNode)
	return is
}

// sameUnit reports whether two values can be compared: a plain number is both
// a share and a count.
func sameUnit(a, b units.Unit) bool {
	return a == b || a == "" && (b == count || b == units.Percent) || b == "" && (a == count || a == units.Percent)
}

func noun(unit units.Unit) string {
	if unit == count {
		return "a number of errors"
	}
	return unit.Noun()
}

// value checks what is a number, and returns its unit.
func (c *check) value(n ast.Node, figures []string) (ast.Node, units.Unit, error) {
	switch node := n.(type) {
	case *ast.FloatNode:
		return &ast.FloatNode{Value: node.Value}, c.source.units[node.Location().From].Unit, nil
	case *ast.IdentifierNode:
		return c.name(node, figures)
	case *ast.MemberNode:
		return c.member(node)
	case *ast.UnaryNode:
		if node.Operator == "-" || node.Operator == "+" {
			inner, unit, err := c.value(node.Node, figures)
			return &ast.UnaryNode{Operator: node.Operator, Node: inner}, unit, err
		}
	case *ast.BinaryNode:
		return c.arithmetic(node, figures)
	}
	return nil, "", c.problem(n, "this is neither a figure nor a number", "a threshold compares figures ("+c.names()+"), "+baseName+" and numbers with their units")
}

func (c *check) name(node *ast.IdentifierNode, figures []string) (ast.Node, units.Unit, error) {
	switch {
	case node.Value != baseName:
		return c.figure(node, node.Value, "", c.own)
	case len(figures) == 1:
		return c.figure(node, figures[0], basePrefix, c.base)
	case len(figures) == 0:
		return nil, "", c.problem(node, "base is the same figure of the baseline, and the comparison names no figure of the cell", "there are "+c.names())
	}
	return nil, "", c.problem(node, "base is the same figure of the baseline, and the comparison names several", "write base."+figures[0])
}

// member checks base.duration.
func (c *check) member(node *ast.MemberNode) (ast.Node, units.Unit, error) {
	of, isName := node.Node.(*ast.IdentifierNode)
	figure, isText := node.Property.(*ast.StringNode)
	if !isName || of.Value != baseName || !isText || node.Optional {
		return nil, "", c.problem(node, "only base has parts", "for example base.duration")
	}
	return c.figure(node, figure.Value, basePrefix, c.base)
}

// figure is the name of a figure within a program, and its unit. It notes the
// figure among those that are needed.
func (c *check) figure(n ast.Node, name, prefix string, needed map[string]bool) (ast.Node, units.Unit, error) {
	f, known := c.vocabulary.Find(name)
	if !known {
		return nil, "", c.problem(n, "there is no figure "+show.Quote(name), show.Suggest(name, append(c.vocabulary.Names(), baseName)))
	}
	needed[name] = true
	if f.Unit == units.None {
		f.Unit = count
	}
	return &ast.IdentifierNode{Value: prefix + name}, f.Unit, nil
}

func (c *check) names() string { return strings.Join(c.vocabulary.Names(), ", ") }

func (c *check) arithmetic(node *ast.BinaryNode, figures []string) (ast.Node, units.Unit, error) {
	if !slices.Contains([]string{"+", "-", "*", "/"}, node.Operator) {
		return nil, "", c.problem(node, "a threshold has no "+show.Quote(node.Operator)+" within a comparison", "there are + - * / and parentheses")
	}
	left, right, a, b, err := c.sides(node, figures)
	if err != nil {
		return nil, "", err
	}
	made := &ast.BinaryNode{Operator: node.Operator, Left: left, Right: right}
	plain := func(unit units.Unit) bool { return unit == "" || unit == units.Percent }
	switch {
	case node.Operator == "*" && plain(b):
		return made, withoutPercent(a, b), nil
	case node.Operator == "*" && plain(a):
		return made, withoutPercent(b, a), nil
	case node.Operator == "/" && plain(b):
		return made, withoutPercent(a, b), nil
	case node.Operator == "/" && a == b:
		return made, "", nil
	case (node.Operator == "+" || node.Operator == "-") && a == b:
		return made, a, nil
	case (node.Operator == "+" || node.Operator == "-") && sameUnit(a, b):
		if a == count || b == count {
			return made, count, nil
		}
		return made, "", nil
	}
	words := map[string]string{"+": "added to", "-": "taken together with", "*": "multiplied by", "/": "divided by"}
	return nil, "", c.mismatch(node, words[node.Operator], a, b)
}

// withoutPercent is the unit of a product: that of the factor with a unit, or none
// if it is a share of a plain number.
func withoutPercent(unit, factor units.Unit) units.Unit {
	if unit == units.Percent && factor != units.Percent {
		return factor
	}
	return unit
}

// identifiers returns those of the names that a tree has, or all that it has if
// none are given, each once, in the order in which they occur.
func identifiers(n ast.Node, names ...string) []string {
	v := &identifierVisitor{known: names}
	ast.Walk(&n, v)
	return v.found
}

type identifierVisitor struct{ known, found []string }

func (v *identifierVisitor) Visit(n *ast.Node) {
	if name, is := (*n).(*ast.IdentifierNode); is && (len(v.known) == 0 || slices.Contains(v.known, name.Value)) && !slices.Contains(v.found, name.Value) {
		v.found = append(v.found, name.Value)
	}
}
