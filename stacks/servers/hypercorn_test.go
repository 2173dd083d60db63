package servers

import (
	"testing"

	"stackmeter/scenarios"
	"stackmeter/stacks"
)

func TestHypercornCommand(t *testing.T) {
	lines(t, []line{
		{scenarios.Topology{Server: "hypercorn", Workers: 2}, "asgi:make('x')", "hypercorn --bind={host}:{port} --workers=2 --worker-class=asyncio asgi:make('x')"},
		{scenarios.Topology{Server: "hypercorn", Workers: 1, Unix: true, Settings: map[string]string{"loop": "uvloop", "max_requests": "9"}, ServerOptions: map[string]string{"keep-alive": "9"}}, "",
			"hypercorn --bind=unix:{socket} --umask=0 --workers=1 --worker-class=uvloop --max-requests=9 --keep-alive=9 asgi:app"},
	})
}

func TestHypercornIsReadBack(t *testing.T) {
	const command = "/usr/bin/python3 /usr/bin/hypercorn --bind=0.0.0.0:8000 "
	two := scenarios.Topology{Workers: 2}
	read(t, hypercorn{}, []reading{
		{"workers", stackOf(spawnedBy(command+"--workers=2 --worker-class=uvloop asgi:app", 2), "", ""), two, "w2, uvloop, slots 0"},
		{"before 0.15, when they were forked", stackOf(forked(command+"--workers=2 --worker-class=asyncio asgi:app", 0x4002, 0, 0), "", ""), two, "w2, asyncio, slots 0"},
		{"one", stackOf(spawnedBy(command+"--workers=1 --worker-class=asyncio asgi:app", 1), "", ""), scenarios.Topology{Workers: 1}, "w1, asyncio, slots 0"},
		{"one that is the server's own process", stackOf(forked(command+"--workers=1 --worker-class=asyncio asgi:app", 0x4002), "", ""), scenarios.Topology{Workers: 1}, "w1, asyncio, slots 0"},
		{"more", stackOf(spawnedBy(command+"--workers=4 asgi:app", 4), "", ""), two, "differs: workers 4, and the topology says 2"},
		{"something else", stackOf([]stacks.Process{{PID: 7, Command: "python3 serve.py"}}, "", ""), two, "the workers of hypercorn (no process of it was found)"},
	})
}
