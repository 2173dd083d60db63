package chart

import (
	"fmt"
	"image/color"
	"strings"
)

// An Ink is a colour by its role. In SVG it is a class, fill-NAME or
// stroke-NAME, that the page's style sheet gives a colour for light and one
// for dark; in PNG it is the light one.
type Ink struct {
	name  string
	light color.NRGBA
}

// RGBA makes an Ink a color.Color.
func (i Ink) RGBA() (r, g, b, a uint32) { return i.light.RGBA() }

// Inks of a chart's frame and of what stands out.
var (
	inkText  = Ink{"text", rgb(0x1c2733)}
	inkMuted = Ink{"muted", rgb(0x5c6b7a)}
	inkAxis  = Ink{"axis", rgb(0x9aa7b4)}
	inkGrid  = Ink{"grid", rgb(0xe3e8ed)}
	inkPaper = Ink{"paper", rgb(0xffffff)}
	inkBand  = Ink{"band", rgb(0xeef3f8)}
	InkFront = Ink{"front", rgb(0xb3401f)}
)

// Series is the ink of the i-th series; after the last they begin again.
func Series(i int) Ink { return seriesInks[i%len(seriesInks)] }

// seriesInks are told apart by those who see few colours too (after Okabe and Ito),
// and a line has a shape beside its ink.
var seriesInks = [...]Ink{
	{"s0", rgb(0x2b6cb0)}, {"s1", rgb(0xc9741a)}, {"s2", rgb(0x2f8a6b)}, {"s3", rgb(0xa8467c)},
	{"s4", rgb(0x6f63b8)}, {"s5", rgb(0x7d7420)}, {"s6", rgb(0x4a98b8)}, {"s7", rgb(0x66717c)},
}

// fileStyle is the style sheet of an SVG file, where no page gives inks their colours.
func fileStyle() string {
	inks := []Ink{inkText, inkMuted, inkAxis, inkGrid, inkPaper, inkBand, InkFront}
	for i := range seriesInks {
		inks = append(inks, Series(i))
	}
	var b strings.Builder
	b.WriteString(`svg{font:12px "Liberation Sans",Arial,Helvetica,sans-serif}path{fill:none;stroke-linejoin:round}.strong{font-weight:700}`)
	for _, ink := range inks {
		hex := fmt.Sprintf("#%02x%02x%02x", ink.light.R, ink.light.G, ink.light.B)
		fmt.Fprintf(&b, ".fill-%[1]s{fill:%[2]s}.stroke-%[1]s{stroke:%[2]s}", ink.name, hex)
	}
	return b.String()
}

func rgb(hex uint32) color.NRGBA {
	return color.NRGBA{R: uint8(hex >> 16), G: uint8(hex >> 8), B: uint8(hex), A: 0xff}
}
