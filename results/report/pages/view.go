package pages

import (
	"html/template"
	"slices"
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

// halfPage is how wide charts are drawn that stand beside each other.
const halfPage = chart.Narrow + 100

// newFigure draws a chart at a width, and for phones, where that is less.
func newFigure(c chart.Chart, caption string, width float64) figureView {
	f := figureView{Title: c.Title, Caption: caption, Full: width == chart.Wide, SVG: template.HTML(c.SVG(width))} // package chart escapes what it writes
	if width > chart.Narrow {
		f.Narrow = template.HTML(c.SVG(chart.Narrow))
	}
	return f
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
func newGrid(name string, g *report.Grid) gridView {
	view := gridView{Name: name}
	for i, text := range g.Head {
		view.Head = append(view.Head, headView{Text: text, Right: i >= g.Labels && holdsFigures(g, i)})
	}
	for _, row := range g.Rows {
		var entries []entryView
		for i, e := range row {
			entry := entryView{Text: e.Text, Href: e.Link, Class: classOf(e), Head: i < g.Labels, Right: view.Head[i].Right}
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

// classOf is how an entry stands out.
func classOf(e report.Entry) string {
	switch e.Tone {
	case report.Best:
		return "best"
	case report.Bad:
		return "failed"
	case report.Better:
		return "better"
	case report.Worse:
		return "worse"
	}
	return ""
}

// holdsFigures reports whether a column holds figures, or nothing.
func holdsFigures(g *report.Grid, column int) bool {
	for _, row := range g.Rows {
		if column < len(row) && !slices.Contains([]string{words.Missing, "", "~"}, row[column].Text) && leadingNumber(row[column].Text) == "" {
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
