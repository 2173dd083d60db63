package server_test

import (
	"context"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"stackmeter/results"
)

// A browser is a real Chromium with one page.
type browser struct {
	t   *testing.T
	ctx context.Context
}

func newBrowser(t *testing.T) browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("needs Chromium: apt-get install chromium")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox,
		chromedp.UserDataDir(t.TempDir()), chromedp.Env("TMPDIR="+t.TempDir()), chromedp.WSURLReadTimeout(2*time.Minute))
	allocator, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	return browser{t, ctx}
}

func (b browser) open(address string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Navigate(address), chromedp.WaitReady("main")); err != nil {
		b.t.Fatal(err)
	}
}

// until waits for the page, by itself, to be so.
func (b browser) until(what, expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](expression)); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

// TestBrowserFollowsARun keeps a page open in a real Chromium while the run's
// next cells are written, and after it has ended.
func TestBrowserFollowsARun(t *testing.T) {
	b := newBrowser(t)
	s := newSite(t)
	s.begin("tonight")
	s.alive.Store("tonight", true)
	s.put("tonight", 1)
	b.open(s.url + "/runs/tonight")
	b.until("the first cell", `document.querySelector("progress").value === 1`)
	b.until("its status", `document.querySelector("header .status").textContent === "under way"`)
	b.until("its details, opened", `(document.querySelector("details.cell").open = true)`)
	s.put("tonight", 2)
	b.until("the second repeat", `document.querySelector("progress").value === 2`)
	b.until("what was open is still", `document.querySelector("details.cell").open && document.querySelectorAll("details.cell tbody tr").length === 2`)
	s.put("tonight", 3)
	if err := s.store.Finish(t.Context(), "tonight", results.OutcomeOK, time.Now()); err != nil {
		t.Fatal(err)
	}
	b.until("the end", `document.querySelector("progress") === null && document.querySelector("header .status").textContent === "ok · 3 of 3 cells"`)
}

// TestBrowserKeepsThePlace sorts a table, filters another and scrolls down in
// the page of a run, which stay so when the run's next cell is written.
func TestBrowserKeepsThePlace(t *testing.T) {
	b := newBrowser(t)
	s := newSite(t)
	s.begin("tonight")
	s.alive.Store("tonight", true)
	for i := range 12 {
		one := topology
		one.Name = fmt.Sprintf("flask-%02d", i)
		s.putOf("tonight", one, 1)
	}
	b.open(s.url + "/runs/tonight")
	b.until("sorted", `(() => { const button = document.querySelector("table.pivot th:nth-child(2) button"); button.click(); button.click(); return true; })()`)
	b.until("filtered", `(() => {
		const field = document.querySelector("#cells [data-filter=cells] input");
		field.value = "flask-03"; field.dispatchEvent(new Event("input")); return true; })()`)
	// A section is laid out when it comes near the screen, and its place is known
	// then.
	b.until("scrolled", `(() => {
		const top = document.querySelector("#cells").getBoundingClientRect().top;
		scrollBy({top: top + 5, behavior: "instant"});
		return Math.abs(top + 5) < 1; })()`)
	b.until("marked", `(document.querySelector("#cells").dataset.old = "1") === "1"`)
	one := topology
	one.Name = "flask-12"
	s.putOf("tonight", one, 1)
	b.until("another page", `document.querySelector("#cells").dataset.old === undefined`)
	for what, expression := range map[string]string{
		"sorted as before":       `document.querySelector("table.pivot th:nth-child(2)").getAttribute("aria-sort") === "descending"`,
		"filtered as before":     `document.querySelectorAll("#cells [data-filter=cells] tbody tr:not([hidden])").length === 1`,
		"at the place of before": `Math.abs(document.querySelector("#cells").getBoundingClientRect().top + 5) < 2`,
	} {
		b.until(what, expression)
	}
}
