package scenarios

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"stackmeter/scenarios/units"
)

// withoutUnits replaces numbers with units by numbers in base units. A
// percentage becomes a share.
func withoutUnits(text string) (thresholdSource, error) {
	s := thresholdSource{units: map[int]units.Quantity{}}
	var out []rune
	column := 0 // of the text, in characters from 0
	put := func(r rune) {
		out = append(out, r)
		s.columns = append(s.columns, column)
	}
	last := ' '
	for i := 0; i < len(text); {
		if isWord(last) || last == '.' || !units.Begins(text[i:]) {
			r, size := utf8.DecodeRuneInString(text[i:])
			put(r)
			last = r
			i, column = i+size, column+1
			continue
		}
		rest := text[i:]
		if end := operator.FindStringIndex(rest); end != nil {
			rest = rest[:end[0]]
		}
		q, err := units.Scan(rest)
		if wrong := (*units.Error)(nil); errors.As(err, &wrong) {
			return s, &ThresholdError{column + utf8.RuneCountInString(rest[:wrong.At]) + 1, wrong.Message, wrong.Hint}
		}
		s.units[len(out)] = q
		if q.Unit == units.Percent {
			q.Value /= 100
		}
		// Always with a point: expr has whole numbers too, and divides them
		// and compares them by rules of their own.
		number := strconv.FormatFloat(q.Value, 'f', -1, 64)
		if !strings.Contains(number, ".") {
			number += ".0"
		}
		for _, r := range number {
			put(r)
		}
		i, column = i+len(q.Text), column+utf8.RuneCountInString(q.Text)
		last = ' '
	}
	s.text, s.columns = string(out), append(s.columns, column)
	return s, nil
}

// operator is a word that is no unit where it follows a number.
var operator = regexp.MustCompile(`\b(?:and|or)\b`)

func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }
