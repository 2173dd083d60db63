package scenarios

import (
	"errors"
	"fmt"
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

// shorthandRule shows the forms that a topology's short name can take.
const shorthandRule = "the short forms are flask, gunicorn, gunicorn w2, gunicorn w2/t4 and any of them after nginx +"

// A shorthand is what a topology's short name says: "nginx + gunicorn w1/t4".
// Workers and threads are 0 where it leaves them out.
type shorthand struct {
	nginx            bool
	server           string
	workers, threads int
}

// parseShorthand reads a topology's short name. Spaces are free between its
// parts; the numbers come in the order w, t.
func parseShorthand(text string) (shorthand, error) {
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
	switch word {
	case ServerFlask, ServerGunicorn:
		s.server = word
	case "":
		return s, errors.New("there is no server")
	case "nginx":
		return s, errors.New("nginx needs a server behind it")
	default:
		err := fmt.Errorf("there is no server %s", show.Quote(word))
		if near := show.Nearest(word, []string{ServerFlask, ServerGunicorn}); near != "" {
			err = fmt.Errorf("%w (did you mean %s?)", err, near)
		}
		return s, err
	}
	if rest == "" {
		return s, nil
	}
	if s.server == ServerFlask {
		return s, errors.New("flask's own server has no workers or threads to set: it makes a thread for each connection")
	}
	for i, part := range strings.Split(rest, "/") {
		var into *int
		most := maxWorkers
		switch {
		case i == 0 && strings.HasPrefix(part, "w"):
			into = &s.workers
		case (i == 0 || i == 1 && s.workers > 0) && strings.HasPrefix(part, "t"):
			into, most = &s.threads, maxThreads
		default:
			return s, fmt.Errorf("%s is not a number of workers and threads", show.Quote(rest))
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

// name is the expanded name of a topology: the base with what is in front of
// it and the numbers that it has.
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

// topology is what a short name stands for; gunicorn's own defaults are one
// worker and one thread.
func (s shorthand) topology() Topology {
	if s.server == ServerGunicorn {
		s.workers, s.threads = max(s.workers, 1), max(s.threads, 1)
	}
	return Topology{
		Name:    topologyName(s.server, s.nginx, s.workers, s.threads),
		Server:  s.server,
		Workers: s.workers,
		Threads: s.threads,
		Nginx:   s.nginx,
	}
}

// mapping is the long form of a short name, for an override that changes a
// part of it.
func (s shorthand) mapping(at *yaml.Node) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: at.Line, Column: at.Column}
	add := func(key, tag, value string) {
		for _, scalar := range []*yaml.Node{{Tag: "!!str", Value: key}, {Tag: tag, Value: value}} {
			scalar.Kind, scalar.Line, scalar.Column = yaml.ScalarNode, at.Line, at.Column
			n.Content = append(n.Content, scalar)
		}
	}
	add("server", "!!str", s.server)
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
