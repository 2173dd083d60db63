package chart

import (
	"math"
	"strconv"

	stdfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// style is how a text looks. The face is Liberation Sans, which is as wide as
// Arial: what is measured here fits in a browser too.
func style(size float64, ink Ink, x text.XAlignment, y text.YAlignment, bold bool) text.Style {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Length(size)}
	if bold {
		f.Weight = stdfont.WeightBold
	}
	return text.Style{Color: ink, Font: f, XAlign: x, YAlign: y, Handler: plot.DefaultTextHandler}
}

// set gives gonum's axis its range and its ticks, about so many.
func (a Axis) set(axis *plot.Axis, of extent, ticks float64) {
	if math.IsNaN(of.low) {
		of.fit(0, 1)
	}
	if a.Min != 0 || a.Max != 0 {
		of.fit(a.Min, a.Max)
	}
	low, high := of.low, of.high
	axis.Padding = 0
	axis.Tick.Length = 4
	axis.Tick.LineStyle = draw.LineStyle{Color: inkAxis, Width: 0}
	axis.LineStyle = draw.LineStyle{Color: inkAxis, Width: 1}
	axis.Tick.Label = style(smallSize, inkMuted, axis.Tick.Label.XAlign, axis.Tick.Label.YAlign, false)
	switch {
	case a.Log && low > 0:
		axis.Scale = plot.LogScale{}
		margin := math.Pow(high/low, 0.04)
		if high == low {
			margin = 1.3
		}
		axis.Min, axis.Max = low/margin, high*margin
	case a.Zero:
		axis.Min, axis.Max = min(0, low), high
		if axis.Max <= axis.Min {
			axis.Max = axis.Min + 1
		}
		if len(a.Ticks) == 0 && a.Max == 0 && !a.Plain {
			axis.Max += 0.06 * (axis.Max - axis.Min)
		}
	default:
		margin := 0.05 * (high - low)
		if margin == 0 {
			margin = max(math.Abs(low)*0.05, 0.5)
		}
		axis.Min, axis.Max = low-margin, high+margin
	}
	if len(a.Ticks) > 0 {
		var fixed plot.ConstantTicks
		for _, t := range a.Ticks {
			fixed = append(fixed, plot.Tick{Value: t.At, Label: t.Label})
		}
		axis.Tick.Marker = fixed
		return
	}
	axis.Tick.Marker = plot.ConstantTicks(roundTicks(axis.Min, axis.Max, ticks, a.Log && low > 0))
}

// roundTicks are values that are easy to read, about as many as wanted.
func roundTicks(low, high, wanted float64, log bool) []plot.Tick {
	var ticks []plot.Tick
	add := func(value float64, decimals int) {
		if value >= low-1e-9*(high-low) && value <= high+1e-9*(high-low) {
			if value == 0 {
				value = 0 // and not -0
			}
			ticks = append(ticks, plot.Tick{Value: value, Label: strconv.FormatFloat(value, 'f', decimals, 64)})
		}
	}
	if log {
		for _, steps := range [][]float64{{1}, {1, 3}, {1, 2, 5}, {1, 1.5, 2, 3, 4, 5, 6, 8}} {
			ticks = nil
			for decade := math.Floor(math.Log10(low)); decade <= math.Ceil(math.Log10(high)); decade++ {
				for _, step := range steps {
					value := step * math.Pow(10, decade)
					decimals := max(0, -int(decade))
					if step != math.Trunc(step) {
						decimals = max(0, 1-int(decade))
					}
					add(value, decimals)
				}
			}
			if len(ticks) >= 3 {
				return ticks
			}
		}
		return ticks
	}
	raw := (high - low) / max(wanted, 2)
	magnitude := math.Pow(10, math.Floor(math.Log10(raw)))
	step := 10 * magnitude
	for _, nice := range []float64{1, 2, 2.5, 5} {
		if nice*magnitude >= raw {
			step = nice * magnitude
			break
		}
	}
	decimals := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	if step < 10 && math.Abs(step/math.Pow(10, math.Floor(math.Log10(step)+1e-9))-2.5) < 1e-6 {
		decimals++
	}
	for i := math.Ceil(low/step - 1e-9); i*step <= high+1e-9*(high-low); i++ {
		add(i*step, decimals)
	}
	return ticks
}

// grid draws a line at each tick.
type grid struct{ x, y bool }

func (g grid) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	line := draw.LineStyle{Color: inkGrid, Width: 1}
	if g.y {
		for _, tick := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
			c.StrokeLine2(line, c.Min.X, y(tick.Value), c.Max.X, y(tick.Value))
		}
	}
	if g.x {
		for _, tick := range p.X.Tick.Marker.Ticks(p.X.Min, p.X.Max) {
			c.StrokeLine2(line, x(tick.Value), c.Min.Y, x(tick.Value), c.Max.Y)
		}
	}
}
