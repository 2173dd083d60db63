package main

import (
	"errors"
	"io"
	"slices"
	"strings"

	"stackmeter/cmd/stackmeter/files"
	"stackmeter/cmd/stackmeter/usage"

	"github.com/spf13/cobra"
)

// outputOptions say in which format a report is written, and where to.
type outputOptions struct {
	format string
	file   string
	charts string // a folder; empty: no charts
}

// flags adds the flags. files.Check looks at the files before the command runs.
func (o *outputOptions) flags(cmd *cobra.Command, formats []string) {
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if !slices.Contains(formats, o.format) {
			return usage.Unknown("format", o.format, formats)
		}
		return nil
	}
	cmd.Flags().StringVar(&o.format, "format", formats[0], strings.Join(formats, ", "))
	cmd.Flags().StringVarP(&o.file, "output", "o", "-", "`FILE` to write, - for standard output")
}

func (o *outputOptions) chartsFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.charts, "charts", "", "also write the charts into `DIR`, as PNG and SVG")
}

// write writes a report, and its charts where they are asked for. A chart that
// fails does not keep the report from being written.
func (a *app) write(o outputOptions, draw func(dir string) ([]string, error), report func(io.Writer) error) error {
	var undrawn error
	if o.charts != "" {
		_, undrawn = draw(o.charts)
	}
	return errors.Join(undrawn, files.Write(a.stdout, o.file, report))
}
