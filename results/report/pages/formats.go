// Package pages writes reports as HTML: a run, a cell, a comparison, a history and
// the list of runs, each as one file with its charts. It lists every format of
// each kind of report.
package pages

import (
	"io"

	"stackmeter/results"
	"stackmeter/results/exchange"
	"stackmeter/results/report"
	"stackmeter/results/verdict"
)

// as is a format that the terminal has no say in.
func as(name string, write func(io.Writer) error) report.Format {
	return report.Format{Name: name, Write: func(w io.Writer, _ report.Options) error { return write(w) }}
}

// Formats are those of a run.
func Formats(run results.Run, records []results.Record) report.Formats {
	of := func(name string, write func(io.Writer, results.Run, []results.Record) error) report.Format {
		return as(name, func(w io.Writer) error { return write(w, run, records) })
	}
	return append(report.Printed("table", func() report.Document { return report.NewDocument(run, records) }),
		of("csv", exchange.WriteCSV), of("json", exchange.WriteJSON),
		as("html", func(w io.Writer) error { return WritePage(w, run, records, PageOptions{}) }),
		of("junit", exchange.WriteJUnit), of("prometheus", exchange.WritePrometheus), of("summary", report.WriteSummary))
}

// ComparisonFormats are those of what became of a run's cells, and what thresholds
// say of them.
func ComparisonFormats(c verdict.Comparison, checks []results.Check) report.Formats {
	of := func(name string, write func(io.Writer, verdict.Comparison, []results.Check) error) report.Format {
		return as(name, func(w io.Writer) error { return write(w, c, checks) })
	}
	return append(report.Printed("table", func() report.Document { return report.NewComparisonDocument(c, checks) }),
		of("summary", report.WriteComparisonSummary), of("json", exchange.WriteComparisonJSON),
		of("csv", exchange.WriteComparisonCSV), of("junit", exchange.WriteComparisonJUnit),
		as("html", func(w io.Writer) error { return WriteComparisonPage(w, c, checks, nil, nil) }))
}

// HistoryFormats are those of each cell over its last runs, and where it stepped.
func HistoryFormats(h verdict.History) report.Formats {
	return append(report.Printed("table", func() report.Document { return report.NewHistoryDocument(h) }),
		as("json", func(w io.Writer) error { return exchange.WriteHistoryJSON(w, h) }),
		as("html", func(w io.Writer) error { return WriteHistoryPage(w, h, nil) }))
}

// RecommendFormats are those of what is recommended of a run's cells.
// A rate, in requests per second, is what copies of each are counted for; 0: none are.
func RecommendFormats(run results.Run, loads []verdict.Recommendation, rate float64) report.Formats {
	return append(report.Printed("text", func() report.Document { return report.NewRecommendationDocument(run, loads, rate) }),
		as("json", func(w io.Writer) error { return exchange.WriteRecommendationJSON(w, run, loads, rate) }))
}
