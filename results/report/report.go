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
)

// Options are about how a report looks. The zero value is fit for a file.
type Options struct {
	Width int    // columns of the terminal; defaultWidth when 0
	Color bool   // with escape sequences for colours
	Store string // which commands have to name with --db; empty: the usual one
}

// defaultWidth is the width in columns that tables are laid out for.
const defaultWidth = 100

// Formats are those that one report can be written in, the default first.
type Formats []Format

// A Format is a way to write one report.
type Format struct {
	Name  string
	Write func(io.Writer, Options) error
}

// Printed are the formats that people read as text: the named one, for a
// terminal, and Markdown.
func Printed(name string, lay func() Document) Formats {
	return Formats{
		{name, func(w io.Writer, opts Options) error { return writeTerminal(w, lay(), opts) }},
		{"markdown", func(w io.Writer, _ Options) error { return writeMarkdown(w, lay()) }},
	}
}

// Names lists the names of the formats.
func (all Formats) Names() []string {
	var names []string
	for _, f := range all {
		names = append(names, f.Name)
	}
	return names
}

// Write writes the report in the named format. A format that does not exist is
// an error that lists those that do.
func (all Formats) Write(w io.Writer, name string, opts Options) error {
	for _, f := range all {
		if f.Name != name {
			continue
		}
		if err := f.Write(w, opts); err != nil {
			return fmt.Errorf("write %s report: %w", name, err)
		}
		return nil
	}
	return fmt.Errorf("format %q does not exist; there are %s", name, strings.Join(all.Names(), ", "))
}
