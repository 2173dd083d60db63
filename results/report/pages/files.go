package pages

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"stackmeter/results"
	"stackmeter/results/report/chart"
	"stackmeter/results/verdict"
	"stackmeter/results/verdict/history"
)

// fileWidth is the width in pixels, of PNG before doubling, of charts for a slide.
const fileWidth = 900

// WriteCharts writes the charts of a run as PNG and SVG files into a folder, which it
// makes where there is none, and returns their paths. Names are of letters,
// digits and -, whatever a topology is called; a file that is there already is
// replaced. It is an error when there is nothing to draw.
func WriteCharts(dir string, run results.Run, records []results.Record) ([]string, error) {
	b := newBuilder(run, records, nil)
	var charts []chart.Chart
	if d := b.tradeoff(); d != nil {
		charts = append(charts, d.chart)
	}
	for _, d := range b.drawings() {
		charts = append(charts, d.chart)
	}
	if c := spentChart(run); c != nil {
		charts = append(charts, *c)
	}
	return writeCharts(dir, charts, len(banners(run, records)) > 0)
}

// WriteComparisonCharts writes the charts of a comparison as WriteCharts does,
// one for each metric that both runs have.
func WriteComparisonCharts(dir string, c verdict.Comparison) ([]string, error) {
	var charts []chart.Chart
	for i, metric := range c.Metrics {
		if rows := changesOf(c, i); len(rows) > 0 {
			charts = append(charts, changesChart(metric, rows).chart)
		}
	}
	return writeCharts(dir, charts, len(banners(c.Base, nil))+len(banners(c.Head, nil)) > 0)
}

// WriteHistoryCharts writes the charts of a history as WriteCharts does, one
// for each cell that the page draws.
func WriteHistoryCharts(dir string, all []history.History) ([]string, error) {
	charts, _ := historyCharts(all)
	fake := slices.ContainsFunc(all[0].Runs, func(run results.Run) bool { return len(banners(run, nil)) > 0 })
	return writeCharts(dir, charts, fake)
}

func writeCharts(dir string, charts []chart.Chart, fake bool) ([]string, error) {
	if len(charts) == 0 {
		return nil, errors.New("there are no charts: nothing in this report has a figure to draw")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder for charts: %w", err)
	}
	var files []string
	used := map[string]bool{}
	for _, c := range charts {
		if fake {
			c.Title += " (FAKE GPU)"
		}
		name := c.Name
		for i := 2; used[name]; i++ {
			name = fmt.Sprintf("%s-%d", c.Name, i)
		}
		used[name] = true
		var png bytes.Buffer
		if err := c.PNG(&png, fileWidth); err != nil {
			return files, err
		}
		for ext, data := range map[string][]byte{".png": png.Bytes(), ".svg": []byte(c.File(fileWidth))} {
			file := filepath.Join(dir, name+ext)
			if err := os.WriteFile(file, data, 0o644); err != nil {
				return files, fmt.Errorf("write chart: %w", err)
			}
			files = append(files, file)
		}
	}
	return files, nil
}
