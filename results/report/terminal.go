package report

import (
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"stackmeter/results"
	"stackmeter/scenarios/show"
)

// writeTerminal prints a run for people to read in a terminal. A table that is
// wider than opts.Width is split by columns into several.
func writeTerminal(w io.Writer, run results.Run, records []results.Record, opts Options) error {
	return writeTerminalDocument(w, newDocument(run, records), opts)
}

func writeTerminalDocument(w io.Writer, doc document, opts Options) error {
	p := &terminal{opts: opts}
	p.line(p.paint(doc.title, "1"))
	labels := 9
	for _, f := range doc.facts {
		labels = max(labels, width(f.label))
	}
	for _, f := range doc.facts {
		p.wrapped(pad(f.label, labels, false)+" ", f.text)
	}
	for _, s := range doc.sections {
		p.section(s)
	}
	_, err := io.WriteString(w, p.b.String())
	return err
}

type terminal struct {
	opts Options
	b    strings.Builder
}

func (p *terminal) section(s section) {
	p.line("")
	p.line(p.paint(s.title, "1"))
	for _, text := range s.text {
		p.wrapped("", text)
	}
	if s.table != nil {
		for i, part := range s.table.split(p.opts.Width) {
			if i > 0 || len(s.text) > 0 {
				p.line("")
			}
			p.line(p.table(part))
		}
	}
	for _, note := range s.notes {
		p.wrapped("", note)
	}
	for _, item := range s.items {
		lines := strings.Split(item.text, "\n")
		p.wrapped("  ", p.paint(item.name, "31")+": "+lines[0])
		for _, line := range lines[1:] {
			p.wrapped("    ", line)
		}
		for _, line := range item.log {
			p.line("    | " + show.Shorten(line, max(20, p.opts.Width-6)))
		}
	}
}

// table renders one table that fits.
func (p *terminal) table(g grid) string {
	t := g.pretty()
	style := table.StyleLight
	style.Format.Header = text.FormatDefault
	style.Options = table.Options{SeparateHeader: true}
	t.SetStyle(style)
	for _, row := range g.rows {
		var cells table.Row
		for _, e := range row {
			switch e.tone {
			case best:
				cells = append(cells, p.paint(e.text, "32"))
			case bad:
				cells = append(cells, p.paint(e.text, "31"))
			default:
				cells = append(cells, e.text)
			}
		}
		t.AppendRow(cells)
	}
	lines := strings.Split(t.Render(), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

func (p *terminal) line(text string) {
	p.b.WriteString(strings.TrimRight(text, " "))
	p.b.WriteByte('\n')
}

// wrapped writes text broken between words, its further lines indented as far
// as its first.
func (p *terminal) wrapped(indent, text string) {
	prefix := indent
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && width(prefix)+width(line)+1+width(word) > p.opts.Width {
			p.line(prefix + line)
			prefix, line = strings.Repeat(" ", width(indent)), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	p.line(prefix + line)
}

// paint puts an escape sequence (a Select Graphic Rendition) around text.
func (p *terminal) paint(text, code string) string {
	if !p.opts.Color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// pretty is the table with its heading and alignment, and no rows.
func (g grid) pretty() table.Writer {
	t := table.NewWriter()
	t.SuppressTrailingSpaces()
	var head table.Row
	var columns []table.ColumnConfig
	for i, name := range g.head {
		head = append(head, name)
		if i >= g.labels {
			columns = append(columns, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
		}
	}
	t.AppendHeader(head)
	t.SetColumnConfigs(columns)
	return t
}

// split cuts a table between columns so that each part fits into a width; the
// labels are in all of them. A column that does not fit by itself is kept
// whole all the same.
func (g grid) split(limit int) []grid {
	const padding = 2 // of each column
	widths := make([]int, len(g.head))
	for c, name := range g.head {
		widths[c] = width(name) + padding
		for _, row := range g.rows {
			widths[c] = max(widths[c], width(row[c].text)+padding)
		}
	}
	labels := 0
	for _, w := range widths[:g.labels] {
		labels += w
	}
	var parts []grid
	for from := g.labels; from < len(g.head); {
		to, used := from+1, labels+widths[from]
		for to < len(g.head) && used+widths[to] <= limit {
			used += widths[to]
			to++
		}
		part := grid{labels: g.labels, head: slices.Concat(g.head[:g.labels], g.head[from:to])}
		for _, row := range g.rows {
			part.rows = append(part.rows, slices.Concat(row[:g.labels], row[from:to]))
		}
		parts = append(parts, part)
		from = to
	}
	return parts
}

// width is how many columns of a terminal the text takes.
func width(s string) int { return text.StringWidthWithoutEscSequences(s) }
