package chart

import (
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A Shape tells series apart where ink alone does not.
type Shape int

// Shapes of points; Swatch is for areas and bars.
const (
	circle Shape = iota
	square
	diamond
	triangle
	Swatch
	Ring
)

// ShapeOf is the shape of the i-th series.
func ShapeOf(i int) Shape { return Shape(i % 4) }

// path is the shape around a point.
func (s Shape) path(at vg.Point, r vg.Length) vg.Path {
	var p vg.Path
	corner := func(x, y vg.Length) vg.Point { return vg.Point{X: at.X + x, Y: at.Y + y} }
	polygon := func(points ...vg.Point) {
		p.Move(points[0])
		for _, next := range points[1:] {
			p.Line(next)
		}
		p.Close()
	}
	switch s {
	case square, Swatch:
		polygon(corner(-r, -r), corner(r, -r), corner(r, r), corner(-r, r))
	case diamond:
		d := 1.35 * r
		polygon(corner(-d, 0), corner(0, -d), corner(d, 0), corner(0, d))
	case triangle:
		polygon(corner(-1.2*r, -r), corner(1.2*r, -r), corner(0, 1.2*r))
	default:
		p.Arc(at, r, 0, 2*math.Pi)
	}
	return p
}

// A placed key has its place on its line.
type placedKey struct {
	Key
	x vg.Length
}

const (
	swatchRoom = 18
	keyGap     = 22
)

// legendLines puts the keys on as many lines as they need.
func (c Chart) legendLines(width float64) [][]placedKey {
	if len(c.Legend) == 0 {
		return nil
	}
	text := style(textSize, inkText, draw.XLeft, draw.YCenter, false)
	lines := [][]placedKey{nil}
	x := vg.Length(2)
	for _, key := range c.Legend {
		need := swatchRoom + text.Width(key.Label)
		if x+need > vg.Length(width) && x > 2 {
			lines, x = append(lines, nil), 2
		}
		last := len(lines) - 1
		lines[last] = append(lines[last], placedKey{key, x})
		x += need + keyGap
	}
	return lines
}

func (k placedKey) draw(c *draw.Canvas, y vg.Length) {
	at := vg.Point{X: c.Min.X + k.x + 6, Y: y}
	if k.Shape == Ring {
		c.SetLineStyle(draw.LineStyle{Color: k.Ink, Width: lineWidth})
		c.Stroke(circle.path(at, 4))
	} else {
		c.SetColor(k.Ink)
		c.Fill(k.Shape.path(at, 4.5))
	}
	c.FillText(style(textSize, inkText, draw.XLeft, draw.YCenter, false), vg.Point{X: at.X + swatchRoom - 6, Y: y}, k.Label)
}
