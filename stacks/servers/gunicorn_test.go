package servers

import (
	"testing"

	"stackmeter/scenarios"
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
			found, first, err := awaitWorkers(t.Context(), running{processes: test.processes}, "gunicorn", 0)
			threads := -1
			if first != nil {
				threads = value(optionNumber(first.Command, "--threads"))
			}
			if err != nil || value(found.Workers) != test.workers || threads != test.threads {
				t.Errorf("%d workers, %d threads (%v); want %d, %d", value(found.Workers), threads, err, test.workers, test.threads)
			}
		})
	}
}

func TestGunicornCommand(t *testing.T) {
	lines(t, []line{
		{scenarios.Topology{Server: "gunicorn", Workers: 2, Threads: 1}, "", "gunicorn --bind {host}:{port} --workers 2 --worker-class sync --threads 1 --timeout 95 --worker-tmp-dir /dev/shm wsgi:app"},
		{scenarios.Topology{Server: "gunicorn", Class: "gthread", Workers: 1, Threads: 1}, "", "gunicorn --bind {host}:{port} --workers 1 --worker-class gthread --threads 1 --timeout 95 --worker-tmp-dir /dev/shm wsgi:app"},
		{scenarios.Topology{Server: "gunicorn", Class: "gevent", Workers: 2, Concurrency: 100}, "wsgi:make('x', n=1)", "gunicorn --bind {host}:{port} --workers 2 --worker-class gevent --worker-connections 100 --timeout 95 --worker-tmp-dir /dev/shm wsgi:make('x', n=1)"},
		{scenarios.Topology{
			Server: "gunicorn", Class: "asgi", Workers: 4,
			Settings:      map[string]string{"timeout": "89.5", "preload": "true", "max_requests": "1000", "worker_tmp_dir": "/tmp/{x}"},
			ServerOptions: map[string]string{"keep-alive": "5", "reuse-port": "true", "no-sendfile": "false", "access-logformat": "{x}"},
		}, "", "gunicorn --bind {host}:{port} --workers 4 --worker-class uvicorn.workers.UvicornWorker --timeout 90 --worker-tmp-dir /tmp/{{x}} --preload --max-requests=1000 --access-logformat={{x}} --keep-alive=5 --reuse-port asgi:app"},
	})
}

func TestGunicornIsReadBack(t *testing.T) {
	const command = "/usr/bin/python3 /usr/bin/gunicorn --bind 0.0.0.0:8000 --workers 2 "
	const log = "[2026-11-27 23:31:50 +0000] [8] [INFO] Using worker: "
	gevent := scenarios.Topology{Class: "gevent", Workers: 2, Concurrency: 100}
	asgi := scenarios.Topology{Class: "asgi", Workers: 2}
	threads := scenarios.Topology{Workers: 2, Threads: 3}
	read(t, gunicorn{}, []reading{
		{"gthread", stackOf(forked(command+"--worker-class gthread --threads 3 wsgi:app", 0x8314a07, 0x8304226, 0x108304226), log+"gthread\n", nothing), threads, "w2, t3, gthread, slots 6"},
		{"gthread of gunicorn 20", stackOf(forked(command+"--worker-class gthread --threads 3 wsgi:app", 0x8314a07, 0x8304226, 0x108304226), log+"threads\n", nothing), threads, "w2, t3, gthread, slots 6"},
		{"a silent log", stackOf(forked(command+"--worker-class gthread --threads 3 wsgi:app", 0x8314a07, 0x8304226, 0x108304226), "", nothing), threads, "w2, t3, gthread, slots 6"},
		{"gevent", stackOf(forked(command+"--worker-class gevent --worker-connections 100 wsgi:app", 0x8314a07, 0x8304226, 0x8304226), log+"gevent\n", nothing), gevent, "w2, c100, gevent, slots 200"},
		{"uvicorn's workers", stackOf(forked(command+"--worker-class uvicorn.workers.UvicornWorker asgi:app", 0x8314a07, 0x304206, 0x304206), log+uvicornWorker+"\n", "uvloop 2\nclosed 0\n"), asgi, "w2, uvicorn.workers.UvicornWorker, uvloop, slots 0"},
		{"uvicorn's workers before 0.30", stackOf(forked(command+"--worker-class uvicorn.workers.UvicornWorker asgi:app", 0x8314a07, 0x304002, 0x304002), log+uvicornWorker+"\n", nothing), asgi, "w2, uvicorn.workers.UvicornWorker, asyncio, slots 0"},
		{"a Manager of the app's", stackOf(forked(command+"--worker-class gevent --worker-connections 100 wsgi:app", 0x8314a07, 0x100000000, 0x8304226, 0x8304226), log+"gevent\n", nothing), gevent, "w2, c100"},
		{"what is in force", stackOf(forked(command+"--worker-class gevent --worker-connections 100 wsgi:app", 0x8314a07, 0x8304226, 0x8304226), log+"gevent\n", nothing+"file gunicorn.conf.py\nfile /etc/shadow\nvariable GUNICORN_CMD_ARGS\nvariable API_TOKEN\nvariable GUNICORN_CMD_ARGS=x\n"), gevent, "gevent, file gunicorn.conf.py, variable GUNICORN_CMD_ARGS, slots"},
		{"no Python to look with", stackOf(forked(command+"--worker-class gevent --worker-connections 100 wsgi:app", 0x8314a07, 0x8304226, 0x8304226), log+"gevent\n", ""), gevent, "what gunicorn takes settings from beside its command line (/usr/bin/python3 does not run in the service)"},
		{"renamed", stackOf([]stacks.Process{{PID: 7, Command: "gunicorn: master [wsgi:app]"}, {PID: 8, Parent: 7, Command: "gunicorn: worker [wsgi:app]"}, {PID: 9, Parent: 7, Command: "gunicorn: worker [wsgi:app]"}}, "", nothing), threads,
			"w2, slots 6, the threads of gunicorn (its processes have renamed themselves), the class of gunicorn's workers (its log does not name it, and its processes have renamed themselves)"},
		{"another class", stackOf(forked(command+"--worker-class gthread --threads 3 wsgi:app", 0x8314a07, 0x8304226, 0x8304226), log+"gevent\n", nothing), threads, "differs: of the class gevent, and the topology's are of the class gthread"},
		{"other threads", stackOf(forked(command+"--worker-class gthread --threads 4 wsgi:app", 0x8314a07, 0x8304226, 0x8304226), log+"gthread\n", nothing), threads, "differs: threads 4, and the topology says 3"},
		{"other concurrency", stackOf(forked(command+"--worker-class gevent --worker-connections 9 wsgi:app", 0x8314a07, 0x8304226, 0x8304226), log+"gevent\n", nothing), gevent, "differs: concurrency 9, and the topology says 100"},
		{"more workers", stackOf(forked(command+"--worker-class gthread --threads 3 wsgi:app", 0x8314a07, 0x8304226, 0x8304226, 0x8304226), log+"gthread\n", nothing), threads, "differs: workers 3, and the topology says 2"},
		{"no gunicorn", stackOf([]stacks.Process{{PID: 7, Command: "python3 serve.py"}}, "", nothing), threads, "the workers of gunicorn (no process of it was found), the threads of gunicorn (no process"},
	})
}
