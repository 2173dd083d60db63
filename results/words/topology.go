package words

import (
	"fmt"
	"slices"
	"strings"

	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
)

// Topology is a topology in words that need no knowledge of its name: nginx in front of
// gunicorn, 1 worker with 4 threads.
func Topology(t scenarios.Topology) string {
	var parts []string
	if t.Workers > 0 {
		text := show.Plural(t.Workers, "worker process")
		if t.Workers > 1 {
			text = fmt.Sprintf("%d worker processes", t.Workers)
		}
		if t.Threads > 0 {
			text += " with " + show.Plural(t.Threads, "thread")
		}
		parts = append(parts, text)
	} else if t.Threads > 0 {
		parts = append(parts, show.Plural(t.Threads, "thread"))
	}
	if t.Concurrency > 0 {
		parts = append(parts, fmt.Sprintf("%d requests at once in each", t.Concurrency))
	}
	if t.Replicas > 1 {
		parts = append(parts, fmt.Sprintf("%d copies of it", t.Replicas))
	}
	server := t.Server
	if t.Class != "" {
		server += " (" + t.Class + ")"
	}
	switch server {
	case scenarios.ServerCommand, scenarios.ServerServices, "":
		server = "a command of the scenario's own"
	case "flask":
		server = "Flask's own server"
	}
	if t.Proxy != "" {
		server = t.Proxy + " in front of " + server
	}
	return show.Line(strings.Join(append([]string{server}, parts...), ", "))
}

// LoadsInWords says what the names of loads mean, by the first of each kind.
func LoadsInWords(loads []scenarios.LoadSpec) []string {
	var lines []string
	for _, client := range []string{scenarios.ClientSingle, scenarios.ClientMT, scenarios.ClientMP, scenarios.ClientOpen} {
		at := slices.IndexFunc(loads, func(l scenarios.LoadSpec) bool { return l.Client == client })
		if at < 0 {
			continue
		}
		l, text := loads[at], ""
		switch at := show.Plural(l.Pool, "client") + " at once, "; {
		case client == scenarios.ClientSingle:
			text = "one client sends one request after the other"
		case client == scenarios.ClientMT:
			text = at + "which are threads of one program"
		case client == scenarios.ClientMP:
			text = at + "which are programs of their own"
		case l.Rate > 0:
			text = Plainly(l.Rate) + " requests come each second, however long the answers take"
		default:
			text = "requests come at a rate, however long the answers take"
		}
		lines = append(lines, show.Line(l.Mode()+": "+text))
	}
	return lines
}
