package servers

import (
	"testing"

	"stackmeter/stacks"
)

func TestReadGunicorn(t *testing.T) {
	tests := []struct {
		name      string
		processes []stacks.Process
		workers   int // -1: not known
		threads   int // -1: not known
	}{
		{"under an init process", []stacks.Process{
			{PID: 1, Command: "/sbin/docker-init -- gunicorn --workers 2 --threads 4 wsgi:app"},
			{PID: 7, Parent: 1, Command: "/usr/bin/python3 /usr/bin/gunicorn --workers 2 --threads 4 wsgi:app"},
			{PID: 8, Parent: 7, Command: "/usr/bin/python3 /usr/bin/gunicorn --workers 2 --threads 4 wsgi:app"},
			{PID: 9, Parent: 7, Command: "/usr/bin/python3 /usr/bin/gunicorn --workers 2 --threads 4 wsgi:app"},
			{PID: 10, Parent: 9, Command: "ffmpeg"},
		}, 2, 4},
		{"renamed processes", []stacks.Process{
			{PID: 7, Command: "gunicorn: master [wsgi:app]"},
			{PID: 8, Parent: 7, Command: "gunicorn: worker [wsgi:app]"},
		}, 1, -1},
		{"a wrapper that settles it otherwise", []stacks.Process{
			{PID: 7, Command: "python3 -m gunicorn --threads=4 --threads 8 wsgi:app"},
		}, 0, 8},
		{"a worker that forks a helper, which forks another", []stacks.Process{
			{PID: 7, Parent: 1, Command: "python3 /usr/bin/gunicorn --workers 1 --threads 4 wsgi:app"},
			{PID: 8, Parent: 7, Command: "python3 /usr/bin/gunicorn --workers 1 --threads 4 wsgi:app"},
			{PID: 9, Parent: 8, Command: "python3 /usr/bin/gunicorn --workers 1 --threads 4 wsgi:app"},
			{PID: 10, Parent: 9, Command: "python3 /usr/bin/gunicorn --workers 1 --threads 4 wsgi:app"},
		}, 1, 4},
		{"a helper that left its worker", []stacks.Process{
			{PID: 1, Command: "/sbin/docker-init -- gunicorn --workers 1 --threads 4 wsgi:app"},
			{PID: 7, Parent: 1, Command: "python3 /usr/bin/gunicorn --workers 1 --threads 4 wsgi:app"},
			{PID: 8, Parent: 7, Command: "python3 /usr/bin/gunicorn --workers 1 --threads 4 wsgi:app"},
			{PID: 9, Parent: 1, Command: "python3 /usr/bin/gunicorn --workers 1 --threads 4 wsgi:app"},
		}, 1, 4},
		{"as Podman lists it", []stacks.Process{
			{PID: 30360, Command: "/run/podman-init -- gunicorn --bind 0.0.0.0:8000 --workers 2 --threads 3 wsgi:app"},
			{PID: 30377, Parent: 30360, Command: "/usr/bin/python3 /usr/bin/gunicorn --bind 0.0.0.0:8000 --workers 2 --threads 3 wsgi:app"},
			{PID: 30380, Parent: 30377, Command: "/usr/bin/python3 /usr/bin/gunicorn --bind 0.0.0.0:8000 --workers 2 --threads 3 wsgi:app"},
			{PID: 30381, Parent: 30377, Command: "/usr/bin/python3 /usr/bin/gunicorn --bind 0.0.0.0:8000 --workers 2 --threads 3 wsgi:app"},
		}, 2, 3},
		{"a Manager of the app's, forked with --preload", []stacks.Process{
			{PID: 7, Signals: 0x8314a07, Command: "python3 /usr/bin/gunicorn --workers 2 --threads 4 wsgi:app"},
			{PID: 8, Parent: 7, Signals: 0x100000000, Command: "python3 /usr/bin/gunicorn --workers 2 --threads 4 wsgi:app"},
			{PID: 9, Parent: 7, Signals: 0x8304226, Command: "python3 /usr/bin/gunicorn --workers 2 --threads 4 wsgi:app"},
			{PID: 10, Parent: 7, Signals: 0x8304226, Command: "python3 /usr/bin/gunicorn --workers 2 --threads 4 wsgi:app"},
			{PID: 11, Parent: 7, Signals: 0x8314a05, Command: "python3 /usr/bin/gunicorn --workers 2 --threads 4 wsgi:app"},
		}, 2, 4},
		{"an app with PyTorch, whose UCX handles SIGHUP", []stacks.Process{
			{PID: 7, Signals: 0x8314a07, Command: "python3 /usr/bin/gunicorn --workers 2 --threads 1 wsgi:app"},
			{PID: 8, Parent: 7, Signals: 0x1083046ef, Command: "python3 /usr/bin/gunicorn --workers 2 --threads 1 wsgi:app"},
			{PID: 9, Parent: 7, Signals: 0x1083046ef, Command: "python3 /usr/bin/gunicorn --workers 2 --threads 1 wsgi:app"},
		}, 2, 1},
		{"no gunicorn", []stacks.Process{{PID: 7, Command: "python3 serve.py gunicorn"}}, -1, -1},
	}
	value := func(n *int) int {
		if n == nil {
			return -1
		}
		return *n
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			workers, threads := readGunicorn(stacks.Facts{Services: []stacks.ServiceFacts{{Service: stacks.AppService, Processes: test.processes}}})
			if value(workers) != test.workers || value(threads) != test.threads {
				t.Errorf("%d workers, %d threads; want %d, %d", value(workers), value(threads), test.workers, test.threads)
			}
		})
	}
}
