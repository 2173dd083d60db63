package chart

import (
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A Group is bars under a heading: one topology under several loads.
type Group struct {
	Label string
	Bars  []Bar
}

// A Bar is one value from 0 on, to the right.
type Bar struct {
	Value  float64
	Range  *Range
	Figure string // written behind the bar
	Label  string // what hovering and focusing say
	Link   string
	Ink    Ink
}

// Pixels of a group's parts.
const (
	groupLabel = 18
	barHeight  = 13
	barGap     = 3
	groupGap   = 9
)

// Bars is a chart of horizontal bars in groups. Each group's heading stands
// above its bars, where it has room whatever its length.
func Bars(groups []Group) Chart {
	layer := bars{groups: groups}
	return Chart{
		X: Axis{Zero: true}, Y: Axis{Plain: true, Zero: true},
		Layers: []Layer{layer}, Height: layer.height(),
	}
}

type bars struct{ groups []Group }

func (b bars) height() float64 {
	var h float64
	for _, g := range b.groups {
		h += groupLabel + float64(len(g.Bars))*(barHeight+barGap) + groupGap
	}
	return h
}

func (b bars) fit(x, y *extent) {
	x.fit(0)
	y.fit(0, b.height())
	for _, g := range b.groups {
		for _, bar := range g.Bars {
			high := bar.Value
			if bar.Range != nil {
				high = max(high, bar.Range.High)
			}
			// Room for the figure behind the longest bar.
			x.fit(high * 1.28)
		}
	}
}

func (b bars) draw(c *draw.Canvas, at transform) {
	top := b.height()
	label := style(textSize, inkText, draw.XLeft, draw.YTop, false)
	figure := style(smallSize, inkMuted, draw.XLeft, draw.YCenter, false)
	for _, g := range b.groups {
		c.FillText(label, vg.Point{X: at.x(0) + 1, Y: at.y(top) - 2}, g.Label)
		top -= groupLabel
		for _, bar := range g.Bars {
			low, high := at.y(top-barHeight), at.y(top)
			middle, end := (low+high)/2, at.x(bar.Value)
			named(c, bar.Label, bar.Link, func() {
				c.SetColor(bar.Ink)
				c.Fill(box(at.x(0), low, end-at.x(0), high-low).Path())
				if r := bar.Range; r != nil {
					r.draw(c, inkText, vg.Point{X: at.x(r.Low), Y: middle}, vg.Point{X: at.x(r.High), Y: middle})
					end = max(end, at.x(r.High))
				}
			})
			c.FillText(figure, vg.Point{X: end + 6, Y: middle}, bar.Figure)
			top -= barHeight + barGap
		}
		top -= groupGap
	}
}

// Columns is a histogram: how many values fell between From and To.
type Columns struct {
	Bins []Bin
	Ink  Ink
}

// A Bin of Columns.
type Bin struct {
	From, To float64
	Count    float64
	Label    string
}

func (h Columns) fit(x, y *extent) {
	y.fit(0)
	for _, b := range h.Bins {
		x.fit(b.From, b.To)
		y.fit(b.Count)
	}
}

func (h Columns) draw(c *draw.Canvas, at transform) {
	for _, b := range h.Bins {
		if b.Count == 0 {
			continue
		}
		from, to := at.x(b.From), at.x(b.To)
		named(c, b.Label, "", func() {
			c.SetColor(h.Ink)
			c.Fill(box(from+0.5, c.Min.Y, max(to-from-1, 0.75), at.y(b.Count)-c.Min.Y).Path())
		})
	}
}

// A Rule is a labelled place: a line across the chart, its label at the top,
// below the labels that would be in its way.
type Rule struct {
	At    float64
	Label string
}

// Rules mark places along the horizontal axis.
type Rules []Rule

func (r Rules) fit(x, _ *extent) {
	for _, rule := range r {
		x.fit(rule.At)
	}
}

func (r Rules) draw(c *draw.Canvas, at transform) {
	text := style(smallSize, inkText, draw.XLeft, draw.YTop, false)
	var taken []vg.Rectangle
	for _, rule := range r {
		x, width := at.x(rule.At), text.Width(rule.Label)
		c.StrokeLine2(draw.LineStyle{Color: inkMuted, Width: 1, Dashes: []vg.Length{3, 3}}, x, c.Min.Y, x, c.Max.Y)
		left := x + 4
		if left+width > c.Max.X+8 {
			left = x - 4 - width
		}
		y := c.Max.Y
		for overlaps(box(left, y-13, width, 13), taken, -1) && y > c.Min.Y+13 {
			y -= 13
		}
		taken = append(taken, box(left-2, y-13, width+4, 13))
		c.FillText(text, vg.Point{X: left, Y: y}, rule.Label)
	}
}

// A Band is a stretch of the horizontal axis with a name: a phase of a trial.
type Band struct {
	From, To float64
	Label    string
	Strong   bool // has a ground of its own
}

// Bands divide a chart by the horizontal axis.
type Bands []Band

func (b Bands) fit(x, _ *extent) {
	for _, band := range b {
		x.fit(band.From, band.To)
	}
}

func (b Bands) draw(c *draw.Canvas, at transform) {
	text := style(smallSize, inkMuted, draw.XLeft, draw.YTop, false)
	for _, band := range b {
		from, to := at.x(band.From), at.x(band.To)
		named(c, band.Label, "", func() {
			ink := inkPaper
			if band.Strong {
				ink = inkBand
			}
			c.SetColor(ink)
			c.Fill(box(from, c.Min.Y, to-from, c.Max.Y-c.Min.Y).Path())
		})
		// Phases shorter than some pixels would be nothing but borders.
		if to-from >= 8 {
			c.StrokeLine2(draw.LineStyle{Color: inkGrid, Width: 1}, from, c.Min.Y, from, c.Max.Y)
		}
		switch {
		case band.Strong:
			c.FillText(text, vg.Point{X: min(from+4, c.Max.X-text.Width(band.Label)), Y: c.Max.Y - 15}, band.Label)
		case text.Width(band.Label)+8 <= to-from:
			c.FillText(text, vg.Point{X: from + 4, Y: c.Max.Y - 1}, band.Label)
		}
	}
}
