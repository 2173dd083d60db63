package servers

import (
	"testing"

	"stackmeter/scenarios"
	"stackmeter/stacks"
)

func TestDaphne(t *testing.T) {
	lines(t, []line{
		{scenarios.Topology{Server: "daphne"}, "", "daphne --bind={host} --port={port} --verbosity=0 asgi:app"},
		{scenarios.Topology{Server: "daphne", Unix: true, ServerOptions: map[string]string{"http-timeout": "9"}}, "", "daphne --unix-socket={socket} --verbosity=0 --http-timeout=9 asgi:app"},
	})
	read(t, daphne{}, []reading{
		{"one process", stackOf(forked("/usr/bin/python3 /usr/bin/daphne --bind=0.0.0.0 --port=8000 asgi:app", 0x14002), "", ""), scenarios.Topology{}, "asyncio, slots 0"},
		{"something else", stackOf([]stacks.Process{{PID: 7, Command: "python3 serve.py"}}, "", ""), scenarios.Topology{}, "whether daphne runs"},
	})
}
