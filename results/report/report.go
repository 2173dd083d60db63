// Package report lays out runs, comparisons, recommendations and histories, and
// prints them as tables for a terminal, in Markdown and as summaries for pull
// requests. Formats for programs are package exchange's, HTML is package pages'.
//
// It only formats; what is compared with what, and what is worth having, is
// package verdict's. Whatever comes from a scenario, a server's answer or a log
// passes through package show before it is written, so that control characters
// never reach a terminal.
package report

import (
	"fmt"
	"io"
	"strings"

	"stackmeter/results"
	"stackmeter/results/exchange"
)

// Options are about how a report looks. The zero value is fit for a file.
type Options struct {
	Width int  // columns of the terminal; defaultWidth when 0
	Color bool // with escape sequences for colours
}

// defaultWidth is the width in columns that tables are laid out for.
const defaultWidth = 100

// A format writes one run.
type format struct {
	name  string
	write func(io.Writer, results.Run, []results.Record, Options) error
}

func formats() []format {
	return []format{
		{"table", writeTerminal},
		{"markdown", writeMarkdown},
		{"csv", forPrograms(exchange.WriteCSV)},
		{"json", forPrograms(exchange.WriteJSON)},
		{"junit", forPrograms(exchange.WriteJUnit)},
		{"prometheus", forPrograms(exchange.WritePrometheus)},
		{"summary", writeSummary},
	}
}

// forPrograms is a format whose looks nothing changes.
func forPrograms(write func(io.Writer, results.Run, []results.Record) error) func(io.Writer, results.Run, []results.Record, Options) error {
	return func(w io.Writer, run results.Run, records []results.Record, _ Options) error {
		return write(w, run, records)
	}
}

// Formats lists the names of the formats that Write knows.
func Formats() []string {
	var names []string
	for _, f := range formats() {
		names = append(names, f.name)
	}
	return names
}

// Write writes a report of the run and its records in the named format. A
// format that does not exist is an error that lists those that do.
func Write(w io.Writer, format string, run results.Run, records []results.Record, opts Options) error {
	if opts.Width <= 0 {
		opts.Width = defaultWidth
	}
	for _, f := range formats() {
		if f.name != format {
			continue
		}
		if err := f.write(w, run, records, opts); err != nil {
			return fmt.Errorf("write %s report: %w", format, err)
		}
		return nil
	}
	return fmt.Errorf("report format %q does not exist; there are %s", format, strings.Join(Formats(), ", "))
}
