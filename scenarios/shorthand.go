package scenarios

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
)

// Ranges of a topology's numbers.
const (
	maxWorkers = 256
	maxThreads = 1024
)

// A Server is what scenarios know of a way of serving the app: its name, and which
// axes it has.
type Server struct {
	Name    string
	Workers int    // default of the axis workers; 0: it has none
	Threads int    // default of the axis threads; 0: it has none
	Lacks   string // why it has no such axis: "it makes a thread for each connection"

	// Keeps is the number of threads from which on it keeps connections open; 0: it
	// never does. Only then nginx keeps connections to it.
	Keeps int

	// Decides are beginnings of variables that would make it another server: a
	// topology of it cannot set them.
	Decides []string
}

// forms are the short forms of a server's topologies, for messages.
func (s Server) forms() []string {
	forms := []string{s.Name}
	if s.Workers > 0 {
		forms = append(forms, s.Name+" w2")
	}
	if s.Threads > 0 {
		forms = append(forms, forms[len(forms)-1]+map[bool]string{true: "/t4", false: " t4"}[s.Workers > 0])
	}
	return forms
}

// Servers are those that a scenario can name.
type Servers []Server

func (all Servers) find(name string) (Server, bool) {
	i := slices.IndexFunc(all, func(s Server) bool { return s.Name == name })
	if i < 0 {
		return Server{}, false
	}
	return all[i], true
}

func (all Servers) names() []string {
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	return names
}

// rule shows the forms that a topology's short name can take.
func (all Servers) rule() string {
	var forms []string
	for _, s := range all {
		forms = append(forms, s.forms()...)
	}
	return "the short forms are " + strings.Join(forms, ", ") + " and any of them after nginx +"
}

// pattern is the regular expression of short names, for the schema. It lets
// through numbers that are out of range.
func (all Servers) pattern() string {
	const workers, threads = `w\s*[0-9]+`, `t\s*[0-9]+`
	var servers []string
	for _, s := range all {
		numbers := ""
		switch {
		case s.Workers > 0 && s.Threads > 0:
			numbers = `(\s*|\s+(` + workers + `(\s*/\s*` + threads + `)?|` + threads + `))`
		case s.Workers > 0:
			numbers = `(\s*|\s+` + workers + `)`
		case s.Threads > 0:
			numbers = `(\s*|\s+` + threads + `)`
		}
		servers = append(servers, s.Name+numbers)
	}
	return `^\s*(nginx\s*\+\s*)?(` + strings.Join(servers, "|") + `)\s*$`
}

// A shorthand is what a topology's short name says: "nginx + gunicorn w1/t4".
// Workers and threads are 0 where it leaves them out.
type shorthand struct {
	nginx            bool
	server           Server
	workers, threads int
}

// parse reads a topology's short name. Spaces are free between its parts; the
// numbers come in the order w, t.
func (all Servers) parse(text string) (shorthand, error) {
	var s shorthand
	rest := strings.TrimSpace(text)
	if before, after, found := strings.Cut(rest, "+"); found {
		front := strings.TrimSpace(before)
		if front != "nginx" {
			return s, fmt.Errorf("only nginx can be in front of a server, not %s", show.Quote(front))
		}
		s.nginx, rest = true, strings.TrimSpace(after)
	}
	word := rest
	if end := strings.IndexAny(rest, " \t/"); end >= 0 {
		word = rest[:end]
	}
	rest = strings.Join(strings.Fields(rest[len(word):]), "")
	var known bool
	switch s.server, known = all.find(word); {
	case known:
	case word == "":
		return s, errors.New("there is no server")
	case word == "nginx":
		return s, errors.New("nginx needs a server behind it")
	default:
		err := fmt.Errorf("there is no server %s", show.Quote(word))
		if near := show.Nearest(word, all.names()); near != "" {
			err = fmt.Errorf("%w (did you mean %s?)", err, near)
		}
		return s, err
	}
	if rest == "" {
		return s, nil
	}
	for i, part := range strings.Split(rest, "/") {
		var into *int
		axis, most, has := "workers", maxWorkers, s.server.Workers
		switch {
		case i == 0 && strings.HasPrefix(part, "w"):
			into = &s.workers
		case (i == 0 || i == 1 && s.workers > 0) && strings.HasPrefix(part, "t"):
			into, axis, most, has = &s.threads, "threads", maxThreads, s.server.Threads
		default:
			return s, fmt.Errorf("%s is not a number of workers and threads", show.Quote(rest))
		}
		if has == 0 {
			return s, fmt.Errorf("%s has no %s to set: %s", s.server.Name, axis, s.server.Lacks)
		}
		number, err := strconv.Atoi(part[1:])
		if err != nil || strconv.Itoa(number) != part[1:] {
			return s, fmt.Errorf("%s is not a number of workers or threads", show.Quote(part))
		}
		if number < 1 || number > most {
			return s, fmt.Errorf("%s is out of range: from %s1 to %s%d", part, part[:1], part[:1], most)
		}
		*into = number
	}
	return s, nil
}

// topologyName is the expanded name of a topology: the base with what is in front
// of it and the numbers that it has.
func topologyName(base string, nginx bool, workers, threads int) string {
	if nginx {
		base = "nginx+" + base
	}
	if workers > 0 {
		base += "-w" + strconv.Itoa(workers)
	}
	if threads > 0 {
		base += "-t" + strconv.Itoa(threads)
	}
	return base
}

// mapping is the long form of a short name.
func (s shorthand) mapping(at *yaml.Node) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: at.Line, Column: at.Column}
	add := func(key, tag, value string) {
		for _, scalar := range []*yaml.Node{{Tag: "!!str", Value: key}, {Tag: tag, Value: value}} {
			scalar.Kind, scalar.Line, scalar.Column = yaml.ScalarNode, at.Line, at.Column
			n.Content = append(n.Content, scalar)
		}
	}
	add("server", "!!str", s.server.Name)
	if s.workers > 0 {
		add("workers", "!!int", strconv.Itoa(s.workers))
	}
	if s.threads > 0 {
		add("threads", "!!int", strconv.Itoa(s.threads))
	}
	if s.nginx {
		add("nginx", "!!bool", "true")
	}
	return n
}
