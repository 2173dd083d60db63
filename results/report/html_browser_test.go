package report_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"stackmeter/orchestrator/gpu"
	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/report/pages"
	"stackmeter/results/verdict"
	"stackmeter/results/verdict/history"
	"stackmeter/scenarios"
)

// A browser is a real Chromium with a page in it, which counts what the page
// fetches and whether anything in it ran that is not ours.
type browser struct {
	ctx context.Context

	mu      sync.Mutex
	fetched []string
	ran     []string
}

func newBrowser(t testing.TB) *browser {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Skip("needs Chromium: apt-get install chromium")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox,
		chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 900), chromedp.WSURLReadTimeout(2*time.Minute))
	allocator, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	b := &browser{ctx: ctx}
	err := chromedp.Listen(ctx, func(event any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			b.fetched = append(b.fetched, e.Request.URL)
		case *page.EventJavascriptDialogOpening:
			b.ran = append(b.ran, "a dialog: "+e.Message)
		case *runtime.EventExceptionThrown:
			b.ran = append(b.ran, "an exception: "+e.ExceptionDetails.Text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// browserPatience is for how long a test waits for what it asked a browser for
// before it fails: much longer than a busy machine takes.
const browserPatience = time.Minute

func (b *browser) run(t testing.TB, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserPatience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// evaluate runs an expression in the page and returns what it is.
func evaluate[T any](t testing.TB, b *browser, expression string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserPatience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// writePage writes the HTML report of a run to a file and returns its address.
func writePage(t *testing.T, run results.Run, records []results.Record) string {
	t.Helper()
	return writeFile(t, []byte(render(t, "html", run, records, report.Options{})))
}

// writeFile writes a page to a file and returns its address.
func writeFile(t *testing.T, page []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, page, 0o644); err != nil {
		t.Fatal(err)
	}
	return "file://" + file
}

// hostileNames want to run or to fetch something from the trap.
func hostileNames(trap string) []string {
	evil := []string{
		`<script>window.owned=1;fetch('TRAP/script')</script>`,
		`</script><script>window.owned=1</script>`,
		`</title></style><img src=TRAP/img onerror="window.owned=1">`,
		`"><svg onload="window.owned=1"><a href="javascript:window.owned=1">x</a>`,
		`' onmouseover='window.owned=1' autofocus onfocus='window.owned=1`,
		`javascript:window.owned=1`, `{{.}} ${window.owned=1} <!-- --!> ]]>`,
		"\u202Egnp.exe\u2066 \x1b]0;x\x07\x00 \r\n <link rel=stylesheet href=TRAP/css><meta http-equiv=refresh content='0;TRAP/meta'>",
		`<base href=TRAP/><iframe srcdoc="<script>parent.owned=1</script>"></iframe><object data=TRAP/object></object>`,
		`@import url(TRAP/import); background:url(TRAP/url)`,
	}
	for i := range evil {
		evil[i] = strings.ReplaceAll(evil[i], "TRAP", trap)
	}
	return evil
}

// hostileRun has such names wherever there are names and texts. Each cell has
// an ok repeat, and then one that failed.
func hostileRun(evil []string) (results.Run, []results.Record) {
	all := strings.Join(evil, " ")
	var records []results.Record
	for i, name := range evil {
		topology := scenarios.Topology{Name: name, Server: name, Proxy: map[bool]string{true: "nginx"}[i%2 == 0]}
		for pool := 1; pool <= 3; pool++ {
			spec := scenarios.LoadSpec{Requests: 40, Client: scenarios.ClientMT, Pool: pool}
			good := measured(topology, spec, 1, 1.5+float64(i)/float64(pool), int64(100+10*i))
			good.Memory.Services = map[string]int64{name: 1}
			good.Flags = []string{name}
			good.Latency = latencies(20)
			used := int64(200 << 20)
			good.GPU = gpu.Usage{Validity: gpu.Flagged, Flags: []string{all}, Peak: &used, Reason: all,
				Trial: []gpu.Point{{At: 0, Used: &used}, {At: 5, Used: &used}}, Marks: []gpu.Mark{{At: 0, Phase: name}}}
			good.Memory.Series = good.GPU.Trial
			good.Stack = &results.Stack{Route: all, Proxy: all, Services: []results.Service{{Name: name, Image: all, Digest: all, Processes: evil}}}
			bad := record(topology, spec, 2)
			bad.Status, bad.Reason, bad.LogTail = results.StatusFailed, all, all
			bad.Errors, bad.ErrorKinds, bad.FirstErrors = 1, map[string]int{name: 1}, map[string]string{name: all}
			records = append(records, good, bad)
		}
	}
	return results.Run{ID: all, Scenario: all, File: all, Runtime: all, Outcome: all, Fingerprint: all, Imported: all,
		Host:       results.Host{Name: all, OS: all, Kernel: all, CPU: all, Engine: all, Stackmeter: all, Go: all},
		GPUDevices: []gpu.Device{{Name: all, Driver: all}}, Spent: map[string]float64{all: 1, results.PhaseMeasure: 2},
		Plan: scenarios.Plan{Client: scenarios.Client{Engine: all}},
	}, records
}

// hostilePages writes each page that there is about a hostile run.
func hostilePages(t *testing.T, evil []string) map[string]string {
	t.Helper()
	all := strings.Join(evil, " ")
	run, records := hostileRun(evil)
	at := func(names ...string) string { return "/" + url.PathEscape(strings.Join(names, "&")) }
	one := func(name string) string { return at(name) }
	opts := pages.PageOptions{Nav: []pages.Link{{Text: all, Href: at(all)}}}

	before := run
	before.ID, before.Host.CPU, before.GPUDevices = "before "+all, "another "+all, []gpu.Device{{Name: "another " + all, Driver: "another " + all}}
	var base, head []results.Record
	for i, r := range records {
		switch {
		case r.Status == results.StatusOK:
			base = append(base, r)
			if i%4 == 0 {
				head = append(head, r)
			}
		case i%4 == 3:
			head = append(head, r) // of a cell that was ok
		}
	}
	checks := []results.Check{{Threshold: all, Cell: all, Status: results.CheckNotMeasured, Missing: evil}}

	duration, err := results.FindMetric(results.MetricDuration)
	if err != nil {
		t.Fatal(err)
	}
	var nights []results.Run
	var observations []results.Observation
	for night := range 20 {
		at := before
		if night >= 10 {
			at = run // another kind from the night of the step on
		}
		at.ID, at.Started = strconv.Itoa(night)+all, time.Date(2026, 11, 1+night, 2, 0, 0, 0, time.UTC)
		nights = append(nights, at)
		for i, name := range evil {
			value := float64(10+i) + float64(night*7%5)/10 + float64(night/10*5)
			observations = append(observations, results.Observation{Run: at.ID, Cell: name, Repeat: 1, Clean: true, Value: &value})
		}
	}

	made := map[string]string{}
	for name, write := range map[string]func(io.Writer) error{
		"run": func(w io.Writer) error { return pages.WritePage(w, run, records, opts) },
		"comparison": func(w io.Writer) error {
			return pages.WriteComparisonPage(w, verdict.CompareRuns(before, run, base, head), checks, opts.Nav, one)
		},
		"list": func(w io.Writer) error {
			unfinished := run
			unfinished.Outcome = ""
			return pages.WriteRunsPage(w, all, []results.Run{run, before, unfinished, run},
				nil, pages.RunsAddresses{Run: one, Compare: func(base, head string) string { return at(base, head) }, History: one}, func(results.Run) bool { return false })
		},
		"cell": func(w io.Writer) error {
			return pages.WriteCellPage(w, run, records, records[0].Topology.Name+"/"+records[0].Cell.Load.Name(), opts.Nav)
		},
		"error": func(w io.Writer) error { return pages.WriteErrorPage(w, all, all, opts.Nav) },
		"history": func(w io.Writer) error {
			return pages.WriteHistoryPage(w, []history.History{history.New(all, duration, nights, observations)}, pages.HistoryOptions{Nav: opts.Nav})
		},
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		made[name] = writeFile(t, b.Bytes())
	}
	return made
}

// TestHostileNamesInABrowser opens every page of a run in which each name wants
// to run or to fetch something.
func TestHostileNamesInABrowser(t *testing.T) {
	var hits []string
	var mu sync.Mutex
	trap := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		hits = append(hits, r.URL.String())
	}))
	defer trap.Close()
	b := newBrowser(t)
	for name, address := range hostilePages(t, hostileNames(trap.URL)) {
		t.Run(name, func(t *testing.T) { b.openHostile(t, address) })
	}
	mu.Lock()
	defer mu.Unlock()
	if len(hits) > 0 {
		t.Errorf("the trap was asked for %s", hits)
	}
	if _, err := net.Dial("tcp", strings.TrimPrefix(trap.URL, "http://")); err != nil {
		t.Errorf("the trap was not even there: %v", err)
	}
}

// openHostile opens a page with hostile names, touches everything in it, and
// holds that nothing ran and nothing was fetched.
func (b *browser) openHostile(t *testing.T, address string) {
	b.mu.Lock()
	b.fetched, b.ran = nil, nil
	b.mu.Unlock()
	b.run(t, chromedp.Navigate(address), chromedp.WaitReady("main"))
	// Open, hover and focus everything that there is.
	evaluate[bool](t, b, `(() => {
		for (const d of document.querySelectorAll("details")) d.open = true;
		for (const e of document.querySelectorAll("*")) {
			for (const type of ["pointerover", "mouseover", "focusin", "pointerout"]) e.dispatchEvent(new Event(type, {bubbles: true}));
			if (e.focus) e.focus();
		}
		return true;
	})()`)
	if owned := evaluate[bool](t, b, `"owned" in window`); owned {
		t.Error("a name ran as a script")
	}
	if n := evaluate[int](t, b, `document.querySelectorAll("script, iframe, object, embed, img, link, base, form").length`); n != 1 {
		t.Errorf("%d elements that could run or fetch, want our one script", n)
	}
	if odd := evaluate[[]string](t, b, `Array.from(document.querySelectorAll("[href]"), e => e.getAttribute("href")).filter(h => !/^(#|\/(?!\/))/.test(h))`); len(odd) > 0 {
		t.Errorf("links lead to %q", odd)
	}
	if odd := evaluate[[]string](t, b, `Array.from(document.querySelectorAll("*")).flatMap(e => e.getAttributeNames()).filter(n => n.startsWith("on"))`); len(odd) > 0 {
		t.Errorf("handlers: %q", odd)
	}
	if odd := evaluate[string](t, b, `(/.{0,40}[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/.exec(
		document.documentElement.textContent + Array.from(document.querySelectorAll("*")).flatMap(e => Array.from(e.attributes, a => a.value)).join("")) || [""])[0]`); odd != "" {
		t.Errorf("control characters reached the page: %q", odd)
	}
	if n := evaluate[int](t, b, `document.querySelectorAll("div.tip").length`); n != 1 {
		t.Error("our own script did not run, so that this test proves nothing")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, url := range b.fetched {
		if url != address {
			t.Errorf("the page fetched %s", url)
		}
	}
	if len(b.fetched) == 0 {
		t.Error("not even the page itself was seen to be fetched")
	}
	if len(b.ran) > 0 {
		t.Errorf("in the page there was %s", b.ran)
	}
}

// TestPageInABrowser uses a page as a reader would: sorts, filters,
// presses Enter on a point of the chart, which leads to its cell, and on a phone
// finds nothing that is wider than the screen.
func TestPageInABrowser(t *testing.T) {
	b := newBrowser(t)
	run := sampleRun()
	run.GPUDevices = []gpu.Device{{UUID: "GPU-1", Name: "Example GPU", Memory: 16 << 30, Driver: "550.54"}}
	run.Plan.Baseline = &scenarios.Baseline{Topology: "nginx+gunicorn-w1-t2", Client: "mp1"}
	records := published(t, "5")
	for i := range records {
		peak := int64(2957+406*records[i].Topology.Threads) << 20 // near table 6, which has one pool only
		records[i].GPU = gpu.Usage{Validity: gpu.Valid, Method: gpu.MethodNVMLv2, Peak: &peak}
	}
	b.run(t, chromedp.Navigate(writePage(t, run, records)), chromedp.WaitReady("main"))

	column := `Array.from(document.querySelector("table.pivot").tBodies[0].rows, r => Number(r.cells[1].dataset.v))`
	// What is scrolled to is laid out when it is painted, and moves the button.
	b.run(t, chromedp.ScrollIntoView("table.pivot th:nth-child(2) button"))
	evaluate[[]float64](t, b, `new Promise(painted => requestAnimationFrame(() => requestAnimationFrame(() => painted([]))))`)
	b.run(t, chromedp.Click("table.pivot th:nth-child(2) button"))
	up := evaluate[[]float64](t, b, column)
	b.run(t, chromedp.Click("table.pivot th:nth-child(2) button"))
	down := evaluate[[]float64](t, b, column)
	for i := range up {
		if i > 0 && up[i] < up[i-1] || up[i] != down[len(down)-1-i] {
			t.Errorf("sorted up %v, down %v", up, down)
			break
		}
	}
	b.run(t, chromedp.SendKeys(`[data-filter="cells"] input`, "t6 mt10"))
	if shown := evaluate[[]string](t, b, `Array.from(document.querySelectorAll("[data-filter=cells] tbody tr:not([hidden]) th"), e => e.textContent)`); len(shown) != 1 || shown[0] != "nginx+gunicorn-w1-t6/mt10/n100" {
		t.Errorf("the filter left %q", shown)
	}
	b.run(t, chromedp.Focus(`#answer .wide-only a.mark`))
	if tip := evaluate[string](t, b, `document.querySelector(".tip:not([hidden])")?.textContent ?? ""`); !strings.Contains(tip, "nginx+gunicorn") {
		t.Errorf("focusing a point says %q", tip)
	}
	target := evaluate[string](t, b, `document.activeElement.getAttribute("href")`)
	if open := evaluate[bool](t, b, `document.querySelector("`+target+`").open`); open {
		t.Errorf("%s is open before anybody asked for it", target)
	}
	b.run(t, chromedp.KeyEvent(kb.Enter), chromedp.WaitReady(target+"[open]"))

	b.run(t, chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile), chromedp.Reload(), chromedp.WaitReady("main"))
	if width := evaluate[int](t, b, `document.documentElement.scrollWidth`); width > 390 {
		t.Errorf("on a phone the page is %d pixels wide", width)
	}
	if n := evaluate[int](t, b, `Array.from(document.querySelectorAll(".wide-only")).filter(e => e.offsetParent !== null).length`); n != 0 {
		t.Errorf("%d wide charts are shown on a phone", n)
	}
}

// BenchmarkLargePageInABrowser opens the page of a run of 10,000 cells in a real
// Chromium: until something is seen, until it is loaded, and until what a
// reader does next is on the screen.
//
//	go test ./results/report -run '^$' -bench LargePage -benchtime 3x
func BenchmarkLargePageInABrowser(b *testing.B) {
	run, records := large(10_000)
	file := filepath.Join(b.TempDir(), "report.html")
	f, err := os.Create(file)
	if err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(pages.Formats(run, records).Write(f, "html", report.Options{}), f.Close()); err != nil {
		b.Fatal(err)
	}
	browser := newBrowser(b)
	// shown is how long it takes in milliseconds until what the script does is
	// painted.
	shown := func(script string) float64 {
		return evaluate[float64](b, browser, `new Promise(done => { const began = performance.now(); `+script+`;
			requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began))); })`)
	}
	sums := map[string]float64{}
	for b.Loop() {
		browser.run(b, chromedp.Navigate("file://"+file), chromedp.WaitReady("main"))
		sums["ms/paint"] += evaluate[float64](b, browser, `performance.getEntriesByName("first-contentful-paint")[0].startTime`)
		sums["ms/load"] += evaluate[float64](b, browser, `performance.getEntriesByType("navigation")[0].loadEventEnd`)
		sums["ms/scroll"] += shown(`scrollTo(0, 1e9)`)
		sums["ms/sort"] += shown(`document.querySelector("table.pivot th:nth-child(2) button").click()`)
		sums["ms/open"] += shown(`document.querySelector("#cells details").open = true`)
		sums["ms/filter"] += shown(`const field = document.querySelector("#cells details input"); field.value = "w3-t4 mt"; field.dispatchEvent(new Event("input"))`)
	}
	for name, sum := range sums {
		b.ReportMetric(sum/float64(b.N), name)
	}
}
