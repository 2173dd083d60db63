package report

import (
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"stackmeter/scenarios/show"
)

// writeTerminal prints a report for people to read in a terminal. A table that is
// wider than opts.Width is split by columns into several.
func writeTerminal(w io.Writer, doc Document, opts Options) error {
	p := newTerminal(opts)
	p.line(p.paint(doc.Title, "1"))
	labels := 9
	for _, f := range doc.Facts {
		labels = max(labels, width(f.Label))
	}
	for i, f := range doc.Facts {
		if i == 0 {
			f.Text = p.toned(f.Text, doc.Tone)
		}
		p.wrapped(pad(f.Label, labels, false)+" ", f.Text)
	}
	for _, s := range doc.Sections {
		p.section(s)
	}
	p.answer(doc.Answer)
	_, err := io.WriteString(w, p.b.String())
	return err
}

// answer is last, where the eye is when a run has ended in a terminal.
func (p *terminal) answer(facts []Fact) {
	const labels = 9
	before := ""
	for i, f := range facts {
		label := f.Label
		if i == 0 {
			p.line("")
		} else if label == before {
			label = ""
		}
		label = p.paint(pad(label, labels, false), "1")
		if f.Label == nextLabel {
			p.line(label + p.command(f.Text, labels))
		} else {
			p.wrapped(label, f.Text)
		}
		before = f.Label
	}
}

// command is a command as a shell takes it when it is copied, with what it does where that
// fits beside it.
func (p *terminal) command(text string, indent int) string {
	command, does, _ := strings.Cut(text, commandComment)
	if p.opts.Store != "" && strings.HasPrefix(command, "stackmeter ") {
		command += " --db " + show.Shell(p.opts.Store)
	}
	if with := command + commandComment + does; does != "" && indent+width(with) <= p.opts.Width {
		return with
	}
	if strings.Contains(command, "'") { // no line ends within quotes
		return command
	}
	const goesOn = ` \`
	var b strings.Builder
	line := indent
	for i, word := range strings.Fields(command) {
		switch {
		case i > 0 && line+1+width(word)+len(goesOn) > p.opts.Width && indent+width(word)+len(goesOn) <= p.opts.Width:
			b.WriteString(goesOn + "\n" + strings.Repeat(" ", indent))
			line = indent
		case i > 0:
			b.WriteByte(' ')
			line++
		}
		b.WriteString(word)
		line += width(word)
	}
	return b.String()
}

type terminal struct {
	opts Options
	b    strings.Builder
}

func newTerminal(opts Options) *terminal {
	if opts.Width <= 0 {
		opts.Width = defaultWidth
	}
	return &terminal{opts: opts}
}

func (p *terminal) section(s Section) {
	p.line("")
	p.line(p.paint(s.Title, "1"))
	for _, text := range s.Text {
		p.wrapped("", text)
	}
	if s.Table != nil {
		for i, part := range s.Table.Split(p.opts.Width) {
			if i > 0 || len(s.Text) > 0 {
				p.line("")
			}
			p.line(p.table(part))
		}
	}
	for _, note := range s.Notes {
		p.wrapped("", note)
	}
	for _, item := range s.Items {
		lines := strings.Split(item.Text, "\n")
		p.wrapped("  ", p.paint(item.Name, "31")+": "+lines[0])
		for _, line := range lines[1:] {
			p.wrapped("    ", line)
		}
		for _, line := range item.Log {
			p.line("    | " + show.Shorten(line, max(20, p.opts.Width-6)))
		}
	}
}

// table renders one table that fits.
func (p *terminal) table(g Grid) string {
	t := g.Pretty()
	style := table.StyleLight
	style.Format.Header = text.FormatDefault
	style.Options = table.Options{SeparateHeader: true}
	t.SetStyle(style)
	for _, row := range g.Rows {
		var cells table.Row
		for _, e := range row {
			cells = append(cells, p.toned(e.Text, e.Tone))
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

// toned is text in the colour of its tone.
func (p *terminal) toned(text string, t tone) string {
	switch t {
	case Best, Better:
		return p.paint(text, "32")
	case Bad, Worse:
		return p.paint(text, "31")
	}
	return text
}

// paint puts an escape sequence (a Select Graphic Rendition) around text.
func (p *terminal) paint(text, code string) string {
	if !p.opts.Color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Pretty is the table with its heading and alignment, and no rows.
func (g Grid) Pretty() table.Writer {
	t := table.NewWriter()
	t.SuppressTrailingSpaces()
	var head table.Row
	var columns []table.ColumnConfig
	for i, name := range g.Head {
		head = append(head, name)
		if i >= g.Labels {
			columns = append(columns, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
		}
	}
	t.AppendHeader(head)
	t.SetColumnConfigs(columns)
	return t
}

// Split cuts a table between columns so that each part fits into a width; the
// labels are in all of them. A column that does not fit by itself is kept
// whole all the same.
func (g Grid) Split(limit int) []Grid {
	const padding = 2 // of each column
	widths := make([]int, len(g.Head))
	for c, name := range g.Head {
		widths[c] = width(name) + padding
		for _, row := range g.Rows {
			widths[c] = max(widths[c], width(row[c].Text)+padding)
		}
	}
	labels := 0
	for _, w := range widths[:g.Labels] {
		labels += w
	}
	var parts []Grid
	for from := g.Labels; from < len(g.Head); {
		to, used := from+1, labels+widths[from]
		for to < len(g.Head) && used+widths[to] <= limit {
			used += widths[to]
			to++
		}
		part := Grid{Labels: g.Labels, Head: slices.Concat(g.Head[:g.Labels], g.Head[from:to])}
		for _, row := range g.Rows {
			part.Rows = append(part.Rows, slices.Concat(row[:g.Labels], row[from:to]))
		}
		parts = append(parts, part)
		from = to
	}
	return parts
}

// width is how many columns of a terminal the text takes.
func width(s string) int { return text.StringWidthWithoutEscSequences(s) }
