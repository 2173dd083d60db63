// Package units reads quantities: times, sizes, energies, rates, percentages and
// plain numbers. A scenario's values, its thresholds, budgets and the flags of the
// command line all have this grammar:
//
//	quantity   = time | size | energy | rate | percentage | number
//	time       = number time-unit { number time-unit }    1m30s, 1.5h, 500ms
//	size       = number size-unit                         512MiB, 2 GiB, .5GiB, 1e3MiB
//	energy     = number ( "J" | "kJ" )                    500J, 2 kJ
//	rate       = number "/s"                              20/s, 0.5 /s
//	percentage = number "%"                               5%, 2.5 %
//	number     = ( digits [ "." digits ] | "." digits ) [ ( "e" | "E" ) [ "+" | "-" ] digits ]
//	time-unit  = "ns" | "us" | "µs" | "ms" | "s" | "m" | "h"
//	size-unit  = "B" | "KiB" | "MiB" | "GiB" | "TiB"
//
// Spaces may stand around a number and a unit, not within them. Units are
// written as above: MB, which is a million bytes to some and a MiB to others, is
// refused. No quantity has a sign, and only a plain number has no unit. A time
// adds its parts up.
//
// What is read is in base units: seconds, bytes, joules, per second, percent.
package units

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"stackmeter/scenarios/show"
)

// A Unit is a base unit. Everything is stored in these and scaled when it is
// printed.
type Unit string

// The base units.
const (
	Seconds   Unit = "s"
	Bytes     Unit = "B"
	Joules    Unit = "J"
	PerSecond Unit = "1/s"
	Percent   Unit = "%"
	None      Unit = "" // of a plain number
)

// words are what a quantity of the unit is called, and how one is written.
func (u Unit) words() (noun, example string) {
	switch u {
	case Seconds:
		return "a time", "for example 500ms, 2s or 1m30s"
	case Bytes:
		return "a size", "for example 512MiB or 8GiB"
	case Joules:
		return "an energy", "for example 500J or 2kJ"
	case PerSecond:
		return "a rate", "for example 20/s or 0.5/s"
	case Percent:
		return "a percentage", "for example 5%"
	}
	return "a number", "for example 3 or 0.5"
}

// Noun is what a quantity of the unit is called, with its article: a time.
func (u Unit) Noun() string {
	noun, _ := u.words()
	return noun
}

// Format writes a value as Parse reads it, in the largest unit that it is a
// whole number of.
func (u Unit) Format(value float64) string {
	switch u {
	case Seconds:
		text := Duration(value).String()
		if strings.HasSuffix(text, "m0s") {
			text = strings.TrimSuffix(text, "0s")
		}
		if strings.HasSuffix(text, "h0m") {
			text = strings.TrimSuffix(text, "0m")
		}
		return text
	case Bytes:
		for _, name := range []string{"TiB", "GiB", "MiB", "KiB"} {
			if unit, _ := find(name); value >= unit.scale && math.Mod(value, unit.scale) == 0 {
				return strconv.FormatFloat(value/unit.scale, 'f', -1, 64) + name
			}
		}
		return strconv.FormatFloat(value, 'f', -1, 64) + "B"
	}
	return strconv.FormatFloat(value, 'f', -1, 64) + strings.TrimPrefix(string(u), "1")
}

// InRange is the error of a value that is not from low to high; nil if it is. A low
// of 0 is not in the range itself.
func (u Unit) InRange(what string, value, low, high float64) error {
	switch {
	case low == 0 && !(value > 0 && value <= high):
		return fmt.Errorf("%s must be above 0 and at most %s, not %s", what, u.Format(high), u.Format(value))
	case !(value >= low && value <= high):
		return fmt.Errorf("%s must be from %s to %s, not %s", what, u.Format(low), u.Format(high), u.Format(value))
	}
	return nil
}

// Example says how a quantity of the unit is written.
func (u Unit) Example() string {
	_, example := u.words()
	return example
}

// An Error is why a text is not a quantity. Its words are the same wherever
// the text stands.
type Error struct {
	At      int    // the byte of the text where it goes wrong
	Message string // what is wrong
	Hint    string // what would be right
}

func (e *Error) Error() string { return e.Message + "; " + e.Hint }

// Parse reads a quantity of one unit. The error is an *Error.
func Parse(text string, want Unit) (float64, error) {
	text = strings.TrimSpace(text)
	if !Begins(text) {
		return 0, notA(text, want)
	}
	q, err := Scan(text)
	if err != nil {
		return 0, err
	}
	if q.Text != text {
		return 0, notA(text, want)
	}
	return q.In(want)
}

// ParseDuration is Parse of a time, see Duration.
func ParseDuration(text string) (time.Duration, error) {
	seconds, err := Parse(text, Seconds)
	if err != nil {
		return 0, err
	}
	return Duration(seconds), nil
}

// Duration converts seconds, to the nanosecond. More seconds than a Duration can
// hold become the longest one.
func Duration(seconds float64) time.Duration {
	if seconds >= math.MaxInt64/1e9 {
		return math.MaxInt64
	}
	return time.Duration(math.Round(seconds * 1e9))
}

// A Quantity is a number with its unit.
type Quantity struct {
	Text  string // as it is written
	Value float64
	Unit  Unit
}

// In returns the value if it has the unit that is wanted. The error is an *Error.
func (q Quantity) In(want Unit) (float64, error) {
	switch q.Unit {
	case want:
		return q.Value, nil
	case None:
		hint := want.Example()
		switch want {
		case Seconds:
			hint = "for seconds write " + q.Text + "s"
		case PerSecond:
			hint = "for " + q.Text + " each second write " + q.Text + "/s"
		case Percent:
			hint = "for percent write " + q.Text + "%"
		}
		return 0, &Error{0, show.Quote(q.Text) + " has no unit", hint}
	}
	return 0, &Error{0, fmt.Sprintf("%s is %s, not %s", show.Quote(q.Text), q.Unit.Noun(), want.Noun()), want.Example()}
}

func notA(text string, want Unit) *Error {
	return &Error{0, show.Quote(text) + " is not " + want.Noun(), want.Example()}
}

func tooLarge(text string) *Error {
	return &Error{0, show.Quote(text) + " is too large", "write a smaller one"}
}

// part is a number and its unit. Either can have spaces before it.
var part = regexp.MustCompile(`^ *((?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?: *(%|/s\b|\pL+))?`)

// Begins reports whether a text begins with a number.
func Begins(text string) bool { return part.MatchString(text) && text[0] != ' ' }

// Scan reads the longest quantity at the beginning of a text. It takes every word
// after a number for a unit. The error is an *Error.
func Scan(text string) (Quantity, error) {
	q := Quantity{}
	end := 0
	for end == 0 || q.Unit == Seconds {
		found := part.FindStringSubmatchIndex(text[end:])
		if found == nil {
			break
		}
		number, name := text[end+found[2]:end+found[3]], ""
		if found[4] >= 0 {
			name = text[end+found[4] : end+found[5]]
		}
		value, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return q, tooLarge(number)
		}
		u, known := find(name)
		if !known {
			return q, &Error{end + found[4], "there is no unit " + show.Quote(name), hint(name)}
		}
		one := Quantity{number + name, value * u.scale, u.unit}
		if end > 0 {
			if _, err := one.In(Seconds); err != nil {
				return q, err
			}
		}
		end += found[1]
		q = Quantity{text[:end], q.Value + one.Value, u.unit}
	}
	if next, _ := utf8.DecodeRuneInString(text[end:]); end == 0 || next == '.' || next == '_' || unicode.IsLetter(next) || unicode.IsDigit(next) {
		return q, &Error{0, show.Quote(text) + " is not a number with a unit", "for example 500ms, 8GiB or 20/s"}
	}
	if math.IsInf(q.Value, 0) {
		return q, tooLarge(q.Text)
	}
	return q, nil
}

// A named unit is one that can stand behind a number.
type named struct {
	name  string
	unit  Unit
	scale float64
}

func all() []named {
	return []named{
		{"ns", Seconds, 1e-9}, {"us", Seconds, 1e-6}, {"µs", Seconds, 1e-6}, {"ms", Seconds, 1e-3},
		{"s", Seconds, 1}, {"m", Seconds, 60}, {"h", Seconds, 3600},
		{"B", Bytes, 1}, {"KiB", Bytes, 1 << 10}, {"MiB", Bytes, 1 << 20}, {"GiB", Bytes, 1 << 30}, {"TiB", Bytes, 1 << 40},
		{"J", Joules, 1}, {"kJ", Joules, 1000},
		{"/s", PerSecond, 1}, {"%", Percent, 1},
	}
}

func find(name string) (named, bool) {
	if name == "" {
		return named{unit: None, scale: 1}, true
	}
	name = strings.Replace(name, "\u03bc", "\u00b5", 1) // the Greek letter for the micro sign
	for _, u := range all() {
		if u.name == name {
			return u, true
		}
	}
	return named{}, false
}

func hint(name string) string {
	var names []string
	for _, u := range all() {
		if strings.EqualFold(u.name, name) || u.unit == Bytes && strings.EqualFold(strings.Replace(u.name, "i", "", 1), name) {
			return "did you mean " + u.name + "?"
		}
		names = append(names, u.name)
	}
	return "the units are " + strings.Join(names, ", ")
}
