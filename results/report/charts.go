package report

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"stackmeter/results"
	"stackmeter/results/report/chart"
)

// pngWidth is the width in pixels, before doubling, of charts for a slide.
const pngWidth = 900

// WriteCharts writes the charts of a run as PNG files into a folder, which it
// makes where there is none, and returns their paths. Names are of letters,
// digits and -, whatever a topology is called; a file that is there already is
// replaced.
func WriteCharts(dir string, run results.Run, records []results.Record) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder for charts: %w", err)
	}
	b := newBuilder(run, records, PageOptions{})
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
	fake := len(banners(run, records)) > 0
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
		if err := c.PNG(&png, pngWidth); err != nil {
			return files, err
		}
		file := filepath.Join(dir, name+".png")
		if err := os.WriteFile(file, png.Bytes(), 0o644); err != nil {
			return files, fmt.Errorf("write chart: %w", err)
		}
		files = append(files, file)
	}
	return files, nil
}
