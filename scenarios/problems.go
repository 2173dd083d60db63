package scenarios

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"stackmeter/scenarios/show"
)

// A Problem is one thing that is wrong with a scenario file or with an
// override, and where.
type Problem struct {
	File    string // as it was given to Load; for an override "--set key=value"
	Line    int    // from 1; 0 where there is no line: overrides, a file too large
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

// Problems is the error of Load and Parse: everything that is wrong, the file
// first and then the overrides, each from top to bottom.
type Problems []Problem

// Error prints all the problems.
func (ps Problems) Error() string {
	parts := make([]string, len(ps))
	for i, p := range ps {
		parts[i] = p.String()
	}
	return strings.Join(parts, "\n")
}

// maxProblems bounds what a hostile or a wholly wrong file can print.
const maxProblems = 50

// A source is where nodes come from: the file or one override.
type source struct {
	name  string
	rank  int      // the file is 0, the overrides follow
	lines []string // of the file; nil for an override, which is its own place

	secret    map[int]bool // lines that may hold a secret
	allSecret bool         // any line may
}

func fileSource(name string, data []byte) *source {
	return &source{name: name, lines: strings.Split(string(data), "\n"), secret: map[int]bool{}}
}

func overrideSource(text string, rank int) *source {
	secret := secretText.MatchString(text)
	if secret {
		text = nameAlone(text)
	}
	return &source{name: "--set " + show.Shorten(show.Columns(text), placeWidth), rank: rank, secret: map[int]bool{}, allSecret: secret}
}

// A report collects problems.
type report struct {
	found []placed
	full  bool
}

type placed struct {
	Problem
	rank int
}

// add keeps a problem unless the same one is there already: a value that an
// alias or an axis repeats is wrong once.
func (r *report) add(s *source, line, column int, message, hint string) {
	if r.full {
		return
	}
	p := placed{Problem: Problem{File: s.name, Message: message, Hint: hint}, rank: s.rank}
	if line > 0 && line <= len(s.lines) {
		p.Line, p.Column = line, max(column, 1)
		if !s.concealed(line) {
			p.Source = strings.TrimSuffix(s.lines[line-1], "\r")
		}
	}
	if slices.Contains(r.found, p) {
		return
	}
	if len(r.found) == maxProblems {
		r.full = true
		p = placed{Problem: Problem{File: s.name, Message: "there are more problems than are shown",
			Hint: "solve these first"}, rank: int(^uint(0) >> 1)}
	}
	r.found = append(r.found, p)
}

// err is nil without problems.
func (r *report) err() error {
	if len(r.found) == 0 {
		return nil
	}
	slices.SortStableFunc(r.found, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	problems := make(Problems, len(r.found))
	for i, p := range r.found {
		problems[i] = p.Problem
	}
	return problems
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
