package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stackmeter/results/verdict"
)

// eventLoopApp waits 100 ms for each request, as it would for a GPU: in the event
// loop itself, or in threads beside it. That takes hardly any CPU, so that what else
// runs on the machine changes little.
const eventLoopApp = `
import asyncio, os, time
from concurrent.futures import ThreadPoolExecutor

def serve(work):
    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        if scope["path"] == "/predict":
            await work()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
    return app

async def wait():
    time.sleep(0.1)

def threads(count):
    pool = ThreadPoolExecutor(count)
    async def wait():
        await asyncio.get_running_loop().run_in_executor(pool, time.sleep, 0.1)
    return wait

count = int(os.environ["POOL"])
app = serve(threads(count) if count else wait)
`

// TestBoundOfEventLoop: an app that computes in its event loop answers one request
// at a time, and with a pool of threads it does not.
func TestBoundOfEventLoop(t *testing.T) {
	if _, err := exec.LookPath("uvicorn"); err != nil {
		t.Skip("needs uvicorn: apt-get install uvicorn")
	}
	s := &session{t: t, dir: t.TempDir()}
	s.program, s.app = command(t, s.dir), s.dir
	if err := os.WriteFile(filepath.Join(s.dir, "app.py"), []byte(eventLoopApp), 0o644); err != nil {
		t.Fatal(err)
	}
	status, out := s.runScenario(`
name: eventloop
app: {dir: ., asgi: "app:app", ready: {path: /healthz}}
request: {path: /predict}
order: listed
topologies: [{server: uvicorn, env: {POOL: [0, 4, 16]}}]
matrix: {requests: [30], client: [single, mt], pool: [10]}
`, "--runtime", "process")
	if status != 0 {
		t.Fatalf("exit status %d\n%s%s", status, s.said, out)
	}
	run, records := s.stored()
	for i := range records {
		records[i].CPU.Machine, records[i].Flags = nil, nil // what else runs here is not the app's
	}
	seen := 0
	for _, summary := range verdict.Summarise(records) {
		for name, want := range map[string]verdict.Bound{
			"uvicorn-w1-pool0/mt10/n30":  {By: "workers", Why: "were answered one at a time"},
			"uvicorn-w1-pool4/mt10/n30":  {By: "workers", Why: "as if the app worked on so many at a time"},
			"uvicorn-w1-pool16/mt10/n30": {By: "pool", Why: "more clients may get more"},
		} {
			if summary.Name() != name {
				continue
			}
			seen++
			got := verdict.BoundOf(summary, run.Plan, run.Host)
			t.Logf("%s: %s: %s", name, got.By, got.Why)
			if got.By != want.By || !strings.Contains(got.Why, want.Why) {
				t.Errorf("want %s: …%s…", want.By, want.Why)
			}
		}
	}
	if seen != 3 {
		t.Errorf("%d of 3 cells seen", seen)
	}
}
