package report

import (
	"math"
	"strconv"
	"time"

	"stackmeter/results/stats"
)

// missing is what stands for a figure that was not measured.
const missing = "–"

const mib = 1 << 20

// A unit scales a base unit for printing.
type unit struct {
	name  string
	scale float64 // base units in one of these
	fine  int     // decimals at most
	least int     // decimals at least
}

func seconds() unit   { return unit{name: "s", scale: 1, fine: 4, least: 2} }
func mebibytes() unit { return unit{name: "MiB", scale: mib, fine: 1, least: 0} }

// decimals is how many a table needs, so that its smallest figure shows three
// significant digits and all its figures show equally many.
func (u unit) decimals(samples []*stats.Sample) int {
	smallest := math.Inf(1)
	for _, s := range samples {
		if s != nil && s.Median > 0 {
			smallest = min(smallest, s.Median/u.scale)
		}
	}
	if math.IsInf(smallest, 1) {
		return u.least
	}
	return min(max(2-int(math.Floor(math.Log10(smallest))), u.least), u.fine)
}

func (u unit) number(value float64, decimals int) string {
	return strconv.FormatFloat(value/u.scale, 'f', decimals, 64)
}

// text is a sample with its unit, and with its spread when it has one: how far
// an end of the median's interval is away at most, or, of too few repeats for
// an interval, half their range.
func (u unit) text(s *stats.Sample, decimals int) string {
	if s == nil {
		return missing
	}
	text := u.number(s.Median, decimals)
	switch {
	case s.Interval != nil:
		text += " ±" + u.number(max(s.Median-s.Interval.Low, s.Interval.High-s.Median), decimals)
	case s.N > 1:
		text += " ±" + u.number(s.HalfRange(), decimals)
	}
	return text + " " + u.name
}

func percentText(ratio *float64, decimals int) string {
	if ratio == nil {
		return missing
	}
	return strconv.FormatFloat(*ratio, 'f', decimals, 64) + "%"
}

// wallTime prints seconds of wall time the way people say them: 8.3s, 2m5s.
func wallTime(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// digits prints a positive number with three significant digits, and no fewer
// before the point than it has.
func digits(value float64) string {
	decimals := 2
	if value > 0 {
		decimals = 2 - int(math.Floor(math.Log10(value)))
	}
	return strconv.FormatFloat(value, 'f', min(max(decimals, 0), 6), 64)
}

// plainly prints a number as somebody would have written it: 20, 0.5.
func plainly(value float64) string { return strconv.FormatFloat(value, 'f', -1, 64) }

// inWords prints seconds in the unit that fits: 12.3 µs, 4.56 ms, 7.89 s.
func inWords(seconds float64) string {
	switch {
	case seconds <= 0:
		return "0 s"
	case seconds < 999.5e-6:
		return digits(seconds*1e6) + " µs"
	case seconds < 999.5e-3:
		return digits(seconds*1e3) + " ms"
	}
	return digits(seconds) + " s"
}

// size prints bytes in the unit that fits.
func size(bytes float64) string {
	for _, u := range []struct {
		name  string
		scale float64
	}{{"GiB", 1 << 30}, {"MiB", mib}, {"KiB", 1 << 10}} {
		if bytes >= u.scale {
			return digits(bytes/u.scale) + " " + u.name
		}
	}
	return digits(bytes) + " B"
}
