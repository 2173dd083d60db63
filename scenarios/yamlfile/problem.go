package yamlfile

import (
	"fmt"
	"strings"

	"stackmeter/scenarios/show"
)

// A Problem is one thing that is wrong, and where.
type Problem struct {
	File    string // the file's name, or "--set KEY=VALUE", or a flag
	Line    int    // from 1; 0 where there is no line: a flag, a file too large
	Column  int    // from 1, in characters; 0 with Line
	Source  string // the whole line; empty with Line 0, and where it may hold a secret
	Message string // what is wrong
	Hint    string // what would be right; can be empty
}

// Widths of what a Problem prints, in characters.
const (
	excerptWidth = 100 // of a line of the file
	placeWidth   = 120 // of an override that is named as the place
)

// String is the problem as it is printed: the place and the message, the line
// with a caret below the column, and the hint.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": " + p.Message)
	if line, column := excerpt(p.Source, p.Column); line != "" {
		fmt.Fprintf(&b, "\n    %s\n    %s^", line, strings.Repeat(" ", column-1))
	}
	if p.Hint != "" {
		b.WriteString("\n  " + p.Hint)
	}
	return b.String()
}

// Problems are everything that is wrong: first in the file, from top to bottom,
// then on the command line.
type Problems []Problem

// Error prints all the problems.
func (ps Problems) Error() string {
	parts := make([]string, len(ps))
	for i, p := range ps {
		parts[i] = p.String()
	}
	return strings.Join(parts, "\n")
}

// excerpt is the part of a line around a column, and the column within it.
func excerpt(line string, column int) (string, int) {
	runes := []rune(show.Columns(strings.TrimRight(line, " \t")))
	if len(runes) == 0 || column < 1 {
		return "", 0
	}
	column = min(column, len(runes)+1)
	trimmed := []rune(strings.TrimLeft(string(runes), " "))
	indent := len(runes) - len(trimmed)
	if indent < column { // what is left of the first character says nothing
		runes, column = trimmed, column-indent
	}
	if len(runes) <= excerptWidth {
		return string(runes), column
	}
	from := min(max(0, column-1-excerptWidth/2), len(runes)-excerptWidth)
	to := from + excerptWidth
	text := string(runes[from:to])
	if from > 0 {
		text = show.Missing + text
		column++
	}
	if to < len(runes) {
		text += show.Missing
	}
	return text, column - from
}
