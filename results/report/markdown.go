package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
)

// writeMarkdown prints a report in GitHub's Markdown.
func writeMarkdown(w io.Writer, doc Document) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n", escape(doc.Title))
	writeAnswer(&b, doc.Answer)
	for _, f := range doc.Facts {
		fmt.Fprintf(&b, "- **%s**: %s\n", escape(f.Label), escape(f.Text))
	}
	for _, s := range doc.Sections {
		fmt.Fprintf(&b, "\n### %s\n", escape(s.Title))
		for _, text := range s.Text {
			fmt.Fprintf(&b, "\n%s\n", escape(text))
		}
		if s.Table != nil {
			fmt.Fprintf(&b, "\n%s\n", markdownTable(*s.Table))
		}
		if len(s.Notes) > 0 {
			b.WriteByte('\n')
		}
		for _, note := range s.Notes {
			fmt.Fprintf(&b, "- %s\n", escape(note))
		}
		writeItems(&b, s.Items)
	}
	if len(doc.Details) > 0 {
		b.WriteString("\n### Details\n")
		writeItems(&b, doc.Details)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeAnswer is a list, with what belongs to one entry below it.
func writeAnswer(b *strings.Builder, facts []Fact) {
	for _, f := range facts {
		if f.Label == "" {
			fmt.Fprintf(b, "  - %s\n", escape(f.Text))
		} else {
			fmt.Fprintf(b, "- **%s** %s\n", escape(f.Label), escape(f.Text))
		}
	}
	if len(facts) > 0 {
		b.WriteByte('\n')
	}
}

func writeItems(b *strings.Builder, items []Item) {
	for _, item := range items {
		text := strings.Join(strings.Fields(item.Text), " ")
		fmt.Fprintf(b, "\n**%s**: %s\n", escape(item.Name), escape(text))
		if len(item.Log) > 0 {
			// Indented code has no closing mark that a log could hold.
			fmt.Fprintf(b, "\n    %s\n", strings.Join(item.Log, "\n    "))
		}
	}
}

// markdownTable renders a table; go-pretty escapes the pipes in its cells.
func markdownTable(g Grid) string {
	escaped := Grid{Labels: g.Labels}
	for _, name := range g.Head {
		escaped.Head = append(escaped.Head, escapeCell(name))
	}
	t := escaped.Pretty()
	for _, row := range g.Rows {
		var cells table.Row
		for _, e := range row {
			cells = append(cells, escapeCell(strings.Join(strings.Fields(e.Text), " ")))
		}
		t.AppendRow(cells)
	}
	return t.RenderMarkdown()
}

// escape keeps text from being read as Markdown or HTML.
func escape(text string) string {
	return strings.ReplaceAll(escapeCell(text), "|", `\|`)
}

// escapeCell is escape without the pipe.
func escapeCell(text string) string {
	return strings.NewReplacer(
		`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "~", `\~`, "[", `\[`, "]", `\]`,
		"&", "&amp;", "<", "&lt;", ">", "&gt;",
	).Replace(text)
}
