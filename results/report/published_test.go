package report_test

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"stackmeter/results/exchange"
	"stackmeter/results/report"
)

// TestImportPublished prints the seven tables of the published experiment and
// its conclusion from the file of its figures, and finds every figure of the
// file in what is printed.
func TestImportPublished(t *testing.T) {
	data, err := os.ReadFile("testdata/published.csv")
	if err != nil {
		t.Fatal(err)
	}
	all, err := exchange.Read("testdata/published.csv", bytes.NewReader(data), "")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 7 {
		t.Fatalf("%d tables, want 7", len(all))
	}
	figures := 0
	var b strings.Builder
	for _, one := range all {
		csv := render(t, "csv", one.Run, one.Records, report.Options{})
		for _, r := range one.Records {
			if r.Duration != nil && !strings.Contains(csv, strconv.FormatFloat(*r.Duration, 'f', -1, 64)) {
				t.Errorf("%s: %v is not in the CSV", r.Cell.Name, *r.Duration)
			}
			figures++
		}
		text := render(t, "table", one.Run, one.Records, report.Options{})
		for _, r := range one.Records {
			// A table rounds to what its figures have in common; the CSV does not.
			if r.Duration != nil && !slices.ContainsFunc([]int{2, 3, 4}, func(decimals int) bool {
				return strings.Contains(text, strconv.FormatFloat(*r.Duration, 'f', decimals, 64)+" s")
			}) {
				t.Errorf("table %s does not print %v", one.Run.Scenario, *r.Duration)
			}
			if r.GPU.Peak != nil && !strings.Contains(text, strconv.FormatInt(*r.GPU.Peak>>20, 10)+" MiB") {
				t.Errorf("table %s does not print %d MiB", one.Run.Scenario, *r.GPU.Peak>>20)
			}
		}
		if !strings.Contains(text, "imported") {
			t.Errorf("table %s does not say that it was imported", one.Run.Scenario)
		}
		b.WriteString(text + "\n")
	}
	if figures != strings.Count(string(data), "\n")-1 {
		t.Errorf("%d rows, and the file has %d", figures, strings.Count(string(data), "\n")-1)
	}
	last := render(t, "table", all[6].Run, all[6].Records, report.Options{})
	for _, published := range []string{"10.82 s", "63.47%", "11.10 s", "62.50%", "11.54 s", "61.02%", "3137 MiB", "4481 MiB", "4824 MiB"} {
		if !strings.Contains(last, published) {
			t.Errorf("the conclusion does not print %s:\n%s", published, last)
		}
	}
	golden(t, "published.table", b.String())
}
