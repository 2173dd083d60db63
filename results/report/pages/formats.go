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
	"stackmeter/results/verdict/history"
)

// as is a format that the terminal has no say in.
func as(name string, write func(io.Writer) error) report.Format {
	return report.Format{Name: name, Write: func(w io.Writer, _ report.Options) error { return write(w) }}
}

// Formats are those of a run.
func Formats(run results.Run, records []results.Record) report.Formats {
	return FormatsSince(run, records, nil)
}

// FormatsSince are those of a run, which say what changed since another one.
func FormatsSince(run results.Run, records []results.Record, changed *verdict.Comparison) report.Formats {
	of := func(name string, write func(io.Writer, results.Run, []results.Record) error) report.Format {
		return as(name, func(w io.Writer) error { return write(w, run, records) })
	}
	return append(report.Printed("table", func() report.Document { return report.NewDocument(run, records, changed) }),
		of("csv", exchange.WriteCSV), of("json", exchange.WriteJSON),
		as("html", func(w io.Writer) error { return WritePage(w, run, records, PageOptions{Changed: changed}) }),
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

// HistoryFormats are those of each cell over its last runs, and where it stepped. There
// is a history for each metric, over the same runs.
func HistoryFormats(all []history.History) report.Formats {
	return append(report.Printed("table", func() report.Document { return report.NewHistoryDocument(all) }),
		as("csv", func(w io.Writer) error { return exchange.WriteHistoryCSV(w, all) }),
		as("json", func(w io.Writer) error { return exchange.WriteHistoryJSON(w, all) }),
		as("html", func(w io.Writer) error { return WriteHistoryPage(w, all, HistoryOptions{}) }))
}

// FoundFormats are those of what a search found.
func FoundFormats(run results.Run, records []results.Record, rate float64) report.Formats {
	return append(report.Printed("text", func() report.Document { return report.NewFoundDocument(run, records, rate) }),
		as("json", func(w io.Writer) error { return exchange.WriteFoundJSON(w, run, records, rate) }))
}

// RecommendFormats are those of what is recommended of a run's cells.
// A rate, in requests per second, is what copies of each are counted for; 0: none are.
func RecommendFormats(run results.Run, loads []verdict.Recommendation, rate float64) report.Formats {
	return append(report.Printed("text", func() report.Document { return report.NewRecommendationDocument(run, loads, rate) }),
		as("json", func(w io.Writer) error { return exchange.WriteRecommendationJSON(w, run, loads, rate) }))
}
