package threshold

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/expr-lang/expr/file"

	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

// A source is the text of a threshold with its numbers in base units, without their
// units. It knows where each character was.
type source struct {
	text    string
	columns []int                  // of the character, from 0, in the original; one more for the end
	units   map[int]units.Quantity // of the number that begins at this character
}

// withoutUnits replaces numbers with units by numbers in base units. A
// percentage becomes a share.
func withoutUnits(text string) (source, error) {
	s := source{units: map[int]units.Quantity{}}
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
			return s, &Error{column + utf8.RuneCountInString(rest[:wrong.At]) + 1, wrong.Message, wrong.Hint}
		}
		s.units[len(out)] = q
		if q.Unit == units.Percent {
			q.Value /= 100
		}
		// Always with a point: expr has rules of its own for dividing and
		// comparing whole numbers.
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

// operator is a word that is not a unit even if it follows a number.
var operator = regexp.MustCompile(`\b(?:and|or)\b`)

func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// wrong is an error of the library's, at the place in the original text.
func (s source) wrong(err error) error {
	var at *file.Error
	if errors.As(err, &at) {
		return s.problem(at.From, lowerFirst(at.Message), "for example p99 < 2s, or duration < base * 1.05 and errors == 0")
	}
	return s.problem(0, err.Error(), "")
}

func (s source) problem(at int, message, hint string) *Error {
	return &Error{Column: s.columns[min(max(at, 0), len(s.columns)-1)] + 1, Message: show.Columns(message), Hint: hint}
}

func lowerFirst(text string) string {
	if text == "" {
		return text
	}
	return strings.ToLower(text[:1]) + text[1:]
}
