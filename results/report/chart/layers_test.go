package chart

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// TestAttackTags: however crowded the marks are, and at every width that charts
// are drawn for, no name is on another one or on a mark, a line leads over none,
// and a name without a line is nearest to its own mark. Most names have a place
// while there is room.
func TestAttackTags(t *testing.T) {
	text := style(smallSize, inkText, draw.XLeft, draw.YCenter, false)
	random := rand.New(rand.NewPCG(1, 1))
	for _, width := range []vg.Length{Wide, Narrow} {
		for _, marks := range []int{1, 3, 8, 20, 60} {
			for _, crowd := range []float64{1, 0.3, 0.05} {
				var m Marks
				for i := range marks {
					m = append(m, Mark{X: 0.5 + crowd*(random.Float64()-0.5), Y: 0.5 + crowd*(random.Float64()-0.5),
						Front: i%2 == 0, Tag: fmt.Sprintf("nginx+gunicorn-w%d-t4/mt10", i)})
				}
				area := box(0, 0, width, 260)
				at := transform{x: func(v float64) vg.Length { return width * vg.Length(v) }, y: func(v float64) vg.Length { return 260 * vg.Length(v) }}
				centre := func(i int) vg.Point { return vg.Point{X: at.x(m[i].X), Y: at.y(m[i].Y)} }
				tags := m.placeTags(area, at, text.Width)
				if marks <= 3 && crowd == 1 && width == Wide && len(tags) != (marks+1)/2 {
					t.Errorf("%d marks at %v: %d tags", marks, width, len(tags))
				}
				for i, a := range tags {
					for k := range m {
						if own := centre(k); overlaps(box(own.X-markRadius, own.Y-markRadius, 2*markRadius, 2*markRadius), []vg.Rectangle{a.box}, -1) {
							t.Errorf("%d marks, crowd %v, width %v: %q is on mark %d", marks, crowd, width, a.name, k)
						}
						for _, on := range a.line() {
							if d := on.Sub(centre(k)); k != a.mark && d.Dot(d) < markRadius*markRadius {
								t.Errorf("%d marks, crowd %v, width %v: the line of %q is on mark %d", marks, crowd, width, a.name, k)
							}
						}
					}
					if !a.led && !m.own(a, centre) {
						t.Errorf("%d marks, crowd %v, width %v: %q stands by another mark", marks, crowd, width, a.name)
					}
					for _, b := range tags[:i] {
						if overlaps(a.box, []vg.Rectangle{b.box}, -1) {
							t.Errorf("%d marks, crowd %v, width %v: %q is on %q", marks, crowd, width, a.name, b.name)
						}
						for _, line := range [][2]tag{{a, b}, {b, a}} {
							for _, on := range line[0].line() {
								if overlaps(box(on.X, on.Y, 0.1, 0.1), []vg.Rectangle{line[1].box}, -1) {
									t.Errorf("%d marks, crowd %v, width %v: a line goes through %q", marks, crowd, width, line[1].name)
								}
							}
						}
					}
				}
			}
		}
	}
}
