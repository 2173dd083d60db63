package chart

import (
	"math"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A Range is an interval or a spread that is drawn as a whisker.
type Range struct{ Low, High float64 }

// draw draws a whisker between its ends, with a bar across each.
func (r Range) draw(c *draw.Canvas, ink Ink, low, high vg.Point) {
	if r.High <= r.Low {
		return
	}
	line, across := draw.LineStyle{Color: ink, Width: 1}, vg.Point{X: 3}
	if low.Y == high.Y {
		across = vg.Point{Y: 3}
	}
	c.StrokeLines(line, []vg.Point{low, high}, []vg.Point{low.Sub(across), low.Add(across)}, []vg.Point{high.Sub(across), high.Add(across)})
}

// A Mark is a point that stands for a cell: it has a name and can be a link.
type Mark struct {
	X, Y   float64
	XRange *Range
	YRange *Range
	Label  string // what hovering and focusing say
	Link   string
	Ink    Ink
	Shape  Shape
	Front  bool    // has a ring, and its Tag is written beside it where there is room
	Tag    string  // its short name
	Radius float64 // in pixels; that of marks in general when 0
}

// Marks are points.
type Marks []Mark

func (m Marks) fit(x, y *extent) {
	for _, p := range m {
		x.fit(p.X)
		y.fit(p.Y)
		if r := p.XRange; r != nil {
			x.fit(r.Low, r.High)
		}
		if r := p.YRange; r != nil {
			y.fit(r.Low, r.High)
		}
	}
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
	if r := p.XRange; r != nil {
		r.draw(c, p.Ink, vg.Point{X: at.x(r.Low), Y: y}, vg.Point{X: at.x(r.High), Y: y})
	}
	if r := p.YRange; r != nil {
		r.draw(c, p.Ink, vg.Point{X: x, Y: at.y(r.Low)}, vg.Point{X: x, Y: at.y(r.High)})
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

func (m Marks) drawTags(c *draw.Canvas, at transform) {
	text := style(smallSize, inkText, draw.XLeft, draw.YCenter, false)
	for _, t := range m.placeTags(c.Rectangle, at, text.Width) {
		if t.led {
			c.StrokeLine2(draw.LineStyle{Color: inkAxis, Width: 1}, t.from.X, t.from.Y, t.to.X, t.to.Y)
		}
		c.FillText(text, vg.Point{X: t.box.Min.X, Y: (t.box.Min.Y + t.box.Max.Y) / 2}, t.name)
	}
}

// A tag is the name of a mark, and where it is written.
type tag struct {
	name     string
	mark     int
	box      vg.Rectangle
	led      bool // a line leads from the mark to the name
	from, to vg.Point
}

const (
	markRoom  = markRadius + 4 // around the centre of a mark, its ring included
	tagHeight = 14
)

// placeTags finds places for the names of the marks on the front: within the
// chart, on no mark and on no other name. A name stands close to its own mark, or
// further away where that is the nearest one by far, or a line leads to it. One
// without any such place is left to hovering.
func (m Marks) placeTags(area vg.Rectangle, at transform, width func(string) vg.Length) []tag {
	var tags []tag
	var taken []vg.Rectangle
	centre := func(i int) vg.Point { return vg.Point{X: at.x(m[i].X), Y: at.y(m[i].Y)} }
	for i := range m {
		taken = append(taken, box(centre(i).X-markRoom, centre(i).Y-markRoom, 2*markRoom, 2*markRoom))
	}
	area.Max = area.Max.Add(vg.Point{X: 8, Y: 6})
	for i := len(m) - 1; i >= 0; i-- { // from the last one, the best
		if m[i].Tag == "" || !m[i].Front {
			continue
		}
		w, p := width(m[i].Tag), centre(i)
		for _, away := range []vg.Length{markRoom + 2, 24, 36, 50, 68, 90} {
			t, found := tag{name: m[i].Tag, mark: i, led: away > 24}, false
			for _, side := range []vg.Point{{X: 1}, {X: -1}, {X: 0.7, Y: 0.7}, {X: 0.7, Y: -0.7}, {Y: 1}, {Y: -1}, {X: -0.7, Y: 0.7}, {X: -0.7, Y: -0.7}} {
				edge := p.Add(side.Scale(away)) // of the name, on the side of the mark
				t.box = box(edge.X+(side.X-1)*w/2, edge.Y+(side.Y-1)*tagHeight/2, w, tagHeight)
				if side.X == 0.7 || side.X == -0.7 {
					t.box = box(edge.X-w*vg.Length((1-math.Copysign(1, float64(side.X)))/2), edge.Y-tagHeight/2, w, tagHeight)
				}
				t.from, t.to = p.Add(side.Scale(markRoom)), nearest(t.box, p)
				if found = t.fits(area, taken) && (t.led || m.own(t, centre)); found {
					break
				}
			}
			if found {
				tags = append(tags, t)
				taken = append(taken, t.box)
				for _, on := range t.line() {
					taken = append(taken, box(on.X-1, on.Y-1, 2, 2))
				}
				break
			}
		}
	}
	return tags
}

// fits reports whether a tag, and the line that leads to it, are within the area
// and on nothing that is taken.
func (t tag) fits(area vg.Rectangle, taken []vg.Rectangle) bool {
	if t.box.Min.X < area.Min.X || t.box.Max.X > area.Max.X || t.box.Min.Y < area.Min.Y || t.box.Max.Y > area.Max.Y || overlaps(t.box, taken, -1) {
		return false
	}
	for _, on := range t.line() {
		if overlaps(box(on.X, on.Y, 0.1, 0.1), taken, t.mark) {
			return false
		}
	}
	return true
}

// line is the leading line as points, close to each other; none without one.
func (t tag) line() (points []vg.Point) {
	for part := vg.Length(0); t.led && part < 1; part += 0.05 {
		points = append(points, t.from.Add(t.to.Sub(t.from).Scale(part)))
	}
	return points
}

// own reports whether a tag without a line is plainly that of its mark: every
// other one is half as far again away.
func (m Marks) own(t tag, centre func(int) vg.Point) bool {
	distance := func(i int) float64 {
		d := nearest(t.box, centre(i)).Sub(centre(i))
		return math.Hypot(float64(d.X), float64(d.Y))
	}
	for i := range m {
		if i != t.mark && distance(i) < 1.5*distance(t.mark) {
			return false
		}
	}
	return true
}

// nearest is the point of a rectangle that is nearest to another one.
func nearest(b vg.Rectangle, p vg.Point) vg.Point {
	return vg.Point{X: min(max(p.X, b.Min.X), b.Max.X), Y: min(max(p.Y, b.Min.Y), b.Max.Y)}
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

func (d Dots) fit(x, y *extent) { fitPoints(d.Points, x, y) }

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

func (l Line) fit(x, y *extent) { fitPoints(l.Points, x, y) }

func (l Line) draw(c *draw.Canvas, at transform) {
	line := draw.LineStyle{Color: l.Ink, Width: vg.Length(l.Width)}
	if l.Width == 0 {
		line.Width = lineWidth
	}
	if l.Dashed {
		line.Dashes = []vg.Length{5, 4}
	}
	var piece []vg.Point
	for _, p := range append(slices.Clip(l.Points), Point{math.NaN(), math.NaN()}) {
		if math.IsNaN(p.X) || math.IsNaN(p.Y) {
			if len(piece) > 0 {
				c.StrokeLines(line, piece)
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
}

func fitPoints(points []Point, x, y *extent) {
	for _, p := range points {
		if !math.IsNaN(p.Y) {
			x.fit(p.X)
			y.fit(p.Y)
		}
	}
}
