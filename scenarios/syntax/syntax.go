// Package syntax is how a scenario writes ways of serving the app: which servers
// and proxies there are, the axes of each, and their short names.
package syntax

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
)

// Ranges of the axes that are numbers.
const (
	maxWorkers     = 256
	MaxThreads     = 1024
	MaxConcurrency = 65535
)

// Known is what a scenario can name.
type Known struct {
	Servers []Server
	Proxies []Proxy
}

// A Server is a way of serving the app.
type Server struct {
	Name string

	// Classes are the ways in which it works on requests, at least one. The first
	// is the one of a topology that names none; its name may be empty.
	Classes []Class

	Settings []Setting // keys of a topology that it has besides the axes
	Options  bool      // it takes further options of its command line
	Reserved []string  // options that stackmeter gives itself
	Unix     bool      // it can listen on a unix socket
	Factory  int       // which calls it makes that are in app.wsgi or app.asgi

	// Decides are beginnings of variables that would make it another server: a
	// topology of it cannot set them.
	Decides []string
}

// Kinds of factories.
const (
	noFactory    = iota // the app is a name: module:app
	PlainFactory        // module:create_app() too
	AnyFactory          // module:create_app("production") too
)

// A Class is one way in which a server works on requests, with the usual values of
// its axes; 0: it has no such axis.
type Class struct {
	Name        string
	Workers     int
	Threads     int
	Concurrency int    // requests that a worker takes at once
	Lacks       string // why it has not every axis: "it makes a thread for each connection"
	ASGI        bool   // it serves app.asgi, not app.wsgi

	// Keeps is the number of threads from which on it keeps connections open; 0: it
	// never does. Only then a proxy keeps connections to it, unless it is told to.
	Keeps int
}

// An Axis is one of the numbers that a class can have.
type Axis struct {
	Name   string
	Letter string // in short names
	Most   int
	Usual  int // 0: the class has no such axis
}

// Axes are the numbers of the class, in the order in which names have them.
func (c Class) Axes() []Axis {
	return []Axis{
		{"workers", "w", maxWorkers, c.Workers},
		{"threads", "t", MaxThreads, c.Threads},
		{"concurrency", "c", MaxConcurrency, c.Concurrency},
	}
}

// A Proxy is a program in front of a server.
type Proxy struct {
	Name     string
	Settings []Setting // keys of its mapping in a topology
}

// Kinds of settings.
const (
	Truth = iota // true or false
	Whole        // a whole number from Least to Most
	Span         // a duration from Least to Most seconds
	Size         // bytes from Least to Most
	Text         // a text that matches Pattern
	Word         // one of Words
	File         // the content of a text file of the scenario's, of at most Most bytes, that matches Pattern
)

// A Setting is one value of a server or proxy that a scenario can give: an axis, if
// it gives several.
type Setting struct {
	Name        string
	Kind        int
	Least, Most int
	Words       []string
	Pattern     *regexp.Regexp // of the whole text
	Rule        string         // what Pattern asks for, in words
	What        string         // for the schema: what it does, with its usual value
	Workers     int            // how many it takes at least
}

// Server returns a server by its name.
func (k Known) Server(name string) (Server, bool) {
	i := slices.IndexFunc(k.Servers, func(s Server) bool { return s.Name == name })
	if i < 0 {
		return Server{}, false
	}
	return k.Servers[i], true
}

// ServerNames are the names of the servers.
func (k Known) ServerNames() []string {
	var names []string
	for _, s := range k.Servers {
		names = append(names, s.Name)
	}
	return names
}

// ProxyNames are the names of the proxies.
func (k Known) ProxyNames() []string {
	var names []string
	for _, p := range k.Proxies {
		names = append(names, p.Name)
	}
	return names
}

// Settings are those of all servers, each name once and sorted.
func (k Known) Settings() []Setting {
	all := map[string]Setting{}
	for _, s := range k.Servers {
		for _, one := range s.Settings {
			all[one.Name] = one
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
}

// Class returns a class of the server by its name; the usual one if that is empty.
func (s Server) Class(name string) (Class, bool) {
	if name == "" {
		return s.Classes[0], true
	}
	i := slices.IndexFunc(s.Classes, func(c Class) bool { return c.Name == name })
	if i < 0 {
		return Class{}, false
	}
	return s.Classes[i], true
}

// ClassNames are the names of the server's classes that have one.
func (s Server) ClassNames() []string {
	var names []string
	for _, c := range s.Classes {
		if c.Name != "" {
			names = append(names, c.Name)
		}
	}
	return names
}

// Refuses says what of a topology the server cannot do, and what would be right: with
// the callable of app.KEY, and with its settings. It is empty if there is nothing.
func (s Server) Refuses(key, callable string, workers int, settings map[string]string) (why, hint string) {
	_, call, isFactory := strings.Cut(callable, "(")
	switch {
	case isFactory && s.Factory == noFactory:
		return fmt.Sprintf("%s calls no factory, and app.%s is %s", s.Name, key, callable), "name a module that holds what the factory makes, or use another server"
	case isFactory && call != ")" && s.Factory == PlainFactory:
		return fmt.Sprintf("%s calls a factory without arguments only, and app.%s is %s", s.Name, key, callable), "let the factory read them from the environment, name a module that calls it, or use another server"
	}
	for _, setting := range s.Settings {
		if _, given := settings[setting.Name]; given && workers < setting.Workers {
			return fmt.Sprintf("%s takes %s from workers %d on: with fewer nothing starts the next one", s.Name, setting.Name, setting.Workers), "remove it, or give it more workers"
		}
	}
	return "", ""
}

// forms are the short forms of a server's topologies, for messages.
func (s Server) forms() []string {
	var forms []string
	for i, class := range s.Classes {
		form := s.Name
		if class.Name != "" && i > 0 {
			form += " " + class.Name
		}
		if i == 0 || class.Workers+class.Threads+class.Concurrency == 0 {
			forms = append(forms, form)
		}
		var numbers []string
		for _, axis := range class.Axes() {
			if axis.Usual > 0 {
				numbers = append(numbers, axis.Letter+map[string]string{"w": "2", "t": "4", "c": "100"}[axis.Letter])
			}
		}
		if len(numbers) > 0 {
			forms = append(forms, form+" "+strings.Join(numbers, "/"))
		}
	}
	return forms
}

// Rule shows the forms that a topology's short name can take.
func (k Known) Rule() string {
	var forms []string
	for _, s := range k.Servers {
		forms = append(forms, s.forms()...)
	}
	rule := "the short forms are " + strings.Join(forms, ", ")
	if proxies := k.ProxyNames(); len(proxies) > 0 {
		rule += " and any of them after " + strings.Join(proxies, " +, ") + " +"
	}
	return rule
}

// Pattern is the regular expression of short names, for the schema. It lets
// through numbers that are out of range.
func (k Known) Pattern() string {
	var servers []string
	for _, s := range k.Servers {
		for i, class := range s.Classes {
			name := s.Name
			if i > 0 {
				name += `\s+` + class.Name
			} else if class.Name != "" {
				name += `(\s+` + class.Name + `)?`
			}
			var numbers []string
			for _, axis := range class.Axes() {
				if axis.Usual > 0 {
					numbers = append(numbers, axis.Letter+`\s*[0-9]+`)
				}
			}
			servers = append(servers, name+optional(numbers))
		}
	}
	front := ""
	if proxies := k.ProxyNames(); len(proxies) > 0 {
		front = `((` + strings.Join(proxies, "|") + `)\s*\+\s*)?`
	}
	return `^\s*` + front + `(` + strings.Join(servers, "|") + `)(\s*@\s*unix)?\s*$`
}

// optional is the expression of numbers of which each may be left out.
func optional(numbers []string) string {
	if len(numbers) == 0 {
		return `\s*`
	}
	var from []string
	for i := range numbers {
		rest := ""
		for _, n := range slices.Backward(numbers[i+1:]) {
			rest = `(\s*/\s*` + n + rest + `)?`
		}
		from = append(from, numbers[i]+rest)
	}
	return `(\s*|\s+(` + strings.Join(from, "|") + `))`
}

// A Short is what a topology's short name says: "nginx + gunicorn w1/t4". What it
// leaves out is empty or missing.
type Short struct {
	Proxy   string
	Server  Server
	Class   string
	Numbers map[string]int // by the names of the axes
	Unix    bool
}

// Parse reads a topology's short name. Spaces are free between its parts; the
// numbers come in the order w, t, c.
func (k Known) Parse(text string) (Short, error) {
	s := Short{Numbers: map[string]int{}}
	rest := strings.TrimSpace(text)
	if before, after, found := strings.Cut(rest, "+"); found {
		s.Proxy, rest = strings.TrimSpace(before), strings.TrimSpace(after)
		if proxies := k.ProxyNames(); !slices.Contains(proxies, s.Proxy) {
			return s, fmt.Errorf("only %s can be in front of a server, not %s", strings.Join(proxies, ", "), show.Quote(s.Proxy))
		}
	}
	if before, after, found := strings.Cut(rest, "@"); found {
		if strings.TrimSpace(after) != "unix" {
			return s, fmt.Errorf("after @ stands unix, not %s", show.Quote(strings.TrimSpace(after)))
		}
		s.Unix, rest = true, strings.TrimSpace(before)
	}
	word, rest := firstWord(rest)
	var known bool
	switch s.Server, known = k.Server(word); {
	case known:
	case word == "":
		return s, errors.New("there is no server")
	case slices.Contains(k.ProxyNames(), word):
		return s, fmt.Errorf("%s needs a server behind it", word)
	default:
		err := fmt.Errorf("there is no server %s", show.Quote(word))
		if near := show.Nearest(word, k.ServerNames()); near != "" {
			err = fmt.Errorf("%w (did you mean %s?)", err, near)
		}
		return s, err
	}
	if name, after := firstWord(rest); name != "" {
		if _, is := s.Server.Class(name); is {
			s.Class, rest = name, after
		}
	}
	if rest == "" {
		return s, nil
	}
	return s, s.numbers(rest)
}

// firstWord cuts off what stands before a space or a slash.
func firstWord(text string) (word, rest string) {
	if end := strings.IndexAny(text, " \t/"); end >= 0 {
		return text[:end], strings.TrimLeft(text[end:], " \t")
	}
	return text, ""
}

// numbers reads w2/t4.
func (s *Short) numbers(text string) error {
	class, _ := s.Server.Class(s.Class)
	axes := class.Axes()
	next := 0
	for part := range strings.SplitSeq(strings.Join(strings.Fields(text), ""), "/") {
		i := slices.IndexFunc(axes, func(a Axis) bool {
			return strings.HasPrefix(part, a.Letter) && (len(part) == 1 || part[1] >= '0' && part[1] <= '9')
		})
		if i < next {
			classes := ""
			if names := s.Server.ClassNames(); len(names) > 0 {
				classes = ", and no class: those of " + s.Server.Name + " are " + strings.Join(names, ", ")
			}
			return fmt.Errorf("%s is not a number of %s%s", show.Quote(text), names(axes), classes)
		}
		next = i + 1
		axis := axes[i]
		if axis.Usual == 0 {
			return fmt.Errorf("%s has no %s to set: %s", s.Server.Called(s.Class), axis.Name, class.Lacks)
		}
		number, err := strconv.Atoi(part[1:])
		if err != nil || strconv.Itoa(number) != part[1:] {
			return fmt.Errorf("%s is not a number of %s", show.Quote(part), axis.Name)
		}
		if number < 1 || number > axis.Most {
			return fmt.Errorf("%s is out of range: from %s1 to %s%d", part, axis.Letter, axis.Letter, axis.Most)
		}
		s.Numbers[axis.Name] = number
	}
	return nil
}

// names lists the axes that a class has, or all of them if it has none.
func names(axes []Axis) string {
	var has []string
	for _, a := range axes {
		if a.Usual > 0 {
			has = append(has, a.Name)
		}
	}
	if len(has) == 0 {
		return "workers or threads"
	}
	return strings.Join(has, " or ")
}

// Called is how messages call the server with one of its classes.
func (s Server) Called(class string) string { return strings.TrimSpace(s.Name + " " + class) }

// Mapping is the long form of a short name.
func (s Short) Mapping(at *yaml.Node) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: at.Line, Column: at.Column}
	add := func(key, tag, value string) {
		for _, scalar := range []*yaml.Node{{Tag: "!!str", Value: key}, {Tag: tag, Value: value}} {
			scalar.Kind, scalar.Line, scalar.Column = yaml.ScalarNode, at.Line, at.Column
			n.Content = append(n.Content, scalar)
		}
	}
	add("server", "!!str", s.Server.Name)
	if s.Class != "" {
		add("class", "!!str", s.Class)
	}
	for _, axis := range (Class{}).Axes() {
		if number := s.Numbers[axis.Name]; number > 0 {
			add(axis.Name, "!!int", strconv.Itoa(number))
		}
	}
	if s.Proxy != "" {
		add("proxy", "!!str", s.Proxy)
	}
	if s.Unix {
		add("unix", "!!bool", "true")
	}
	return n
}
