// Package chart draws the charts of a report: as SVG that takes its colours
// from the page around it, so that it follows light and dark, and as PNG for
// a chat or a slide.
//
// Axes, ticks, text and rasterising are gonum's plot. Its own SVG writer is
// not used: it puts colours and fonts into style attributes, which a page with
// a strict content security policy must not have and which cannot change with
// the reader's colours, and it has no way to link or name a point.
package chart

import (
	"fmt"
	"html"
	"io"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// A Chart is layers over two axes. Its texts are written as they are: control
// characters have to be gone.
type Chart struct {
	Name  string // tells it from the others of a page: lower-case letters, digits and -
	Title string // PNG only; a page has its own title above the chart
	Text  string // what it shows, for those who do not see it

	X, Y   Axis
	Legend []Key
	Layers []Layer

	// Height in pixels of the part that shows data, at any width.
	Height float64
}

// An Axis is one of the two directions of a chart.
type Axis struct {
	Label string // with its unit
	Log   bool
	Zero  bool // begin at 0
	Plain bool // no axis at all: rows that say themselves what they are

	// Ticks, where they are not chosen by value.
	Ticks []Tick

	// Min and Max extend what the layers need; both 0 leave it to them.
	Min, Max float64
}

// A Tick is a labelled place on an axis.
type Tick struct {
	At    float64
	Label string
}

// A Key says what an ink means.
type Key struct {
	Label string
	Ink   Ink
	Shape Shape
}

// A Layer is one thing that a chart shows.
type Layer interface {
	// fit extends both directions by the values that have to fit.
	fit(x, y *extent)
	draw(c *draw.Canvas, at transform)
}

// An extent is the smallest and the largest value of a direction, both NaN as long
// as there are none.
type extent struct{ low, high float64 }

func (e *extent) fit(values ...float64) {
	for _, v := range values {
		if math.IsNaN(e.low) {
			e.low, e.high = v, v
		}
		e.low, e.high = min(e.low, v), max(e.high, v)
	}
}

// A transform places a value on the canvas.
type transform struct {
	x, y func(float64) vg.Length
	wide bool // there is room for labels beside the points
}

// Widths in pixels that charts are drawn for: a page on a desk, a phone, and
// half a page or a phone.
const (
	Wide   = 1030
	Narrow = 360
)

const (
	textSize  = 12
	smallSize = 11
	lineWidth = 1.75
)

// SVG is the chart as an svg element of the given width. Its role is group, not
// img: what is inside can be a link.
func (c Chart) SVG(width float64) string {
	svg := &canvas{width: width, height: c.height(width), now: state{ink: inkText, width: 1}}
	c.paint(draw.NewCanvas(svg, vg.Length(width), vg.Length(svg.height)), width, false)
	w, h := short(width), short(svg.height)
	return fmt.Sprintf(`<svg viewBox="0 0 %s %s" width="%s" height="%s" role="group" aria-label="%s">%s</svg>`,
		w, h, w, h, html.EscapeString(c.Text), svg.out.Bytes())
}

// File is the chart with its title as an SVG file, in the colours of a light page.
func (c Chart) File(width float64) string {
	svg := &canvas{width: width, height: c.height(width) + titleHeight, now: state{ink: inkText, width: 1}}
	c.paint(draw.NewCanvas(svg, vg.Length(width), vg.Length(svg.height)), width, true)
	w, h := short(width), short(svg.height)
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" width="%s" height="%s" role="img" aria-label="%s"><style>%s</style>%s</svg>
`, w, h, w, h, html.EscapeString(c.Text), fileStyle(), svg.out.Bytes())
}

// pngDPI makes two pixels of each of the SVG's, for dense screens.
const pngDPI = 144

// PNG writes the chart with its title, in the colours of a light page.
func (c Chart) PNG(w io.Writer, width float64) error {
	height := c.height(width) + titleHeight
	img := vgimg.NewWith(vgimg.UseWH(vg.Length(width), vg.Length(height)), vgimg.UseDPI(pngDPI))
	c.paint(draw.NewCanvas(img, vg.Length(width), vg.Length(height)), width, true)
	if _, err := (vgimg.PngCanvas{Canvas: img}).WriteTo(w); err != nil {
		return fmt.Errorf("draw chart %s: %w", c.Name, err)
	}
	return nil
}

const (
	titleHeight  = 30
	legendLine   = 20
	labelHeight  = 20 // of the vertical axis's label, above it
	axisHeight   = 22 // of the horizontal axis's ticks
	bottomMargin = 8
)

func (c Chart) height(width float64) float64 {
	height := c.Height + float64(len(c.legendLines(width)))*legendLine + bottomMargin
	if c.Y.Label != "" {
		height += labelHeight
	}
	if !c.X.Plain {
		height += axisHeight
	}
	if c.X.Label != "" {
		height += labelHeight
	}
	return height
}

// paint draws everything from top to bottom.
func (c Chart) paint(canvas draw.Canvas, width float64, titled bool) {
	top := canvas.Max.Y
	if titled {
		canvas.SetColor(inkPaper)
		canvas.Fill(canvas.Rectangle.Path())
		canvas.FillText(style(textSize+2, inkText, draw.XLeft, draw.YTop, true), vg.Point{X: canvas.Min.X + 10, Y: top - 8}, c.Title)
		top -= titleHeight
	}
	for _, line := range c.legendLines(width) {
		for _, key := range line {
			key.draw(&canvas, top-legendLine/2)
		}
		top -= legendLine
	}
	if c.Y.Label != "" {
		canvas.FillText(style(smallSize, inkMuted, draw.XLeft, draw.YTop, false), vg.Point{X: canvas.Min.X + 2, Y: top - 2}, c.Y.Label)
		top -= labelHeight
	}
	bottom := canvas.Min.Y + bottomMargin/2
	if c.X.Label != "" {
		canvas.FillText(style(smallSize, inkMuted, draw.XRight, draw.YBottom, false), vg.Point{X: canvas.Max.X - 10, Y: bottom}, c.X.Label)
		bottom += labelHeight
	}
	area := draw.Canvas{Canvas: canvas.Canvas, Rectangle: vg.Rectangle{
		Min: vg.Point{X: canvas.Min.X + 4, Y: bottom}, Max: vg.Point{X: canvas.Max.X - 10, Y: top - 6},
	}}
	c.plot(width).Draw(area)
}

// plot sets gonum's plot up.
func (c Chart) plot(width float64) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	x, y := extent{math.NaN(), math.NaN()}, extent{math.NaN(), math.NaN()}
	for _, layer := range c.Layers {
		layer.fit(&x, &y)
	}
	c.X.set(&p.X, x, width/90)
	c.Y.set(&p.Y, y, c.Height/38)
	if c.X.Plain {
		p.HideX()
	}
	if c.Y.Plain {
		p.HideY()
	}
	p.X.LineStyle.Color, p.Y.LineStyle.Width = inkAxis, 0
	p.Add(grid{x: c.Y.Plain, y: !c.Y.Plain})
	for _, layer := range c.Layers {
		p.Add(plotter{layer, width >= (Wide+Narrow)/2})
	}
	return p
}

// A plotter is a layer as gonum calls it.
type plotter struct {
	layer Layer
	wide  bool
}

func (l plotter) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	l.layer.draw(&c, transform{x, y, l.wide})
}
