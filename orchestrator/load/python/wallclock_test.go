package python

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
)

// jumping makes every reading of the wall clock an hour away from the last one, back
// and forth. It leaves the monotonic clock alone.
const jumping = `
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long jump(void) {
	static long calls;
	return __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED) % 2 ? 3600 : -3600;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
	int failed = syscall(SYS_clock_gettime, clock, now);
	if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now->tv_sec += jump();
	return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	now->tv_sec = t.tv_sec;
	now->tv_usec = t.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *into) {
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	if (into)
		*into = t.tv_sec;
	return t.tv_sec;
}
`

// TestFault23WallClockJumps: the wall clock jumps by an hour whenever the client's
// processes read it. Durations and latencies are right all the same.
func TestFault23WallClockJumps(t *testing.T) {
	c := local(t)
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skipf("needs a C compiler: %v", err)
	}
	dir := t.TempDir()
	source, library, python := filepath.Join(dir, "jumping.c"), filepath.Join(dir, "jumping.so"), filepath.Join(dir, "python3")
	if err := os.WriteFile(source, []byte(jumping), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-O1", "-o", library, source).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	launcher := c.Launcher.(Local)
	real, err := exec.LookPath(launcher.Python)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(python, []byte("#!/bin/sh\nLD_PRELOAD='"+library+"' exec '"+real+"' \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(python, "-c", "import time; print(abs(time.time() - time.time()) > 3000)").Output(); err != nil || strings.TrimSpace(string(out)) != "True" {
		t.Fatalf("the wall clock does not jump: %s, %v", out, err)
	}
	launcher.Python = python
	c.Launcher = launcher

	const delay = 5 * time.Millisecond
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(delay) }))
	defer server.Close()
	for _, spec := range modes(20, false) {
		t.Run(spec.Name(), func(t *testing.T) {
			r := mustFire(t, c, load.Job{URL: server.URL, Request: get("/"), Load: spec})
			if r.Replies != 20 || r.Errors != 0 {
				t.Errorf("%d replies, %d errors: %v", r.Replies, r.Errors, r.FirstErrors)
			}
			// An hour too much or too little, and nothing finer.
			const much = 20 * time.Minute
			if r.Duration < delay || r.Duration > much || r.Latency.Min() < delay || r.Latency.Max() > much || r.StartDelay < 0 || r.StartDelay > much {
				t.Errorf("duration %v, latencies %v to %v, start delay %v", r.Duration, r.Latency.Min(), r.Latency.Max(), r.StartDelay)
			}
		})
	}
}
