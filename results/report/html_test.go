package report_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/exchange"
	"stackmeter/results/report"
	"stackmeter/results/report/pages"
	"stackmeter/scenarios"
)

// TestHTMLHoldsTheFigures reads the published tables off a page, and that it
// has no inline style, no handler and nothing from elsewhere.
func TestHTMLHoldsTheFigures(t *testing.T) {
	run := sampleRun()
	page := render(t, "html", run, published(t, "7"), report.Options{})
	for _, figure := range []string{
		"29.60", "18.79", "18.50", "18.06", "4481", "4824", "63.5%", "62.5%", "61.0%", // the table of durations
		"10.82 s", "11.10 s", "11.54 s", "63.47%", "62.50%", "61.02%", // the conclusion
	} {
		if !strings.Contains(page, figure) {
			t.Errorf("%s is missing", figure)
		}
	}
	tags := regexp.MustCompile(`<[a-zA-Z][^>]*>`).FindAllString(page, -1)
	for _, tag := range tags {
		if regexp.MustCompile(`\s(style|on[a-z]+|src|srcset)=`).MatchString(tag) {
			t.Errorf("the page holds %s", tag)
		}
	}
	if !strings.Contains(page, `content="default-src 'none'; style-src 'sha256-`) {
		t.Error("the page has no strict policy")
	}
	svgs := strings.Count(page, "<svg ")
	if svgs == 0 || strings.Count(page, `role="group" aria-label="`) != svgs {
		t.Errorf("%d charts, not each with a text of its own", svgs)
	}
}

// TestHTMLOfEveryKind makes pages of runs that lack one thing or another.
func TestHTMLOfEveryKind(t *testing.T) {
	run, records := repeats()
	nothing := record(flask, single, 1)
	nothing.Memory.Reason = "no cgroup could be read"
	spared, sparedRecords := pruning()
	sweptRun, sweptRecords := swept()
	under := sampleRun()
	under.Outcome = ""
	for name, test := range map[string]struct {
		run     results.Run
		records []results.Record
		want    []string
	}{
		"empty":      {sampleRun(), nil, []string{"No cell has been measured yet."}},
		"all failed": {sampleRun(), records[12:], []string{"there is nothing to recommend", "No module named &#39;wsgi&#39;", "never ready within 30s"}},
		"unmeasured": {sampleRun(), []results.Record{nothing, measured(flask, mt5, 1, 1.5, 0)}, []string{"– (not measured)", "no cgroup could be read"}},
		"repeats":    {run, records, []string{"the app was killed for memory", "500 Internal Server Error", "57.3%"}},
		"swept":      {sweptRun, sweptRecords, []string{"What env.BATCH changes, 40 requests", "What env.DELAY changes", "55%", "mt4 and more"}},
		"pruned":     {spared, sparedRecords, []string{`>pruned<`, "Repeat 2 was pruned", "ran out of GPU memory at mt5/n40", "2 cells failed; 4 cells pruned · 10 of 16 cells"}},
		"under way":  {under, records[:2], []string{"not finished", "<progress"}},
	} {
		t.Run(name, func(t *testing.T) {
			page := render(t, "html", test.run, test.records, report.Options{})
			for _, want := range test.want {
				if !strings.Contains(page, want) {
					t.Errorf("%q is missing", want)
				}
			}
			if strings.Contains(page, "NaN") || strings.Contains(page, "Inf") {
				t.Error("a figure is no number")
			}
		})
	}
}

// TestWriteCharts decodes the files and looks at their names.
func TestWriteCharts(t *testing.T) {
	run, records := repeats()
	for i := range records {
		records[i].Topology.Name = "../" + records[i].Topology.Name
		records[i].Cell.Name = "../" + records[i].Cell.Name
	}
	more := scenarios.LoadSpec{Requests: 80, Client: scenarios.ClientSingle, Pool: 1}
	records = append(records, measured(records[0].Topology, more, 1, 3.9, 410))
	dir := filepath.Join(t.TempDir(), "new", "charts")
	files, err := pages.WriteCharts(dir, run, records)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range files {
		if filepath.Dir(file) != dir {
			t.Errorf("%s is outside of %s", file, dir)
		}
		names[filepath.Base(file)] = true
		if filepath.Ext(file) == ".svg" {
			data, err := os.ReadFile(file)
			if err != nil || xml.Unmarshal(data, new(struct{ XMLName xml.Name })) != nil {
				t.Errorf("%s: %v: %.100s", file, err, data)
			}
			continue
		}
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(f)
		f.Close()
		if err != nil || img.Bounds().Dx() != 1800 {
			t.Errorf("%s: %v", file, err)
		}
	}
	for _, want := range []string{"tradeoff.png", "duration-n40.png", "memory-n40.png", "requests-flask.png", "time.png", "tradeoff.svg"} {
		if !names[want] {
			t.Errorf("no %s among %v", want, names)
		}
	}
}

// latencies is a histogram of n answers.
func latencies(n int) *load.Latency {
	l := new(load.Latency)
	for i := range n {
		l.Record(time.Duration(90+i*i) * time.Millisecond)
	}
	return l
}

// large is a run of n cells with everything that a cell has: a histogram of
// latency and two series of memory.
func large(n int) (results.Run, []results.Record) {
	run := sampleRun()
	run.GPUDevices = []gpu.Device{{UUID: "GPU-1", Name: "Example GPU", Memory: 16 << 30, Driver: "550.54"}}
	l := latencies(60)
	records := make([]results.Record, 0, n)
	for i := range n {
		workers, threads, pool := 1+i%10, 1+i/10%10, 1+i/100%50
		topology := scenarios.Topology{Name: fmt.Sprintf("gunicorn-w%d-t%d", workers, threads), Server: "gunicorn", Workers: workers, Threads: threads}
		client := []string{scenarios.ClientMP, scenarios.ClientMT}[i/5000%2]
		r := measured(topology, scenarios.LoadSpec{Requests: 100, Client: client, Pool: pool}, 1,
			30/math.Sqrt(float64(workers*threads))+float64(i%7)/10+2/float64(pool), 300)
		peak := int64(3000+600*workers+150*threads+i%13) << 20
		r.Latency = l
		r.GPU = gpu.Usage{Validity: gpu.Valid, Method: gpu.MethodNVMLv2, Interval: 20 * time.Millisecond, Peak: &peak}
		for at := range 200 {
			used := peak - int64(200-at)<<20
			r.GPU.Series = append(r.GPU.Series, gpu.Point{At: float64(at) / 10, Used: &used})
			r.Memory.Series = append(r.Memory.Series, gpu.Point{At: float64(at) / 10, Used: &used})
		}
		records = append(records, r)
	}
	return run, records
}

// BenchmarkHTML makes the page of a run of 10,000 cells.
func BenchmarkHTML(b *testing.B) {
	run, records := large(10_000)
	var page bytes.Buffer
	for b.Loop() {
		page.Reset()
		if err := pages.Formats(run, records).Write(&page, "html", report.Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(page.Len()), "bytes/page")
}

// TestAnswerPicture: the picture of README is what the program makes of the figures
// in testdata/h200.csv, which one H200 showed.
func TestAnswerPicture(t *testing.T) {
	const picture = "../answer.svg"
	data, err := os.ReadFile("testdata/h200.csv")
	if err != nil {
		t.Fatal(err)
	}
	read, err := exchange.Read("h200.csv", bytes.NewReader(data), "")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := pages.WriteCharts(dir, read[0].Run, read[0].Records); err != nil {
		t.Fatal(err)
	}
	made, err := os.ReadFile(filepath.Join(dir, "tradeoff.svg"))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(picture, made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if shown, err := os.ReadFile(picture); err != nil || !bytes.Equal(shown, made) {
		t.Errorf("%s is not what the program makes (%v); refresh it with -update", picture, err)
	}
}
