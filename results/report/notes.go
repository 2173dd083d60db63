package report

import (
	"fmt"
	"slices"
	"strings"

	"stackmeter/results/verdict"
	"stackmeter/scenarios/show"
)

// notes hands out footnote marks. A flag that every cell carries is said once
// and not marked.
type notes struct {
	everywhere []string
	letters    map[string]string // by text
	texts      []string          // in the order of their letters
}

func newNotes(summaries []verdict.Summary) *notes {
	n := &notes{letters: map[string]string{}}
	carriers := map[string]int{}
	for _, s := range summaries {
		for _, flag := range s.Flags {
			carriers[flag]++
		}
	}
	for _, flag := range sortedKeys(carriers) {
		if carriers[flag] == len(summaries) && len(summaries) > 1 {
			n.everywhere = append(n.everywhere, flag)
		}
	}
	return n
}

// marks returns the marks of a cell, [a,c], with the reasons why a figure of it
// is missing.
func (n *notes) marks(s verdict.Summary, missing []string) string {
	var letters []string
	for _, flag := range s.Flags {
		if !slices.Contains(n.everywhere, flag) {
			letters = append(letters, n.letter(show.Line(withMeaning(flag))))
		}
	}
	if s.OK > 0 && !s.Whole() {
		letters = append(letters, n.letter(fmt.Sprintf(
			"%s; the figure is that of the others, and the cell is never among the conditions worth having", notOKText(s))))
	}
	for _, reason := range missing {
		letters = append(letters, n.letter(show.Line("not measured: "+reason)))
	}
	if len(letters) == 0 {
		return ""
	}
	return "[" + strings.Join(letters, ",") + "]"
}

// letter is the mark of a text: a to z, then aa, ab and so on.
func (n *notes) letter(text string) string {
	letter, known := n.letters[text]
	if known {
		return letter
	}
	for i := len(n.texts); ; i = i/26 - 1 {
		letter = string(rune('a'+i%26)) + letter
		if i < 26 {
			break
		}
	}
	n.letters[text] = letter
	n.texts = append(n.texts, text)
	return letter
}

// legend explains the marks that were handed out.
func (n *notes) legend() []string {
	var lines []string
	for _, flag := range n.everywhere {
		lines = append(lines, "all cells: "+show.Line(withMeaning(flag)))
	}
	for _, text := range n.texts {
		lines = append(lines, "["+n.letters[text]+"] "+text)
	}
	return lines
}
