package chart

import (
	"math"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A Range is an interval or a spread that is drawn as a whisker.
type Range struct{ Low, High float64 }

// A Mark is a point that stands for a cell: it has a name and can be a link.
type Mark struct {
	X, Y   float64
	XRange *Range
	YRange *Range
	Label  string // what hovering and focusing say
	Link   string
	Ink    Ink
	Shape  Shape
	Front  bool    // has a ring, and its Tag is written beside it
	Tag    string  // its short name
	Radius float64 // in pixels; that of marks in general when 0
}

// Marks are points.
type Marks []Mark

func (m Marks) span() (xmin, xmax, ymin, ymax float64) {
	xmin, xmax, ymin, ymax = math.NaN(), math.NaN(), math.NaN(), math.NaN()
	for _, p := range m {
		xmin, xmax, ymin, ymax = least(xmin, p.X), most(xmax, p.X), least(ymin, p.Y), most(ymax, p.Y)
		if r := p.XRange; r != nil {
			xmin, xmax = least(xmin, r.Low), most(xmax, r.High)
		}
		if r := p.YRange; r != nil {
			ymin, ymax = least(ymin, r.Low), most(ymax, r.High)
		}
	}
	return
}

const markRadius = 4

func (m Marks) draw(c *draw.Canvas, at transform) {
	for _, p := range m {
		named(c, p.Label, p.Link, func() { p.draw(c, at) })
	}
	m.drawTags(c, at)
}

func (p Mark) draw(c *draw.Canvas, at transform) {
	x, y := at.x(p.X), at.y(p.Y)
	whisker := draw.LineStyle{Color: p.Ink, Width: 1}
	const cap = 3
	if r := p.XRange; r != nil && r.High > r.Low {
		c.StrokeLine2(whisker, at.x(r.Low), y, at.x(r.High), y)
		c.StrokeLine2(whisker, at.x(r.Low), y-cap, at.x(r.Low), y+cap)
		c.StrokeLine2(whisker, at.x(r.High), y-cap, at.x(r.High), y+cap)
	}
	if r := p.YRange; r != nil && r.High > r.Low {
		c.StrokeLine2(whisker, x, at.y(r.Low), x, at.y(r.High))
		c.StrokeLine2(whisker, x-cap, at.y(r.Low), x+cap, at.y(r.Low))
		c.StrokeLine2(whisker, x-cap, at.y(r.High), x+cap, at.y(r.High))
	}
	radius := vg.Length(p.Radius)
	if radius == 0 {
		radius = markRadius
	}
	c.SetColor(p.Ink)
	c.Fill(p.Shape.path(vg.Point{X: x, Y: y}, radius))
	if p.Front {
		c.SetLineStyle(draw.LineStyle{Color: InkFront, Width: lineWidth})
		c.Stroke(circle.path(vg.Point{X: x, Y: y}, markRadius+3.5))
	}
}

// drawTags writes the names of the marks on the front where there is room:
// beside no other name, on no other mark, within the chart.
func (m Marks) drawTags(c *draw.Canvas, at transform) {
	var taken []vg.Rectangle
	for _, p := range m {
		x, y := at.x(p.X), at.y(p.Y)
		taken = append(taken, box(x-markRadius-1, y-markRadius-1, 2*markRadius+2, 2*markRadius+2))
	}
	text := style(smallSize, inkText, draw.XLeft, draw.YCenter, false)
	const height, gap = 14, 10
	for i := len(m) - 1; i >= 0; i-- { // from the last one, the best
		p := m[i]
		if p.Tag == "" || !p.Front {
			continue
		}
		x, y, width := at.x(p.X), at.y(p.Y), text.Width(p.Tag)
		for _, place := range []vg.Point{
			{X: x + gap, Y: y}, {X: x - gap - width, Y: y},
			{X: x + gap - 4, Y: y + 12}, {X: x + gap - 4, Y: y - 12},
			{X: x - width/2, Y: y + 16}, {X: x - width/2, Y: y - 16},
			{X: x - gap - width + 4, Y: y + 12}, {X: x - gap - width + 4, Y: y - 12},
			{X: c.Max.X - width, Y: y + 16}, {X: c.Max.X - width, Y: y - 16}, {X: c.Max.X - width, Y: y + 28},
		} {
			label := box(place.X, place.Y-height/2, width, height)
			if label.Min.X < c.Min.X || label.Max.X > c.Max.X+8 || label.Min.Y < c.Min.Y || label.Max.Y > c.Max.Y+6 ||
				overlaps(label, taken, i) {
				continue
			}
			c.FillText(text, place, p.Tag)
			taken = append(taken, label)
			break
		}
	}
}

func box(x, y, w, h vg.Length) vg.Rectangle {
	return vg.Rectangle{Min: vg.Point{X: x, Y: y}, Max: vg.Point{X: x + w, Y: y + h}}
}

func overlaps(b vg.Rectangle, taken []vg.Rectangle, but int) bool {
	for i, t := range taken {
		if i != but && b.Min.X < t.Max.X && t.Min.X < b.Max.X && b.Min.Y < t.Max.Y && t.Min.Y < b.Max.Y {
			return true
		}
	}
	return false
}

// named draws what has a name and a link, on a canvas that knows such things.
func named(c *draw.Canvas, label, link string, shape func()) {
	inner := c.Canvas
	for wrapped, is := inner.(draw.Canvas); is; wrapped, is = inner.(draw.Canvas) {
		inner = wrapped.Canvas // a part of a canvas is a canvas around it
	}
	m, ok := inner.(marker)
	if !ok || label == "" {
		shape()
		return
	}
	m.begin(label, link)
	shape()
	m.end(link)
}

// A Point is a place in a chart.
type Point struct{ X, Y float64 }

// Dots are points without names: thousands of them are one shape.
type Dots struct {
	Points []Point
	Ink    Ink
}

func (d Dots) span() (xmin, xmax, ymin, ymax float64) { return spanOf(d.Points) }

func (d Dots) draw(c *draw.Canvas, at transform) {
	var path vg.Path
	for _, p := range d.Points {
		path = append(path, square.path(vg.Point{X: at.x(p.X), Y: at.y(p.Y)}, 1.25)...)
	}
	if len(path) > 0 {
		c.SetColor(d.Ink)
		c.Fill(path)
	}
}

// A Line joins points. A NaN interrupts it.
type Line struct {
	Points []Point
	Ink    Ink
	Width  float64 // in pixels; that of lines in general when 0
	Dashed bool
	Step   bool // each value lasts until the next
}

func (l Line) span() (xmin, xmax, ymin, ymax float64) { return spanOf(l.Points) }

func (l Line) draw(c *draw.Canvas, at transform) {
	line := draw.LineStyle{Color: l.Ink, Width: vg.Length(l.Width)}
	if l.Width == 0 {
		line.Width = lineWidth
	}
	if l.Dashed {
		line.Dashes = []vg.Length{5, 4}
	}
	var pieces [][]vg.Point
	var piece []vg.Point
	for _, p := range append(slices.Clip(l.Points), Point{math.NaN(), math.NaN()}) {
		if math.IsNaN(p.X) || math.IsNaN(p.Y) {
			if len(piece) > 0 {
				pieces = append(pieces, piece)
			}
			piece = nil
			continue
		}
		next := vg.Point{X: at.x(p.X), Y: at.y(p.Y)}
		if l.Step && len(piece) > 0 {
			piece = append(piece, vg.Point{X: next.X, Y: piece[len(piece)-1].Y})
		}
		piece = append(piece, next)
	}
	for _, piece := range pieces {
		c.StrokeLines(line, piece)
	}
}

func spanOf(points []Point) (xmin, xmax, ymin, ymax float64) {
	xmin, xmax, ymin, ymax = math.NaN(), math.NaN(), math.NaN(), math.NaN()
	for _, p := range points {
		if !math.IsNaN(p.Y) {
			xmin, xmax, ymin, ymax = least(xmin, p.X), most(xmax, p.X), least(ymin, p.Y), most(ymax, p.Y)
		}
	}
	return
}
