package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"stackmeter/results"
)

// writeMarkdown prints a run in GitHub's Markdown.
func writeMarkdown(w io.Writer, run results.Run, records []results.Record, _ Options) error {
	return writeDocument(w, newDocument(run, records))
}

func writeDocument(w io.Writer, doc document) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n", escape(doc.title))
	for _, f := range doc.facts {
		fmt.Fprintf(&b, "- **%s**: %s\n", escape(f.label), escape(f.text))
	}
	for _, s := range doc.sections {
		fmt.Fprintf(&b, "\n### %s\n", escape(s.title))
		for _, text := range s.text {
			fmt.Fprintf(&b, "\n%s\n", escape(text))
		}
		if s.table != nil {
			fmt.Fprintf(&b, "\n%s\n", markdownTable(*s.table))
		}
		if len(s.notes) > 0 {
			b.WriteByte('\n')
		}
		for _, note := range s.notes {
			fmt.Fprintf(&b, "- %s\n", escape(note))
		}
		writeItems(&b, s.items)
	}
	if len(doc.details) > 0 {
		b.WriteString("\n### Details\n")
		writeItems(&b, doc.details)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeItems(b *strings.Builder, items []item) {
	for _, item := range items {
		text := strings.Join(strings.Fields(item.text), " ")
		fmt.Fprintf(b, "\n**%s**: %s\n", escape(item.name), escape(text))
		if len(item.log) > 0 {
			// Indented code has no closing mark that a log could hold.
			fmt.Fprintf(b, "\n    %s\n", strings.Join(item.log, "\n    "))
		}
	}
}

// markdownTable renders a table; go-pretty escapes the pipes in its cells.
func markdownTable(g grid) string {
	escaped := grid{labels: g.labels}
	for _, name := range g.head {
		escaped.head = append(escaped.head, escapeCell(name))
	}
	t := escaped.pretty()
	for _, row := range g.rows {
		var cells table.Row
		for _, e := range row {
			cells = append(cells, escapeCell(strings.Join(strings.Fields(e.text), " ")))
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
