package servers

import (
	"testing"

	"stackmeter/scenarios"
	"stackmeter/stacks"
)

func TestUWSGICommand(t *testing.T) {
	lines(t, []line{
		{scenarios.Topology{Server: "uwsgi", Workers: 2, Threads: 4}, "",
			"uwsgi --plugin=python3 --http-socket={host}:{port} --master --need-app --enable-threads --die-on-term --disable-logging --processes=2 --threads=4 --lazy-apps --module=wsgi:app"},
		{scenarios.Topology{Server: "uwsgi", Workers: 1, Threads: 1, Unix: true, Settings: map[string]string{"preload": "true", "max_requests": "9", "timeout": "1.5"}, ServerOptions: map[string]string{"thunder-lock": "true"}}, "wsgi:make()",
			"uwsgi --plugin=python3 --thunder-lock --http-socket={socket} --chmod-socket=666 --master --need-app --enable-threads --die-on-term --disable-logging --processes=1 --threads=1 --max-requests=9 --harakiri=2 --module=wsgi:make()"},
	})
	p := plan()
	p.App.Image, p.App.Dir, p.App.Venv = "", "/app", "/venv"
	if got := argv(t, p, scenarios.Topology{Server: "uwsgi", Workers: 1, Threads: 1}); got != "uwsgi --plugin=python3 --http-socket={host}:{port} --master --need-app --enable-threads --die-on-term --disable-logging --processes=1 --threads=1 --lazy-apps --home=/venv --module=wsgi:app" {
		t.Errorf("in a virtual environment: %s", got)
	}
}

func TestUWSGIIsReadBack(t *testing.T) {
	const command = "uwsgi --plugin=python3 --http-socket=0.0.0.0:8000 --master --processes=2 "
	asked := scenarios.Topology{Workers: 2, Threads: 4}
	read(t, uwsgi{}, []reading{
		{"workers and threads", stackOf(forked(command+"--threads=4 --module=wsgi:app", 0x84687, 0x108085e83, 0x108085e87), "", nothing), asked, "w2, t4, slots 8"},
		{"a Manager of the app's and a mule", stackOf(forked(command+"--threads=4 --module=wsgi:app", 0x84687, 0x100000480, 0x108085e83, 0x4487, 0x108085e83), "", nothing), asked, "w2, t4, slots 8"},
		{"a worker that still loads", stackOf(append(forked(command+"--threads=4 --module=wsgi:app", 0x84687, 0x108085e83), stacks.Process{PID: 9, Parent: 7, Signals: 0x8085e83, Threads: 1, Command: command + "--threads=4 --module=wsgi:app"}), "", nothing), asked, "w2, t4, slots 8"},
		{"renamed", stackOf([]stacks.Process{{PID: 7, Command: "uWSGI master"}, {PID: 8, Parent: 7, Command: "uWSGI worker 1"}, {PID: 9, Parent: 7, Command: "uWSGI worker 2"}}, "", nothing), asked, "w2, slots 8, the threads of uwsgi (its processes have renamed"},
		{"what is in force", stackOf(forked(command+"--threads=4 --module=wsgi:app", 0x84687, 0x108085e83, 0x108085e83), "", nothing+"variable UWSGI_CHEAPER\n"), asked, "variable UWSGI_CHEAPER"},
		{"fewer threads than it says", stackOf(forked(command+"--threads=4 --module=wsgi:app", 0x84687, 0x108085e83, 0x108085e83), "", nothing), scenarios.Topology{Workers: 2, Threads: 5}, "differs: 4 threads running, and the topology says threads 5"},
		{"other threads", stackOf(forked(command+"--threads=2 --module=wsgi:app", 0x84687, 0x108085e83, 0x108085e83), "", nothing), asked, "differs: threads 2, and the topology says 4"},
		{"cheaper", stackOf(forked(command+"--threads=4 --module=wsgi:app", 0x84687, 0x108085e83, 0x108085e83, 0x108085e83), "", nothing), asked, "differs: workers 3, and the topology says 2"},
	})
}
