package pages

import (
	"html/template"
	"strconv"
	"strings"

	"stackmeter/results/report"
	"stackmeter/results/report/chart"
	"stackmeter/results/words"
)

// The types here are what the templates in html/ are given. Their texts are
// clean.

// A figureView is a chart with its title.
type figureView struct {
	Title   string
	Caption string
	Full    bool // as wide as the page
	SVG     template.HTML
	Narrow  template.HTML // for phones; the other serves both when empty
}

// newFigure draws a chart: at the page's width and at a phone's, or, for half
// a page, once.
func newFigure(c chart.Chart, caption string, full bool) (figureView, error) {
	f := figureView{Title: c.Title, Caption: caption, Full: full}
	width := float64(chart.Narrow + 100)
	if full {
		width = chart.Wide
	}
	draw := func(width float64) (template.HTML, error) {
		var b strings.Builder
		err := c.SVG(&b, width)
		return template.HTML(b.String()), err // package chart escapes what it writes
	}
	var err error
	if f.SVG, err = draw(width); err != nil {
		return f, err
	}
	f.Narrow, err = draw(chart.Narrow)
	return f, err
}

// newSmallFigure draws a chart once, at a width that fits a phone and half a
// page.
func newSmallFigure(c chart.Chart, caption string) (figureView, error) {
	var b strings.Builder
	err := c.SVG(&b, chart.Narrow)
	return figureView{Title: c.Title, Caption: caption, SVG: template.HTML(b.String())}, err
}

// A gridView is a table.
type gridView struct {
	Name string
	Head []headView
	Rows [][]entryView
}

type headView struct {
	Text  string
	Right bool // figures stand right
}

type entryView struct {
	Text  string
	Href  string
	Value string // sort key; empty: the text is
	Class string
	Head  bool
	Right bool
}

// newGrid turns a table of the other formats into one of a page. A column
// stands right where it holds figures.
func newGrid(name string, g *report.Grid) *gridView {
	if g == nil {
		return nil
	}
	view := &gridView{Name: name}
	for i, text := range g.Head {
		view.Head = append(view.Head, headView{Text: text, Right: i >= g.Labels && holdsFigures(g, i)})
	}
	right := func(column int) bool { return column < len(view.Head) && view.Head[column].Right }
	for _, row := range g.Rows {
		var entries []entryView
		for i, e := range row {
			entry := entryView{Text: e.Text, Head: i < g.Labels, Right: right(i)}
			switch e.Tone {
			case report.Best:
				entry.Class = "best"
			case report.Bad:
				entry.Class = "failed"
			}
			if entry.Right {
				entry.Value = leadingNumber(e.Text)
			} else if i >= g.Labels && len(e.Text) > 30 {
				entry.Class += " wide"
			}
			entries = append(entries, entry)
		}
		view.Rows = append(view.Rows, entries)
	}
	return view
}

// holdsFigures reports whether a column holds figures, or nothing.
func holdsFigures(g *report.Grid, column int) bool {
	for _, row := range g.Rows {
		if column < len(row) && row[column].Text != words.Missing && row[column].Text != "" && leadingNumber(row[column].Text) == "" {
			return false
		}
	}
	return true
}

// leadingNumber is the number that a text begins with, "" when it begins with
// none or goes on in words.
func leadingNumber(text string) string {
	first, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	first = strings.TrimSuffix(first, "%")
	if _, err := strconv.ParseFloat(first, 64); err != nil || strings.Contains(rest, " + ") {
		return ""
	}
	return first
}

// A sectionView is a section of the other formats.
type sectionView struct {
	ID    string
	Title string
	Text  []string
	Grid  *gridView
	Notes []string
	Items []itemView
}

type itemView struct{ Name, Text, Log string }

func newSection(s report.Section) sectionView {
	view := sectionView{Title: s.Title, Text: s.Text, Grid: newGrid(s.Title, s.Table), Notes: s.Notes}
	for _, i := range s.Items {
		view.Items = append(view.Items, itemView{Name: i.Name, Text: i.Text, Log: strings.Join(i.Log, "\n")})
	}
	return view
}

// exact is a number as a script reads it.
func exact(value float64) string { return strconv.FormatFloat(value, 'g', 10, 64) }

func joinLines(lines []string) string { return strings.Join(lines, "\n") }
