package servers

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"stackmeter/stacks"
)

// mostInForce bounds how many names are kept.
const mostInForce = 32

var variableName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]{0,63}$`).MatchString

// lookInside finds what the server takes settings from beside its command line, and with
// loop also which event loop its workers have. It starts a Python in the app's
// service, which sees the environments, folders and libraries of the processes there;
// it prints names, and values stay in it. Where it may not look into a process, what
// counts is the environment and the folder that a service's command begins with.
func (f *Facts) lookInside(ctx context.Context, stack stacks.Stack, p Program, loop bool) error {
	python, pids := "python3", ""
	for _, s := range f.Services {
		if s.Service != stacks.AppService {
			continue
		}
		for _, one := range s.Processes {
			if first, _, _ := strings.Cut(one.Command, " "); program(one) == "python" && strings.Contains(first, "/") {
				python = first
			}
			if s.Container == "" { // others run where a local process looks
				pids += " " + strconv.Itoa(one.PID)
			}
		}
	}
	out, err := stack.Exec(ctx, stacks.AppService, python, "-I", "-c", inside, pids, strings.Join(p.Variables, " "), strings.Join(p.Files, " "))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		f.unread(fmt.Sprintf("what %s takes settings from beside its command line (%s does not run in the service)", p.Name, python))
		if loop {
			f.unread("the event loop")
		}
		return nil
	}
	with, closed := 0, 0
	for line := range strings.Lines(string(out)) {
		switch what, value, _ := strings.Cut(strings.TrimSpace(line), " "); what {
		case "variable", "file": // which Python that is, the image decides
			known := slices.Contains(p.Files, value)
			if what == "variable" {
				known = variableName(value) && slices.ContainsFunc(p.Variables, func(start string) bool { return strings.HasPrefix(value, start) })
			}
			if known && len(f.InForce) < mostInForce {
				f.InForce = append(f.InForce, what+" "+value)
			}
		case "uvloop":
			with, _ = strconv.Atoi(value)
		case "closed":
			closed, _ = strconv.Atoi(value)
		}
	}
	switch {
	case !loop:
	case with > 0: // others may still load
		f.Loop = "uvloop"
	case closed > 0:
		f.unread("the event loop (not all processes of " + p.Name + " may be looked into)")
	default:
		f.Loop = "asyncio"
	}
	return nil
}

// inside is the program of lookInside. A worker that uses uvloop has mapped its library.
const inside = `
import os, sys
pids, names, files = [text.split() for text in sys.argv[1:]]
seen, uvloop, closed = set(), 0, 0
def look(variables, folder):
    seen.update("variable " + v for v in variables if v.isidentifier() and any(v.startswith(n) for n in names))
    seen.update("file " + f for f in files if os.path.exists(os.path.join(folder, f)))
look(os.environ, ".")
for pid in pids or filter(str.isdigit, os.listdir("/proc")):
    try:
        with open(f"/proc/{pid}/environ", "rb") as f:
            look([v.partition(b"=")[0].decode(errors="replace") for v in f.read().split(b"\0")], f"/proc/{pid}/cwd")
        with open(f"/proc/{pid}/maps") as f:
            uvloop += "/uvloop/" in f.read()
    except PermissionError:
        closed += 1
    except OSError:
        pass # it has ended
print("uvloop", uvloop)
print("closed", closed)
print("\n".join(sorted(seen)))
`
