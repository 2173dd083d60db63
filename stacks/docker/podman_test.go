package docker

import (
	"slices"
	"strings"
	"testing"

	"stackmeter/stacks"
)

// TestPodmanProcesses reads what Podman 4.3 answered for gunicorn with two
// workers below its init process.
func TestPodmanProcesses(t *testing.T) {
	const gunicorn = "/usr/bin/python3 /usr/bin/gunicorn --bind 0.0.0.0:8000 --workers 2 --threads 3 wsgi:app"
	list, err := podmanProcesses([][]string{
		{"30360", "1", "0", "/run/podman-init -- gunicorn --bind 0.0.0.0:8000 --workers 2 --threads 3 wsgi:app"},
		{"30377", "6", "1", gunicorn},
		{"30380", "7", "6", gunicorn},
		{"30381", "8", "6", gunicorn},
	})
	if err != nil {
		t.Fatal(err)
	}
	facts := stacks.Facts{Services: []stacks.ServiceFacts{{Service: stacks.AppService, Processes: list}}}
	workers, pids, threads := stacks.Gunicorn(facts)
	if workers == nil || *workers != 2 || threads == nil || *threads != 3 || !slices.Equal(pids, []int{30380, 30381}) {
		t.Errorf("workers %v with PIDs %v, threads %v", workers, pids, threads)
	}
	if list[0].Parent != 0 || list[1].Parent != 30360 {
		t.Errorf("parents %+v", list)
	}
	for _, rows := range [][][]string{{{"1", "2", "3"}}, {{"1", "x", "3", "a"}}} {
		if _, err := podmanProcesses(rows); err == nil || !strings.Contains(err.Error(), "the engine answered") {
			t.Errorf("%v: %v", rows, err)
		}
	}
}
