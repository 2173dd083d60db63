package chart

import "image/color"

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

// Series is the ink of the i-th series; after the last they begin again. They
// are told apart by those who see few colours too (after Okabe and Ito), and a
// line has a shape beside its ink.
func Series(i int) Ink {
	all := [...]Ink{
		{"s0", rgb(0x2b6cb0)}, {"s1", rgb(0xc9741a)}, {"s2", rgb(0x2f8a6b)}, {"s3", rgb(0xa8467c)},
		{"s4", rgb(0x6f63b8)}, {"s5", rgb(0x7d7420)}, {"s6", rgb(0x4a98b8)}, {"s7", rgb(0x66717c)},
	}
	return all[i%len(all)]
}

func rgb(hex uint32) color.NRGBA {
	return color.NRGBA{R: uint8(hex >> 16), G: uint8(hex >> 8), B: uint8(hex), A: 0xff}
}
