package servers

import (
	"strings"
	"testing"

	"stackmeter/scenarios"
	"stackmeter/stacks"
)

func TestUvicornCommand(t *testing.T) {
	lines(t, []line{
		{scenarios.Topology{Server: "uvicorn", Workers: 1}, "", "uvicorn --host={host} --port={port} --no-access-log --workers=1 asgi:app"},
		{scenarios.Topology{Server: "uvicorn", Workers: 4,
			Settings:      map[string]string{"loop": "uvloop", "http": "h11", "max_requests": "1000", "limit_concurrency": "50"},
			ServerOptions: map[string]string{"backlog": "64"}, Unix: true,
		}, "asgi:make()", "uvicorn --uds={socket} --no-access-log --workers=4 --http=h11 --limit-concurrency=50 --loop=uvloop --limit-max-requests=1000 --backlog=64 --factory asgi:make"},
	})
}

func TestUvicornIsReadBack(t *testing.T) {
	const command = "/usr/bin/python3 /usr/bin/uvicorn --host=0.0.0.0 --port=8000 --no-access-log "
	one, two := scenarios.Topology{Workers: 1}, scenarios.Topology{Workers: 2}
	read(t, uvicorn{}, []reading{
		{"workers", stackOf(spawnedBy(command+"--workers=2 asgi:app", 2), "", "uvloop 2\nclosed 0\n"), two, "w2, uvloop, slots 0"},
		{"alone, with processes of the app's own", stackOf(spawnedBy(command+"--workers=1 asgi:app", 3), "", nothing), one, "w1, asyncio, slots 0"},
		{"a worker that still loads", stackOf(spawnedBy(command+"--workers=2 asgi:app", 2), "", "uvloop 1\nclosed 0\n"), two, "w2, uvloop, slots 0"},
		{"in a virtual environment", stackOf(spawnedBy("/venv/bin/python /venv/bin/uvicorn --workers=2 asgi:app", 2), "", nothing), two, "w2, asyncio, slots 0"},
		{"the loop of the command line", stackOf(spawnedBy(command+"--workers=2 --loop=asyncio asgi:app", 2), "", "uvloop 2\nclosed 0\n"), two, "w2, asyncio, slots 0"},
		{"a limit", stackOf(spawnedBy(command+"--workers=2 asgi:app", 2), "", nothing), scenarios.Topology{Workers: 2, Settings: map[string]string{"limit_concurrency": "8"}}, "slots 16"},
		{"closed processes", stackOf(spawnedBy(command+"--workers=2 asgi:app", 2), "", "uvloop 0\nclosed 3\nvariable UVICORN_HTTP\n"), two, "w2, variable UVICORN_HTTP, slots 0, the event loop (not all processes"},
		{"a worker less", stackOf(spawnedBy(command+"--workers=3 asgi:app", 3), "", nothing), two, "differs: workers 3, and the topology says 2"},
		{"something else", stackOf([]stacks.Process{{PID: 7, Command: "python3 serve.py"}}, "", nothing), two, "the workers of uvicorn (no process of it was found)"},
	})
}

// TestWorkersThatEnd: a server that replaces a worker because it ended by itself lost
// requests, one that replaces it on purpose did not.
func TestWorkersThatEnd(t *testing.T) {
	const uvicorn = "/usr/bin/python3 /usr/bin/uvicorn --workers=2 "
	died := "INFO:     Waiting for child process [10]\nINFO:     Child process [10] died\nINFO:     Started server process [14]\n"
	finished := "WARNING:  Maximum request limit of 12 exceeded. Terminating process.\nINFO:     Shutting down\nINFO:     Finished server process [10]\n"
	hypercorn := "/usr/bin/python3 /usr/bin/hypercorn --workers=2 "
	uwsgi := "uwsgi --master --processes=2 "
	gunicorn := "/usr/bin/python3 /usr/bin/gunicorn --workers 2 "
	for _, test := range []struct {
		name, command string
		spawned       bool
		logs          string
		recycled      bool
		died          string
	}{
		{"uvicorn's worker was killed", uvicorn, true, died, false, "uvicorn's workers ended"},
		{"uvicorn's worker has served enough", uvicorn + "--limit-max-requests=12", true, finished + died, true, ""},
		{"uvicorn's worker was killed before it served enough", uvicorn + "--limit-max-requests=12", true, died, false, "uvicorn's workers ended"},
		{"the log begins in the middle", uvicorn + "--limit-max-requests=12", true, died + strings.Repeat(finished, 14), true, ""},
		{"hypercorn's worker is gone", hypercorn, true, "", false, "hypercorn's workers ended"},
		{"hypercorn's worker has served enough", hypercorn + "--max-requests=12", true, "", true, ""},
		{"uwsgi's worker was killed", uwsgi + "--max-requests=12", false, "DAMN ! worker 1 (pid: 9) died, killed by signal 9 :( trying respawn ...\n", false, "uwsgi's workers ended"},
		{"uwsgi's worker has left", uwsgi + "--max-requests=12", false, "DAMN ! worker 1 (pid: 11) died :( trying respawn ...\n", false, "uwsgi's workers ended"},
		{"uwsgi's worker has served enough", uwsgi + "--max-requests=12", false, "...The work of process 10 is done. Seeya!\n", true, ""},
		{"gunicorn's worker has served enough", gunicorn + "--max-requests=12", false, "[INFO] Autorestarting worker after current request.\n", true, ""},
		{"gunicorn's worker has left", gunicorn + "--max-requests=12", false, "[ERROR] Worker (pid:10) exited with code 1\n", false, "gunicorn's workers ended"},
		{"a worker of gunicorn 20 was killed", gunicorn + "--max-requests=12", false, "[WARNING] Worker with pid 10 was terminated due to signal 9\n", false, "gunicorn's workers ended"},
		{"a child of the app's is gone", "/usr/bin/python3 /usr/bin/uvicorn --workers=1 ", true, "", false, ""},
	} {
		processes := forked(test.command+"app", 0, 0, 0)
		if test.spawned {
			processes = spawnedBy(test.command+"app", 2)
		}
		after := append([]stacks.Process{}, processes...)
		after[len(after)-1].PID = 99
		facts := func(list []stacks.Process) stacks.Facts {
			return stacks.Facts{Services: []stacks.ServiceFacts{{Service: "app", Processes: list}}}
		}
		recycled, err := SameWorkers(facts(processes), facts(after), func() string { return test.logs })
		if recycled != test.recycled || (err != nil) != (test.died != "") || err != nil && !strings.Contains(err.Error(), test.died) {
			t.Errorf("%s: recycled %v, %v", test.name, recycled, err)
		}
	}
}
