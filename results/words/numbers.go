// Package words says what was found: figures with their units, flags with their
// meanings, checks, states and doubts. Every format of a report uses the same
// words.
package words

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/scenarios/units"
)

// Missing stands for a figure that was not measured.
const Missing = "–"

// MiB is a MiB in bytes.
const MiB = 1 << 20

// A Unit scales a base unit for printing.
type Unit struct {
	Name  string
	Scale float64 // base units in one of these
	Fine  int     // decimals at most
	Least int     // decimals at least
}

// Seconds and Mebibytes are the units of durations and of memory.
func Seconds() Unit   { return Unit{Name: "s", Scale: 1, Fine: 4, Least: 2} }
func Mebibytes() Unit { return Unit{Name: "MiB", Scale: MiB, Fine: 1, Least: 0} }

// Decimals is how many a table needs, so that its smallest figure shows three
// significant digits and all its figures show equally many.
func (u Unit) Decimals(samples []*stats.Sample) int {
	smallest := math.Inf(1)
	for _, s := range samples {
		if s != nil && s.Median > 0 {
			smallest = min(smallest, s.Median/u.Scale)
		}
	}
	if math.IsInf(smallest, 1) {
		return u.Least
	}
	return min(max(2-int(math.Floor(math.Log10(smallest))), u.Least), u.Fine)
}

// Number is a value in this unit, without its name.
func (u Unit) Number(value float64, decimals int) string {
	return strconv.FormatFloat(value/u.Scale, 'f', decimals, 64)
}

// Text is a sample with its unit, and with its spread when it has one: how far
// an end of the median's interval is away at most, or, of too few repeats for
// an interval, half their range.
func (u Unit) Text(s *stats.Sample, decimals int) string {
	if s == nil {
		return Missing
	}
	text := u.Number(s.Median, decimals)
	switch {
	case s.Interval != nil:
		text += " ±" + u.Number(max(s.Median-s.Interval.Low, s.Interval.High-s.Median), decimals)
	case s.N > 1:
		text += " ±" + u.Number(s.HalfRange(), decimals)
	}
	return text + " " + u.Name
}

// Percent is a ratio in percent.
func Percent(ratio float64, decimals int) string {
	return strconv.FormatFloat(100*ratio, 'f', decimals, 64) + "%"
}

// Ratio prints how a cell stands to another one, with the interval where there is
// one: 38.87% (36.10–41.02).
func Ratio(r verdict.Relation, decimals int) string {
	if r.Ratio == nil {
		return Missing
	}
	text := Percent(*r.Ratio, decimals)
	if r.Interval != nil {
		end := func(ratio float64) string { return strconv.FormatFloat(100*ratio, 'f', decimals, 64) }
		text += " (" + end(r.Interval.Low) + "–" + end(r.Interval.High) + ")"
	}
	return Across(text, r)
}

// acrossMark is at ratios of cells that were measured in different lanes.
const acrossMark = "~"

// Across marks the text of a ratio whose cells were measured in different lanes.
func Across(text string, r verdict.Relation) string {
	if r.Across && text != "" {
		text += acrossMark
	}
	return text
}

// AcrossNote says what the mark means, where any of some ratios has it.
func AcrossNote(ratios ...verdict.Relation) string {
	if !slices.ContainsFunc(ratios, func(r verdict.Relation) bool { return r.Ratio != nil && r.Across }) {
		return ""
	}
	return acrossMark + " the two were measured in different lanes, not in turn on the same device: a difference may be one between the lanes"
}

// WallTime prints seconds of wall time the way people say them: 8.3s, 2m5s.
func WallTime(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// Digits prints a positive number with three significant digits, and no fewer
// before the point than it has.
func Digits(value float64) string {
	decimals := 2
	if value > 0 {
		decimals = 2 - int(math.Floor(math.Log10(value)))
	}
	return strconv.FormatFloat(value, 'f', min(max(decimals, 0), 6), 64)
}

// Plainly prints a number as somebody would have written it: 20, 0.5.
func Plainly(value float64) string { return strconv.FormatFloat(value, 'f', -1, 64) }

// InWords prints seconds in the unit that fits: 12.3 µs, 4.56 ms, 7.89 s.
func InWords(seconds float64) string {
	switch {
	case seconds <= 0:
		return "0 s"
	case seconds < 999.5e-6:
		return Digits(seconds*1e6) + " µs"
	case seconds < 999.5e-3:
		return Digits(seconds*1e3) + " ms"
	}
	return Digits(seconds) + " s"
}

// Size prints bytes in the unit that fits.
func Size(bytes float64) string {
	for _, u := range []struct {
		name  string
		scale float64
	}{{"GiB", 1 << 30}, {"MiB", MiB}, {"KiB", 1 << 10}} {
		if bytes >= u.scale {
			return Digits(bytes/u.scale) + " " + u.name
		}
	}
	return Digits(bytes) + " B"
}

// Capital is a text with a capital first letter, which is one byte.
func Capital(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// MemoryName names a kind of memory, and PeakName its peak.
func MemoryName(kind string) string {
	if kind == results.MemoryGPU {
		return "GPU memory"
	}
	return "memory"
}

func PeakName(kind string) string { return "peak " + MemoryName(kind) }

// UnitOf is how figures of a metric are printed.
func UnitOf(u units.Unit) Unit {
	switch u {
	case units.Seconds:
		return Seconds()
	case units.Bytes:
		return Mebibytes()
	case units.Joules:
		return Unit{Name: "J", Scale: 1, Fine: 4, Least: 0}
	case units.PerSecond:
		return Unit{Name: "/s", Scale: 1, Fine: 2, Least: 0}
	}
	return Unit{Scale: 1}
}

// Sample is a sample in the unit that its base unit is printed in.
func Sample(u units.Unit, s *stats.Sample) string {
	printed := UnitOf(u)
	return strings.TrimSpace(printed.Text(s, printed.Decimals([]*stats.Sample{s})))
}
