// Package pages writes reports as HTML: a run, a cell, a comparison, a history and
// the list of runs, each as one file with its charts. Its Write functions know
// every format, and pass on to package report those that are not HTML.
package pages

import (
	"io"
	"slices"

	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/verdict"
)

const formatHTML = "html"

// Formats lists the names of the formats that Write knows, the default first.
func Formats() []string {
	formats := report.Formats()
	return slices.Insert(formats, slices.Index(formats, "json")+1, formatHTML)
}

// Write writes a report of the run and its records in the named format.
func Write(w io.Writer, format string, run results.Run, records []results.Record, opts report.Options) error {
	if format == formatHTML {
		return WritePage(w, run, records, PageOptions{})
	}
	return report.Write(w, format, run, records, opts)
}

// ComparisonFormats lists the names of the formats that WriteComparison knows,
// the default first.
func ComparisonFormats() []string { return append(report.ComparisonFormats(), formatHTML) }

// WriteComparison writes what became of a run's cells, and what thresholds say of
// them, in the named format.
func WriteComparison(w io.Writer, format string, c verdict.Comparison, checks []results.Check, opts report.Options) error {
	if format == formatHTML {
		return WriteComparisonPage(w, c, checks, PageOptions{}, nil)
	}
	return report.WriteComparison(w, format, c, checks, opts)
}

// HistoryFormats lists the names of the formats that WriteHistory knows, the
// default first.
func HistoryFormats() []string { return append(report.HistoryFormats(), formatHTML) }

// WriteHistory writes each cell over its last runs, and where it stepped, in the
// named format.
func WriteHistory(w io.Writer, format string, h verdict.History, opts report.Options) error {
	if format == formatHTML {
		return WriteHistoryPage(w, h, nil)
	}
	return report.WriteHistory(w, format, h, opts)
}
