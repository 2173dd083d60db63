package docker

import (
	"slices"
	"strings"
	"testing"

	"stackmeter/stacks"
)

// TestAttackPodmanProcesses reads what Podman 4.3 answered for gunicorn with two
// workers below its init process, and what these say of their threads and signals.
func TestAttackPodmanProcesses(t *testing.T) {
	const gunicorn = "/usr/bin/python3 /usr/bin/gunicorn --bind 0.0.0.0:8000 --workers 2 --threads 3 wsgi:app"
	list, err := podmanProcesses([][]string{
		{"30360", "1", "0", "/run/podman-init -- gunicorn --bind 0.0.0.0:8000 --workers 2 --threads 3 wsgi:app"},
		{"30377", "6", "1", gunicorn},
		{"30380", "7", "6", gunicorn},
		{"30381", "8", "6", gunicorn},
	}, "Name:\tgunicorn\nPid:\t6\nPPid:\t1\nThreads:\t1\nSigBlk:\t0000000000000000\nSigCgt:\t0000000008314a07\n"+
		"cat: /proc/7/status: No such file or directory\nName:\tgunicorn\nPid:\t8\nThreads:\t4\nSigCgt:\t0000000008004a02\nPid:\t99\nThreads:\t5\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []stacks.Process{
		{PID: 30360, Command: "/run/podman-init -- gunicorn --bind 0.0.0.0:8000 --workers 2 --threads 3 wsgi:app"},
		{PID: 30377, Parent: 30360, Threads: 1, Signals: 0x8314a07, Command: gunicorn},
		{PID: 30380, Parent: 30377, Command: gunicorn},
		{PID: 30381, Parent: 30377, Threads: 4, Signals: 0x8004a02, Command: gunicorn},
	}
	if !slices.Equal(list, want) {
		t.Errorf("read %+v, want %+v", list, want)
	}
	for _, rows := range [][][]string{{{"1", "2", "3"}}, {{"1", "x", "3", "a"}}} {
		if _, err := podmanProcesses(rows, ""); err == nil || !strings.Contains(err.Error(), "the engine answered") {
			t.Errorf("%v: %v", rows, err)
		}
	}
}
