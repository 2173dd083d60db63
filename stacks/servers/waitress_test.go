package servers

import (
	"errors"
	"testing"

	"stackmeter/scenarios"
	"stackmeter/stacks"
)

func TestWaitressIsReadBack(t *testing.T) {
	const command = "/usr/bin/python3 /usr/bin/waitress-serve --listen=0.0.0.0:8000 --threads="
	for _, test := range []struct {
		name    string
		command string
		threads int
		unread  bool
		differs bool
	}{
		{"as asked", command + "8 wsgi:app", 9, false, false},
		{"an app with threads of its own", command + "8 wsgi:app", 20, false, false},
		{"a runtime that does not count threads", command + "8 wsgi:app", 0, false, false},
		{"as a module", "/venv/bin/python -m waitress --threads=8 wsgi:app", 9, false, false},
		{"other threads", command + "4 wsgi:app", 9, false, true},
		{"fewer threads than it says", command + "8 wsgi:app", 5, false, true},
		{"something else", "python3 serve.py --threads=8", 9, true, false},
	} {
		facts, err := waitress{}.ReadBack(t.Context(), scenarios.Topology{Threads: 8}, running{processes: []stacks.Process{
			{PID: 1, Command: "/sbin/docker-init -- waitress-serve --threads=8 wsgi:app"}, {PID: 7, Parent: 1, Threads: test.threads, Command: test.command},
		}})
		if errors.Is(err, stacks.ErrDiffers) != test.differs || (facts.Unread != "") != test.unread {
			t.Errorf("%s: %+v, %v", test.name, facts, err)
		}
	}
}
