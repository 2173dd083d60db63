package chart

import (
	"bytes"
	"fmt"
	"html"
	"image"
	"image/color"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
)

// A canvas is a vg.Canvas that writes SVG without a single style: shapes have
// classes, and the page says what those look like.
type canvas struct {
	width, height float64
	out           bytes.Buffer
	now           state
	stack         []state
}

type state struct {
	ink   Ink
	width vg.Length
	dash  []vg.Length
}

// A marker is a canvas whose shapes can be named and linked. Other canvases
// just draw them.
type marker interface {
	begin(label, link string)
	end(link string)
}

// begin starts what one name, and one link where there is one, belong to.
func (c *canvas) begin(label, link string) {
	if link != "" {
		fmt.Fprintf(&c.out, `<a href="%s" class="mark" aria-label="%s">`, html.EscapeString(link), html.EscapeString(label))
	} else {
		c.out.WriteString(`<g class="mark">`)
	}
	fmt.Fprintf(&c.out, `<title>%s</title>`, html.EscapeString(label))
}

func (c *canvas) end(link string) {
	if link != "" {
		c.out.WriteString(`</a>`)
	} else {
		c.out.WriteString(`</g>`)
	}
}

func (c *canvas) Size() (x, y vg.Length)       { return vg.Length(c.width), vg.Length(c.height) }
func (c *canvas) SetLineWidth(width vg.Length) { c.now.width = width }
func (c *canvas) SetLineDash(pattern []vg.Length, _ vg.Length) {
	c.now.dash = pattern
}

func (c *canvas) SetColor(clr color.Color) {
	c.now.ink = inkText
	if ink, ok := clr.(Ink); ok {
		c.now.ink = ink
	}
}

func (c *canvas) Push() { c.stack = append(c.stack, c.now) }
func (c *canvas) Pop() {
	c.now, c.stack = c.stack[len(c.stack)-1], c.stack[:len(c.stack)-1]
}

// Nothing in a chart is turned, scaled or moved, or an image.
func (c *canvas) Rotate(float64)                      {}
func (c *canvas) Scale(float64, float64)              {}
func (c *canvas) Translate(vg.Point)                  {}
func (c *canvas) DrawImage(vg.Rectangle, image.Image) {}

// place is where a point is in the SVG, whose y grows downwards.
func (c *canvas) place(p vg.Point) (x, y float64) { return float64(p.X), c.height - float64(p.Y) }

func (c *canvas) Stroke(path vg.Path) {
	if c.now.width <= 0 {
		return
	}
	fmt.Fprintf(&c.out, `<path class="stroke-%s" d="%s"`, c.now.ink.name, c.data(path))
	if c.now.width != 1 {
		fmt.Fprintf(&c.out, ` stroke-width="%s"`, short(float64(c.now.width)))
	}
	if len(c.now.dash) > 0 {
		fmt.Fprintf(&c.out, ` stroke-dasharray="%s"`, strings.Trim(fmt.Sprint(c.now.dash), "[]"))
	}
	c.out.WriteString(`/>`)
}

func (c *canvas) Fill(path vg.Path) {
	fmt.Fprintf(&c.out, `<path class="fill-%s" d="%s"/>`, c.now.ink.name, c.data(path))
}

// data is a path in SVG's words. Circles are all the arcs that charts have.
func (c *canvas) data(path vg.Path) string {
	var b bytes.Buffer
	for _, part := range path {
		x, y := c.place(part.Pos)
		switch part.Type {
		case vg.MoveComp:
			fmt.Fprintf(&b, "M%s %s", short(x), short(y))
		case vg.LineComp:
			fmt.Fprintf(&b, "L%s %s", short(x), short(y))
		case vg.ArcComp:
			r := float64(part.Radius)
			fmt.Fprintf(&b, "M%s %sa%s %s 0 1 0 %s 0a%[3]s %[3]s 0 1 0 -%[5]s 0", short(x-r), short(y), short(r), short(r), short(2*r))
		case vg.CloseComp:
			b.WriteByte('Z')
		}
	}
	return b.String()
}

func (c *canvas) FillString(f font.Face, at vg.Point, text string) {
	x, y := c.place(at)
	class := "fill-" + c.now.ink.name
	if f.Font.Weight > 0 {
		class += " strong"
	}
	fmt.Fprintf(&c.out, `<text class="%s" x="%s" y="%s"`, class, short(x), short(y))
	if f.Font.Size != textSize {
		fmt.Fprintf(&c.out, ` font-size="%s"`, short(float64(f.Font.Size)))
	}
	// Whatever face the browser takes, the text is as wide as it was measured.
	if text != "" {
		fmt.Fprintf(&c.out, ` textLength="%s" lengthAdjust="spacingAndGlyphs"`, short(float64(f.Width(text))))
	}
	fmt.Fprintf(&c.out, `>%s</text>`, html.EscapeString(text))
}

// short is a coordinate to a tenth of a pixel.
func short(v float64) string {
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}
