package scenarios

import (
	"strconv"
	"strings"
	"unicode"

	"stackmeter/scenarios/show"
)

// A unitName is a unit that can stand behind a number.
type unitName struct {
	name  string
	unit  string
	scale float64
}

func unitNames() []unitName {
	return []unitName{
		{"ns", UnitSeconds, 1e-9}, {"us", UnitSeconds, 1e-6}, {"µs", UnitSeconds, 1e-6}, {"ms", UnitSeconds, 1e-3},
		{"s", UnitSeconds, 1}, {"m", UnitSeconds, 60}, {"h", UnitSeconds, 3600},
		{"B", UnitBytes, 1}, {"KiB", UnitBytes, 1 << 10}, {"MiB", UnitBytes, 1 << 20}, {"GiB", UnitBytes, 1 << 30}, {"TiB", UnitBytes, 1 << 40},
		{"/s", UnitPerSecond, 1},
		{percent, percent, 0.01},
	}
}

// withoutUnits replaces numbers with units by numbers in base units.
func withoutUnits(text string) (thresholdSource, error) {
	in := []rune(text)
	s := thresholdSource{units: map[int]quantity{}}
	var out []rune
	put := func(r rune, column int) {
		out = append(out, r)
		s.columns = append(s.columns, column)
	}
	for i := 0; i < len(in); {
		if !isDigit(in[i]) || i > 0 && isWord(in[i-1]) {
			put(in[i], i)
			i++
			continue
		}
		end := numberEnd(in, i)
		unitEnd := end
		switch {
		case unitEnd < len(in) && in[unitEnd] == '%':
			unitEnd++
		case unitEnd+1 < len(in) && in[unitEnd] == '/' && in[unitEnd+1] == 's' && (unitEnd+2 == len(in) || !isWord(in[unitEnd+2])):
			unitEnd += 2
		default:
			for unitEnd < len(in) && isWord(in[unitEnd]) {
				unitEnd++
			}
		}
		number, unit := string(in[i:end]), string(in[end:unitEnd])
		value, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return s, &ThresholdError{i + 1, show.Quote(number) + " is no number", ""}
		}
		s.units[len(out)] = quantity{written: number + unit}
		if unit != "" {
			known := false
			for _, u := range unitNames() {
				if u.name == unit {
					value, known = value*u.scale, true
					s.units[len(out)] = quantity{u.unit, number + unit}
				}
			}
			if !known {
				return s, &ThresholdError{end + 1, "there is no unit " + show.Quote(unit), unitHint(unit)}
			}
		}
		// Always with a point: expr has whole numbers too, and divides them
		// and compares them by rules of their own.
		written := strconv.FormatFloat(value, 'f', -1, 64)
		if !strings.Contains(written, ".") {
			written += ".0"
		}
		for _, r := range written {
			put(r, i)
		}
		i = unitEnd
	}
	s.text, s.columns = string(out), append(s.columns, len(in))
	return s, nil
}

func unitHint(unit string) string {
	var names []string
	for _, u := range unitNames() {
		if strings.EqualFold(u.name, unit) || strings.EqualFold(strings.Replace(u.name, "i", "", 1), unit) && u.unit == UnitBytes {
			return "did you mean " + u.name + "?"
		}
		names = append(names, u.name)
	}
	return "there are " + strings.Join(names, ", ")
}

// numberEnd is where the decimal number that begins at i ends.
func numberEnd(in []rune, i int) int {
	for i < len(in) && isDigit(in[i]) {
		i++
	}
	if i+1 < len(in) && in[i] == '.' && isDigit(in[i+1]) {
		for i++; i < len(in) && isDigit(in[i]); i++ {
		}
	}
	if i < len(in) && (in[i] == 'e' || in[i] == 'E') {
		j := i + 1
		if j < len(in) && (in[j] == '+' || in[j] == '-') {
			j++
		}
		if j < len(in) && isDigit(in[j]) {
			for i = j; i < len(in) && isDigit(in[i]); i++ {
			}
		}
	}
	return i
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }

func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }
