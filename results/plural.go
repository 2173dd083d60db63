package results

import "strconv"

// Plural is a number with what it counts: "1 repeat", "2 repeats". The noun is
// one that takes an s.
func Plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}
