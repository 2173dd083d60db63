package server_test

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"stackmeter/results"
)

// TestBrowserFollowsARun keeps a page open in a real Chromium while the run's
// next cells are written, and after it has ended.
func TestBrowserFollowsARun(t *testing.T) {
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("needs Chromium: apt-get install chromium")
	}
	s := newSite(t)
	s.begin("tonight")
	s.alive.Store("tonight", true)
	s.put("tonight", 1)
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox,
		chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(2*time.Minute))
	allocator, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	defer stop()
	browser, cancel := chromedp.NewContext(allocator)
	defer cancel()
	if err := chromedp.Do(browser, chromedp.Navigate(s.url+"/runs/tonight"), chromedp.WaitReady("main")); err != nil {
		t.Fatal(err)
	}
	// until waits for the page, by itself, to be so.
	until := func(what, expression string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(browser, time.Minute)
		defer cancel()
		if _, err := chromedp.Run(ctx, chromedp.Poll[bool](expression)); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	until("the first cell", `document.querySelector("progress").value === 1`)
	until("its details, opened", `(document.querySelector("details.cell").open = true)`)
	s.put("tonight", 2)
	until("the second repeat", `document.querySelector("progress").value === 2`)
	until("what was open is still", `document.querySelector("details.cell").open && document.querySelectorAll("details.cell tbody tr").length === 2`)
	s.put("tonight", 3)
	if err := s.store.Finish(t.Context(), "tonight", results.OutcomeOK, time.Now()); err != nil {
		t.Fatal(err)
	}
	until("the end", `document.querySelector("progress") === null && document.querySelector("header .status").textContent === "3 ok"`)
}
