package servers

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"stackmeter/scenarios"
	"stackmeter/stacks"
)

// settings are the options of a command line for settings of the topology, by the
// names of both, as --name=value. Durations are whole seconds there.
func settings(t scenarios.Topology, names map[string]string) []string {
	var argv []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if value, given := t.Settings[name]; given {
			argv = append(argv, "--"+names[name]+"="+literal(whole(value)))
		}
	}
	return argv
}

// whole rounds a number up, and leaves other texts as they are.
func whole(value string) string {
	number, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return value
	}
	return strconv.Itoa(int(math.Ceil(number)))
}

// furtherOptions are those of the command line that the topology adds: --name=value,
// --name for true, and nothing for false.
func furtherOptions(t scenarios.Topology) []string {
	var argv []string
	for _, name := range slices.Sorted(maps.Keys(t.ServerOptions)) {
		switch value := t.ServerOptions[name]; value {
		case "true":
			argv = append(argv, "--"+name)
		case "false":
		default:
			argv = append(argv, "--"+name+"="+literal(value))
		}
	}
	return argv
}

// literal is a text in a command of which nothing is a placeholder.
func literal(text string) string { return strings.NewReplacer("{", "{{", "}", "}}").Replace(text) }

// factory splits off the call of "module:factory()".
func factory(callable string) (name string, calls bool) { return strings.CutSuffix(callable, "()") }

// needs are the modules that some words of a topology stand for.
func needs(words ...string) []stacks.Need {
	packages := map[string]string{
		"gevent": "python3-gevent", "eventlet": "python3-eventlet", "uvicorn": "python3-uvicorn",
		"uvloop": "python3-uvloop", "httptools": "python3-httptools",
	}
	var all []stacks.Need
	for _, word := range words {
		if debian := packages[word]; debian != "" {
			all = append(all, stacks.Need{Name: word, Module: true, Sign: "No module named '" + word + "'", Debian: debian})
		}
	}
	return all
}
