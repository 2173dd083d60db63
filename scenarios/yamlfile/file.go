// Package yamlfile reads YAML that people write. It reports all problems at once,
// each with file:line:column, the line itself and what would be right. Values from
// a command line are put into the tree and checked like the file's own. The package
// knows nothing of what a file is about.
//
// A stranger's file does no harm: documents, trees, aliases and the list of
// problems are bounded, and no problem shows a value that may be a secret.
package yamlfile

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Limits of a file.
const (
	MaxSize      = 1 << 20 // bytes
	maxValueSize = 1 << 16 // bytes of a value that is given on the command line
	maxDepth     = 32      // of nested lists and mappings, aliases followed
	maxNodes     = 200_000 // of the tree once aliases and merge keys are expanded
	maxProblems  = 50
)

// Rules describe a kind of file.
type Rules struct {
	What    string // what one file is: scenario
	Example string // of an override
	Secrets string // a regular expression that finds the keys whose values may be secrets

	// Unfold returns the long form of a value that can be written in short, or
	// nil. An override of a part needs it. The path leads to the value.
	Unfold func(path []string, n *yaml.Node) *yaml.Node
}

// A File is a YAML file while it is read. The methods that read a value go on after
// a problem, so that all problems are reported at once. Each sets its target only
// if the value is right, and returns whether it was.
type File struct {
	Root  *yaml.Node          // nil if the text cannot be used as a whole
	Kinds map[string][]string // the keys of each kind of object that was read

	rules      Rules
	secretKey  *regexp.Regexp
	secretText *regexp.Regexp // such a key in a text that is no YAML, or in a path

	file   *source
	owner  map[*yaml.Node]*source // of the nodes that the command line brought; the others are the file's
	from   map[string]string      // what Set was called with: from by path
	sets   int                    // values of the command line
	found  []placed
	warned []string
	full   bool
}

// Read parses the text of a file.
func Read(name string, data []byte, rules Rules) *File {
	f := newFile(&source{name: name, lines: strings.Split(string(data), "\n"), secret: map[int]bool{}}, rules)
	f.Root = f.tree(f.file, data, MaxSize)
	return f
}

// Empty is a file without a text. It says only what is Set.
func Empty(name string, rules Rules) *File {
	f := newFile(&source{name: name}, rules)
	f.Root = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	return f
}

func newFile(s *source, rules Rules) *File {
	return &File{
		Kinds: map[string][]string{}, rules: rules, file: s,
		secretKey:  regexp.MustCompile(rules.Secrets),
		secretText: regexp.MustCompile(`(?:` + rules.Secrets + `)\w*["']?\s*[:.=]`),
		owner:      map[*yaml.Node]*source{},
		from:       map[string]string{},
	}
}

// Given reports whether a node comes from the command line, not from the file.
func (f *File) Given(n *yaml.Node) bool { return f.owner[n] != nil }

// Problem reports what is wrong at a node. The hint says what would be right,
// and can be empty.
func (f *File) Problem(n *yaml.Node, hint, format string, args ...any) {
	f.add(cmp.Or(f.owner[n], f.file), n.Line, n.Column, fmt.Sprintf(format, args...), hint)
}

// Warn says of a node what is allowed and probably not meant.
func (f *File) Warn(n *yaml.Node, hint, format string, args ...any) {
	p := problemAt(cmp.Or(f.owner[n], f.file), n.Line, n.Column)
	p.Message, p.Hint = fmt.Sprintf(format, args...), hint
	f.warned = append(f.warned, p.String())
}

// Warnings are what Warn said, as it is printed.
func (f *File) Warnings() []string { return f.warned }

// ProblemIn is Problem at a column, from 1, of the text that a node holds. It falls
// back to the node if the file writes the text in another way, with escapes or over
// several lines, and if the command line gives it.
func (f *File) ProblemIn(n *yaml.Node, column int, hint, format string, args ...any) {
	at := *n
	if !f.Given(n) && n.Line >= 1 && n.Line <= len(f.file.lines) {
		line := []rune(f.file.lines[n.Line-1])
		from, quote := n.Column-1, 0
		if from >= 0 && from < len(line) && strings.ContainsRune(`"'`, line[from]) {
			from, quote = from+1, 1
		}
		if value := []rune(n.Value); from >= 0 && from+len(value) <= len(line) && string(line[from:from+len(value)]) == n.Value {
			at.Column += quote + column - 1
		}
	}
	f.add(cmp.Or(f.owner[n], f.file), at.Line, at.Column, fmt.Sprintf(format, args...), hint)
}

// Place says where a node is, for a problem with another node.
func (f *File) Place(n *yaml.Node) string {
	if s := f.owner[n]; s != nil {
		return s.name
	}
	return fmt.Sprintf("line %d", n.Line)
}

// Err returns nil, or all problems as Problems.
func (f *File) Err() error {
	if len(f.found) == 0 {
		return nil
	}
	slices.SortStableFunc(f.found, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	problems := make(Problems, len(f.found))
	for i, p := range f.found {
		problems[i] = p.Problem
	}
	return problems
}

// A source is where nodes come from: the file, or a value of the command line.
type source struct {
	name  string
	rank  int      // the file is 0, the values follow
	lines []string // of the file; nil for a value, which is its own place

	secret    map[int]bool // lines that may hold a secret
	allSecret bool         // any line may
}

// concealed reports whether a line is not to be shown.
func (s *source) concealed(line int) bool { return s.allSecret || s.secret[line] }

type placed struct {
	Problem
	rank int
}

// add keeps a problem unless it is there already: a value that an alias or an axis
// repeats is wrong only once.
func (f *File) add(s *source, line, column int, message, hint string) {
	if f.full {
		return
	}
	p := placed{problemAt(s, line, column), s.rank}
	p.Message, p.Hint = message, hint
	if slices.Contains(f.found, p) {
		return
	}
	if len(f.found) == maxProblems {
		f.full = true
		p = placed{Problem: Problem{File: s.name, Message: "there are more problems",
			Hint: "fix these first"}, rank: int(^uint(0) >> 1)}
	}
	f.found = append(f.found, p)
}

// problemAt is a problem without a message, at a place in a source.
func problemAt(s *source, line, column int) Problem {
	p := Problem{File: s.name}
	if line > 0 && line <= len(s.lines) {
		p.Line, p.Column = line, max(column, 1)
		if !s.concealed(line) {
			p.Source = strings.TrimSuffix(s.lines[line-1], "\r")
		}
	}
	return p
}
