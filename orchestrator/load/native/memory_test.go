//go:build linux

package native

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
	"stackmeter/scenarios/wire"
)

// upload is a POST of count different files of a size.
func upload(t testing.TB, count, size int) wire.Request {
	t.Helper()
	folder := t.TempDir()
	body := &wire.Body{ContentType: "image/jpeg"}
	content := bytes.Repeat([]byte{'x'}, size)
	for i := range count {
		copy(content, fmt.Sprintf("%08d", i))
		file := filepath.Join(folder, fmt.Sprintf("%08d.jpg", i))
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		body.Files = append(body.Files, file)
	}
	request := get("/")
	request.Method, request.Body, request.Timeout = "POST", body, time.Minute
	return request
}

func discard(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }

// fifty are fifty connections of one process.
func fifty(requests int) scenarios.LoadSpec {
	return scenarios.LoadSpec{Requests: requests, Client: scenarios.ClientMT, Pool: 50, KeepAlive: true}
}

// clients are two programs that contain the client: stackmeter, and this test, which
// contains little else.
func clients(t testing.TB) map[string]*Client {
	t.Helper()
	program := filepath.Join(t.TempDir(), "stackmeter")
	if out, err := exec.Command("go", "build", "-o", program, "stackmeter/cmd/stackmeter").CombinedOutput(); err != nil {
		t.Fatalf("build the command: %v\n%s", err, out)
	}
	return map[string]*Client{"stackmeter": {command: []string{program, WorkerArgument}}, "test": {}}
}

// fireMetered fires a job and returns the most memory of its own that the client
// process had, in bytes: anonymous pages and those of the arena. All processes of a
// program share the pages of its file, which do not count. It looks at the process
// from outside, every few milliseconds.
func fireMetered(t testing.TB, c *Client, job load.Job) (r load.Result, most int64) {
	t.Helper()
	b, err := c.prepareBatch(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	status := fmt.Sprintf("/proc/%d/status", b.workers[0].process)
	fired := make(chan struct{})
	metered := make(chan struct{})
	go func() {
		defer close(metered)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			most = max(most, ownMemory(status))
			select {
			case <-fired:
				return
			case <-tick.C:
			}
		}
	}()
	r, err = b.Fire(t.Context())
	close(fired)
	<-metered
	if err != nil {
		t.Fatal(err)
	}
	return r, most
}

// ownMemory is RssAnon and RssShmem of a process, in bytes, see proc_pid_status(5);
// 0 once it has ended.
func ownMemory(status string) int64 {
	text, _ := os.ReadFile(status)
	var sum int64
	for line := range strings.Lines(string(text)) {
		var kilobytes int64
		for _, field := range []string{"RssAnon: %d kB", "RssShmem: %d kB"} {
			if _, err := fmt.Sscanf(line, field, &kilobytes); err == nil {
				sum += kilobytes << 10
			}
		}
	}
	return sum
}

// A client process with fifty connections stays below 25 MiB, however much it has to
// send: 80 MB are more than an arena keeps in memory.
func TestMemory(t *testing.T) {
	url, _ := startHTTP(t, discard)
	for program, client := range clients(t) {
		limit := int64(25 << 20)
		if raceDetector && program == "test" {
			limit *= 4
		}
		for name, files := range map[string]int{"one file": 1, "80 MB of files": 800} {
			t.Run(program+"/"+name, func(t *testing.T) {
				r, most := fireMetered(t, client, load.Job{URL: url, Request: upload(t, files, 100<<10), Load: fifty(1000)})
				if r.Replies != 1000 {
					t.Fatalf("%d replies, errors %v", r.Replies, r.FirstErrors)
				}
				if most <= 1<<20 || most > limit {
					t.Errorf("the client process had %d KiB of its own; up to %d are allowed", most>>10, limit>>10)
				}
			})
		}
	}
}

// BenchmarkMemory is the peak of a client process's own memory, with fifty
// connections that send files of 100 KB, few or hundreds of megabytes of them:
//
//	go test ./orchestrator/load/native -run '^$' -bench '^BenchmarkMemory$' -benchtime 1x
func BenchmarkMemory(b *testing.B) {
	url, _ := startHTTP(b, discard)
	programs := clients(b)
	for _, files := range []int{1, 500, 4000} {
		request := upload(b, files, 100<<10)
		for _, name := range slices.Sorted(maps.Keys(programs)) {
			b.Run(fmt.Sprintf("%dMB/%s", files*100>>10, name), func(b *testing.B) {
				for range b.N {
					r, most := fireMetered(b, programs[name], load.Job{URL: url, Request: request, Load: fifty(max(2000, 2*files))})
					if r.Errors > 0 {
						b.Fatal(r.FirstErrors)
					}
					b.ReportMetric(float64(most)/(1<<20), "peak-MiB")
					b.ReportMetric(0, "ns/op") // says nothing here
				}
			})
		}
	}
}

// BenchmarkGun is the time from the starting gun to the first request of the
// last of twenty processes, as the median of many batches:
//
//	go test ./orchestrator/load/native -run '^$' -bench '^BenchmarkGun$' -benchtime 50x
//
// What it should show: less than 5 ms.
func BenchmarkGun(b *testing.B) {
	url, _ := startHTTP(b, discard)
	var delays load.Latency
	for range b.N {
		r := mustFire(b, &Client{}, load.Job{URL: url, Request: get("/"), Load: scenarios.LoadSpec{Requests: 20, Client: scenarios.ClientMP, Pool: 20}})
		if r.Errors > 0 {
			b.Fatal(r.FirstErrors)
		}
		delays.Record(r.StartDelay)
	}
	b.ReportMetric(delays.Percentile(50).Seconds()*1e3, "start-p50-ms")
	b.ReportMetric(delays.Percentile(90).Seconds()*1e3, "start-p90-ms")
	b.ReportMetric(delays.Max().Seconds()*1e3, "start-max-ms")
	b.ReportMetric(0, "ns/op") // says nothing here
}

// TestReadOnlyProc: a client writes nothing to /proc, which sandboxes mount
// read-only.
func TestReadOnlyProc(t *testing.T) {
	const inside = "STACKMETER_TEST_READ_ONLY_PROC"
	if url := os.Getenv(inside); url != "" {
		if err := os.WriteFile("/proc/self/clear_refs", []byte("1"), 0); err == nil {
			t.Fatal("/proc can be written to here")
		}
		if r := mustFire(t, &Client{}, load.Job{URL: url, Request: get("/"), Load: fifty(100)}); r.Replies != 100 {
			t.Errorf("%d replies: %v", r.Replies, r.FirstErrors)
		}
		return
	}
	readOnly := []string{"--mount", "sh", "-c", `mount --bind /proc /proc && mount -o remount,bind,ro /proc && exec "$0" "$@"`}
	if out, err := exec.Command("unshare", append(readOnly, "true")...).CombinedOutput(); err != nil {
		t.Skipf("needs to mount /proc read-only in a namespace of its own: %v: %s", err, out)
	}
	url, _ := startHTTP(t, discard)
	again := exec.Command("unshare", append(readOnly, os.Args[0], "-test.run", "^TestReadOnlyProc$")...)
	again.Env = append(os.Environ(), inside+"="+url)
	if out, err := again.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
