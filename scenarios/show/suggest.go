package show

import (
	"fmt"
	"strings"
)

// Suggest is the hint for a word that is none of the known ones: the
// nearest of them if it is near enough to be meant, otherwise all of them.
func Suggest(word string, known []string) string {
	if near := Nearest(word, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	const most = 16
	if len(known) > most {
		return fmt.Sprintf("choose one of %s and %d more", strings.Join(known[:most], ", "), len(known)-most)
	}
	if len(known) == 0 {
		return "there are none"
	}
	if len(known) == 1 {
		return "it can only be " + known[0]
	}
	return "choose one of " + strings.Join(known, ", ")
}

// Nearest is the known word that takes the fewest edits to reach; if that is
// more than a third of its letters, one of which the other is the beginning;
// or "".
func Nearest(word string, known []string) string {
	const longest = 100 // nobody misspells a longer word by a letter
	if len(word) > longest {
		return ""
	}
	best, fewest := "", 0
	for _, k := range known {
		edits := distance(strings.ToLower(word), strings.ToLower(k))
		if edits <= max(1, len(k)/3) && edits < len(k) && (best == "" || edits < fewest) {
			best, fewest = k, edits
		}
	}
	const beginning = 3 // env of environment
	for _, k := range known {
		if best == "" && min(len(k), len(word)) >= beginning && (strings.HasPrefix(word, k) || strings.HasPrefix(k, word)) {
			best = k
		}
	}
	return best
}

// distance is the number of insertions, deletions, replacements and swaps of
// neighbours between two words (optimal string alignment).
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	before, above, row := make([]int, len(t)+1), make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(s); i++ {
		row[0] = i
		for j := 1; j <= len(t); j++ {
			replace := 1
			if s[i-1] == t[j-1] {
				replace = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+replace)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(t)]
}
