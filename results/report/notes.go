package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// Notes hands out footnote marks. A flag that every cell carries is said once
// and not marked.
type Notes struct {
	Everywhere []string
	Letters    map[string]string // by text
	Texts      []string          // in the order of their letters
}

// NewNotes collects the flags of these cells.
func NewNotes(summaries []verdict.Summary) *Notes {
	n := &Notes{Letters: map[string]string{}}
	carriers := map[string]int{}
	for _, s := range summaries {
		for _, flag := range s.Flags {
			carriers[flag]++
		}
	}
	for _, flag := range slices.Sorted(maps.Keys(carriers)) {
		if carriers[flag] == len(summaries) && (len(summaries) > 1 || flag == results.FlagNoGPU) {
			n.Everywhere = append(n.Everywhere, flag)
		}
	}
	return n
}

// Marks returns the marks of a cell, [a,c], with the reasons why a figure of it
// is missing.
func (n *Notes) Marks(s verdict.Summary, missing []string) string {
	var letters []string
	for _, flag := range s.Flags {
		if !slices.Contains(n.Everywhere, flag) {
			letters = append(letters, n.Letter(show.Line(words.WithMeaning(flag))))
		}
	}
	if s.OK > 0 && !s.Whole() {
		letters = append(letters, n.Letter(fmt.Sprintf(
			"%s; the figure is that of the others, and the cell is never among the conditions worth having", words.NotOK(s))))
	}
	for _, reason := range missing {
		letters = append(letters, n.Letter(show.Line("not measured: "+reason)))
	}
	if len(letters) == 0 {
		return ""
	}
	return "[" + strings.Join(letters, ",") + "]"
}

// Letter is the mark of a text: a to z, then aa, ab and so on.
func (n *Notes) Letter(text string) string {
	letter, known := n.Letters[text]
	if known {
		return letter
	}
	for i := len(n.Texts); ; i = i/26 - 1 {
		letter = string(rune('a'+i%26)) + letter
		if i < 26 {
			break
		}
	}
	n.Letters[text] = letter
	n.Texts = append(n.Texts, text)
	return letter
}

// Legend explains the marks that were handed out. That there is no GPU is in the heading.
func (n *Notes) Legend() []string {
	var lines []string
	for _, flag := range n.Everywhere {
		if flag == results.FlagNoGPU {
			continue
		}
		lines = append(lines, "all cells: "+show.Line(words.WithMeaning(flag)))
	}
	for _, text := range n.Texts {
		lines = append(lines, "["+n.Letters[text]+"] "+text)
	}
	return lines
}
