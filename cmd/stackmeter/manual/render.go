package manual

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"stackmeter/scenarios/show"
)

// textWidth is that of the manual in a terminal.
const textWidth = 80

var (
	link  = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
	marks = regexp.MustCompile("`+|\\*\\*")
	slant = regexp.MustCompile(`(^|\s)\*(\w[^*]*)\*`)
	item  = regexp.MustCompile(`^(\s*)(- |\d+\. )`)
)

// plain is a line of Markdown without its marks.
func plain(line string) string {
	line = link.ReplaceAllString(line, "$1")
	line = slant.ReplaceAllString(marks.ReplaceAllString(line, ""), "$1$2")
	return strings.ReplaceAll(line, `\|`, "|")
}

// render lays Markdown out for a terminal: headings are underlined, paragraphs and
// lists wrapped, code is indented, and a table that is too wide is a list.
func render(text string) string {
	var b strings.Builder
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := 0; i < len(lines); {
		i += block(&b, lines[i:])
	}
	return b.String()
}

// block writes what the lines begin with, and returns how many lines that is.
func block(b *strings.Builder, lines []string) int {
	first := lines[0]
	until := func(more func(line string) bool) int {
		n := 1
		for n < len(lines) && more(lines[n]) {
			n++
		}
		return n
	}
	switch {
	case strings.HasPrefix(first, "```"):
		n := until(func(line string) bool { return line != "```" })
		for _, line := range lines[1:n] {
			b.WriteString(strings.TrimRight("    "+line, " ") + "\n")
		}
		return min(n+1, len(lines))
	case strings.HasPrefix(first, "    "), first == "":
		b.WriteString(first + "\n")
		return 1
	case heading.MatchString(first):
		m := heading.FindStringSubmatch(first)
		title := plain(m[2])
		under := map[int]string{1: "=", 2: "-"}[len(m[1])]
		b.WriteString(title + "\n")
		if under != "" {
			b.WriteString(strings.Repeat(under, utf8.RuneCountInString(title)) + "\n")
		}
		return 1
	case strings.HasPrefix(first, "|"):
		n := until(func(line string) bool { return strings.HasPrefix(line, "|") })
		table(b, lines[:n])
		return n
	}
	n := until(func(line string) bool {
		return line != "" && !item.MatchString(line) && !strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "```")
	})
	indent := item.FindString(first)
	var words []string
	for _, line := range lines[:n] {
		words = append(words, strings.TrimSpace(line))
	}
	body := plain(strings.TrimPrefix(strings.Join(words, " "), strings.TrimSpace(indent)+" "))
	for i, line := range show.Wrap(body, textWidth-len(indent)) {
		if i > 0 {
			indent = strings.Repeat(" ", len(indent))
		}
		b.WriteString(indent + line + "\n")
	}
	return n
}

// table writes aligned columns where they fit, and else an entry for each row: its
// first cell with the short ones named, and the last one below.
func table(b *strings.Builder, lines []string) {
	var rows [][]string
	for _, line := range append(lines[:1:1], lines[2:]...) {
		rows = append(rows, cells(line))
	}
	widths := make([]int, len(rows[0]))
	total := 0
	for c := range widths {
		for _, row := range rows {
			widths[c] = max(widths[c], utf8.RuneCountInString(row[c]))
		}
		total += widths[c] + 2
	}
	if total-2 <= textWidth {
		for _, row := range rows {
			line := ""
			for c, cell := range row {
				line += cell + strings.Repeat(" ", widths[c]-utf8.RuneCountInString(cell)+2)
			}
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
		return
	}
	for _, row := range rows[1:] {
		entry(b, rows[0], row)
	}
}

func entry(b *strings.Builder, head, row []string) {
	last := len(row) - 1
	var said []string
	for c := 1; c < last; c++ {
		if row[c] != "" && row[c] != "–" {
			said = append(said, head[c]+": "+row[c])
		}
	}
	line := row[0]
	if len(said) > 0 {
		line += "  (" + strings.Join(said, "; ") + ")"
	}
	text := row[last]
	if head[last] != "" {
		text = head[last] + ": " + text
	}
	for i, part := range show.Wrap(line, textWidth-6) {
		b.WriteString("  " + strings.Repeat("  ", min(i, 1)) + part + "\n")
	}
	for _, part := range show.Wrap(text, textWidth-6) {
		b.WriteString("      " + part + "\n")
	}
}

// cells are those of a table's line. A \| is no border.
func cells(line string) []string {
	const escaped = "\x00"
	line = strings.Trim(strings.ReplaceAll(strings.TrimSpace(line), `\|`, escaped), "|")
	var all []string
	for _, cell := range strings.Split(line, "|") {
		all = append(all, plain(strings.TrimSpace(strings.ReplaceAll(cell, escaped, "|"))))
	}
	return all
}
