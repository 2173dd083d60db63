package scenarios

import (
	"errors"
	"slices"

	"github.com/expr-lang/expr/ast"

	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

// thresholdCheck goes through the tree of a threshold: it refuses what is no
// comparison of figures, checks the units, and gives base the name of the
// figure that it stands for.
type thresholdCheck struct {
	source    thresholdSource
	own, base map[string]bool
}

func comparisons() []string { return []string{"<", "<=", ">", ">=", "==", "!="} }

func (c *thresholdCheck) problem(n ast.Node, message, hint string) error {
	return c.source.problem(n.Location().From, message, hint)
}

// condition checks what is true or false.
func (c *thresholdCheck) condition(n ast.Node) (ast.Node, error) {
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
		case slices.Contains([]string{"and", "&&", "or", "||"}, node.Operator):
			left, err := c.condition(node.Left)
			if err != nil {
				return nil, err
			}
			right, err := c.condition(node.Right)
			if err != nil {
				return nil, err
			}
			return &ast.BinaryNode{Operator: node.Operator, Left: left, Right: right}, nil
		case slices.Contains(comparisons(), node.Operator):
			return c.comparison(node)
		}
	}
	return nil, c.problem(n, "a threshold has to be a comparison", "for example p99 < 2s, or duration < base * 1.05 and errors == 0")
}

// comparison checks both sides of a comparison, which have to have one unit.
func (c *thresholdCheck) comparison(node *ast.BinaryNode) (ast.Node, error) {
	figures := figuresIn(node)
	left, unitLeft, err := c.value(node.Left, figures)
	if err != nil {
		return nil, err
	}
	right, unitRight, err := c.value(node.Right, figures)
	if err != nil {
		return nil, err
	}
	if len(figures) == 0 {
		return nil, c.problem(node, "the comparison names no figure of the cell", "there are "+figureList())
	}
	if !sameUnit(unitLeft, unitRight) {
		return nil, c.mismatch(node, "compared with", unitLeft, unitRight)
	}
	return &ast.BinaryNode{Operator: node.Operator, Left: finite(left), Right: finite(right)}, nil
}

// finite is a side of a comparison that is only evaluated where it has a value:
// 0/0 would make any comparison false, and so its opposite true.
func finite(side ast.Node) ast.Node {
	switch side.(type) {
	case *ast.IdentifierNode, *ast.FloatNode:
		return side
	}
	return &ast.CallNode{Callee: &ast.IdentifierNode{Value: finiteName}, Arguments: []ast.Node{side}}
}

// mismatch is the error of two values whose units do not go together.
func (c *thresholdCheck) mismatch(node *ast.BinaryNode, verb string, left, right units.Unit) error {
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
func (c *thresholdCheck) value(n ast.Node, figures []string) (ast.Node, units.Unit, error) {
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
	return nil, "", c.problem(n, "this is no figure and no number", "a threshold compares figures ("+figureList()+"), "+baseName+" and numbers with their units")
}

func (c *thresholdCheck) name(node *ast.IdentifierNode, figures []string) (ast.Node, units.Unit, error) {
	if node.Value == baseName {
		if len(figures) == 0 {
			return nil, "", c.problem(node, "which figure of the baseline base is cannot be said: the comparison names no figure of the cell", "there are "+figureList())
		}
		if len(figures) > 1 {
			return nil, "", c.problem(node, "which figure of the baseline base is cannot be said: the comparison names several", "write base."+figures[0])
		}
		c.base[figures[0]] = true
		return &ast.IdentifierNode{Value: basePrefix + figures[0]}, unitOf(figures[0]), nil
	}
	if !slices.Contains(figureNames(), node.Value) {
		return nil, "", c.problem(node, "there is no figure "+show.Quote(node.Value), show.Suggest(node.Value, append(figureNames(), baseName)))
	}
	c.own[node.Value] = true
	return &ast.IdentifierNode{Value: node.Value}, unitOf(node.Value), nil
}

// member checks base.duration.
func (c *thresholdCheck) member(node *ast.MemberNode) (ast.Node, units.Unit, error) {
	of, isName := node.Node.(*ast.IdentifierNode)
	figure, isText := node.Property.(*ast.StringNode)
	if !isName || of.Value != baseName || !isText || node.Optional {
		return nil, "", c.problem(node, "only base has parts", "for example base.duration")
	}
	if !slices.Contains(figureNames(), figure.Value) {
		return nil, "", c.problem(node, "the baseline has no figure "+show.Quote(figure.Value), show.Suggest(figure.Value, figureNames()))
	}
	c.base[figure.Value] = true
	return &ast.IdentifierNode{Value: basePrefix + figure.Value}, unitOf(figure.Value), nil
}

func (c *thresholdCheck) arithmetic(node *ast.BinaryNode, figures []string) (ast.Node, units.Unit, error) {
	if !slices.Contains([]string{"+", "-", "*", "/"}, node.Operator) {
		return nil, "", c.problem(node, "a threshold has no "+show.Quote(node.Operator)+" within a comparison", "there are + - * / and parentheses")
	}
	left, a, err := c.value(node.Left, figures)
	if err != nil {
		return nil, "", err
	}
	right, b, err := c.value(node.Right, figures)
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

// withoutPercent is the unit of a product: that of the one with a unit, and a
// plain number when it is a share of a number.
func withoutPercent(unit, factor units.Unit) units.Unit {
	if unit == units.Percent && factor != units.Percent {
		return factor
	}
	return unit
}

// figuresIn are the different figures of the cell that a tree names.
func figuresIn(n ast.Node) []string {
	v := &figureVisitor{}
	ast.Walk(&n, v)
	return distinct(v.names)
}

type figureVisitor struct{ names []string }

func (v *figureVisitor) Visit(n *ast.Node) {
	if name, is := (*n).(*ast.IdentifierNode); is && slices.Contains(figureNames(), name.Value) {
		v.names = append(v.names, name.Value)
	}
}

func figureNames() []string {
	var names []string
	for _, f := range Figures() {
		names = append(names, f.Name)
	}
	return names
}

func figureList() string {
	text := ""
	for i, name := range figureNames() {
		if i > 0 {
			text += ", "
		}
		text += name
	}
	return text
}

func unitOf(figure string) units.Unit {
	for _, f := range Figures() {
		if f.Name == figure && f.Unit == "" {
			return count
		}
		if f.Name == figure {
			return f.Unit
		}
	}
	return ""
}
