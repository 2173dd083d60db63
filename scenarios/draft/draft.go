// Package draft writes a scenario file of an app of one's own: complete, with a comment
// for each line that one may want to change.
package draft

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
)

// A Draft is what a scenario file says. Empty fields are what is usual.
type Draft struct {
	File  string // the scenario's own name
	Name  string
	Image string // or
	Build string // a folder with a Dockerfile
	Env   map[string]string

	WSGI    string   // module:callable, or
	ASGI    string   // or
	Command []string // the image's own, where no known server serves it

	Port    int
	Ready   string        // a path; empty: a connection is enough
	Timeout time.Duration // of the start

	Method  string
	Path    string
	Field   string // of a form, in which Payload is sent; empty: Payload is the body
	Payload string // a file
	JSON    string
	Status  int // of the answer

	GPU        string   // auto, required, off
	Topologies []string // as shorthands
	Requests   int
	Pools      []int
	Rounds     int
	Under      []string // METRIC=VALUE
	Objective  string

	// Notes say how a key was found out, by its name: "app.port": "it listens there".
	Notes map[string]string
}

// WithDefaults is the draft with what is usual where nothing is said.
func (d Draft) WithDefaults() Draft {
	set := func(into *string, usual string) {
		if *into == "" {
			*into = usual
		}
	}
	if d.Build == "" {
		set(&d.Image, "example/my-service:1.0")
	}
	if d.Build != "" {
		set(&d.Name, Name(filepath.Base(d.Build)))
	}
	set(&d.Name, Name(d.Image))
	set(&d.File, "service.yaml")
	if d.ASGI == "" && len(d.Command) == 0 {
		set(&d.WSGI, "app:app")
	}
	set(&d.Path, "/")
	if d.Method == "" && (d.Payload != "" || d.JSON != "") {
		d.Method = "POST"
	}
	set(&d.GPU, "auto")
	set(&d.Objective, "duration")
	if d.Port == 0 {
		d.Port = 8000
	}
	if d.Timeout == 0 {
		d.Timeout = time.Minute
	}
	if d.Status == 0 {
		d.Status = 200
	}
	if len(d.Topologies) == 0 && len(d.Command) == 0 {
		d.Topologies = Topologies(d.WSGI != "", d.ASGI != "", nil, 2)
	}
	if d.Requests == 0 {
		d.Requests = 100
	}
	if len(d.Pools) == 0 {
		d.Pools = []int{8}
	}
	if d.Rounds == 0 {
		d.Rounds = 6
	}
	return d
}

// Name is a scenario's name of an image or a folder: its last part.
func Name(of string) string {
	of = of[strings.LastIndexByte(of, '/')+1:]
	of, _, _ = strings.Cut(of, "@")
	of, _, _ = strings.Cut(of, ":")
	of = strings.TrimLeft(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '-'
	}, of), "._-")
	if len(of) > 64 {
		of = of[:64]
	}
	if of == "" {
		return "app"
	}
	return of
}

// Topologies are those worth trying on a machine with so many cores, of the servers that
// there are; nil: of those that are usual. Few workers with threads are there, because
// each worker has the app in memory once.
func Topologies(wsgi, asgi bool, servers []string, cores int) []string {
	has := func(server string) bool {
		for _, one := range servers {
			if one == server {
				return true
			}
		}
		return servers == nil && server != "waitress" && server != "hypercorn" && server != "uwsgi" && server != "daphne"
	}
	most := min(max(cores, 2), 8)
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if wsgi {
		if has("flask") {
			add("flask")
		}
		if has("gunicorn") {
			add("gunicorn w1/t1")
			add("gunicorn w1/t4")
			add("gunicorn w%d/t1", most)
			add("gunicorn w%d/t4", most)
			add("nginx + gunicorn w1/t4")
			add("nginx + gunicorn w%d/t4", most)
		}
		if has("waitress") {
			add("waitress t4")
		}
		if has("uwsgi") {
			add("uwsgi w%d/t4", most)
		}
	}
	if asgi {
		for _, server := range []string{"uvicorn", "hypercorn"} {
			if has(server) {
				add("%s w1", server)
				add("%s w%d", server, most)
			}
		}
		if has("uvicorn") {
			add("nginx + uvicorn w%d", most)
		}
		if has("daphne") {
			add("daphne")
		}
	}
	return all
}

// String is the file.
func (d Draft) String() string {
	d = d.WithDefaults()
	w := writer{notes: d.Notes}
	w.line("# %s: what stackmeter measures of it.", d.Name)
	w.line("#")
	for _, one := range [][2]string{
		{"plan " + show.Shell(d.File), "what would run, and nothing else"},
		{"check " + show.Shell(d.File), "start one of them, and show its answer"},
		{"search " + show.Shell(d.File), "find the best without measuring all of it"},
		{"run " + show.Shell(d.File), "measure all of it"},
		{"help scenarios", "every key, with its default and an example"},
	} {
		w.line("#   stackmeter %-24s %s", one[0], one[1])
	}
	w.line("name: %s", text(Name(d.Name)))
	w.line("")
	w.line("app:")
	if d.Build != "" {
		w.key("app.build", "build: {context: %s} # or image: NAME", text(d.Build))
	} else {
		w.key("app.image", "image: %s # or build: {context: FOLDER}", text(d.Image))
	}
	if d.WSGI != "" {
		w.key("app.wsgi", "wsgi: %s # MODULE:CALLABLE, found from the image's working directory", text(d.WSGI))
	}
	if d.ASGI != "" {
		w.key("app.asgi", "asgi: %s # MODULE:CALLABLE, found from the image's working directory", text(d.ASGI))
	}
	w.key("app.port", "port: %d", d.Port)
	if d.Ready != "" {
		w.key("app.ready", "ready: {path: %s, timeout: %s} # ready once a GET of it is answered with 2xx", text(d.Ready), seconds(d.Timeout))
	} else {
		w.key("app.ready", "ready: {tcp: true, timeout: %s} # ready once it takes a connection; better is {path: /healthz}", seconds(d.Timeout))
	}
	if len(d.Env) == 0 {
		w.line("  # env: {LOG_LEVEL: warning} # secrets are given by name: stackmeter run %s --env API_TOKEN", show.Shell(d.File))
	} else {
		w.line("  env: # secrets are given by name: stackmeter run %s --env API_TOKEN", show.Shell(d.File))
	}
	for _, name := range slices.Sorted(maps.Keys(d.Env)) {
		w.line("    %s: %s", name, text(d.Env[name]))
	}
	w.line("")
	d.request(&w)
	w.line("# What each service may use; without it there is no limit:")
	w.line("#   cpus: 2")
	w.line("#   memory: 4GiB")
	w.line("resources:")
	w.key("resources.gpu", "gpu: {mode: %s} # auto, required, off", d.GPU)
	w.line("")
	w.line("# The ways of serving it: workers are processes, each with the app in memory once;")
	w.line("# threads share it. A command of your own: {name: mine, command: [serve, \"--port={port}\"]}")
	w.line("topologies:")
	if len(d.Command) > 0 {
		d.own(&w)
	}
	for _, one := range d.Topologies {
		w.line("  - %s", text(one))
	}
	w.line("")
	w.line("# Clients: single sends one request after the other, mt sends from POOL threads at once.")
	w.line("matrix:")
	w.key("matrix.requests", "requests: [%d]", d.Requests)
	w.line("  client: [mt]")
	w.key("matrix.pool", "pool: %s", strings.ReplaceAll(fmt.Sprint(d.Pools), " ", ", "))
	w.line("")
	w.line("# Stacks stay up, and each round measures all of them in an order of its own.")
	w.line("fresh: run")
	w.line("repeats: %d # 6 give a 95%% interval of each median", d.Rounds)
	w.line("")
	d.goal(&w)
	return w.String()
}

// ownWays is how many topologies own writes.
const ownWays = 3

// own are the ways of serving an image by its own command: as it is, behind nginx, and
// twice behind it.
func (d Draft) own(w *writer) {
	var argv []string
	for _, word := range d.Command {
		argv = append(argv, text(strings.NewReplacer("{", "{{", "}", "}}").Replace(word)))
	}
	command := "command: [" + strings.Join(argv, ", ") + "]"
	w.line("  # The image's own command. It has to listen on app.port; {port} in it is that.")
	w.line("  - {name: own, proxy: [none, nginx], %s}", command)
	w.line("  - {name: own-twice, proxy: nginx, replicas: 2, %s}", command)
}

// Summary is the draft in a few words.
func (d Draft) Summary() string {
	source, served := d.Image, d.WSGI+d.ASGI
	if d.Build != "" {
		source = d.Build
	}
	if served == "" {
		served = "its own command"
	}
	return fmt.Sprintf("%s with %s on port %d, %s %s, %d topologies", source, served, d.Port, d.method(), d.Path, len(d.Topologies)+len(d.Command[:min(len(d.Command), 1)])*ownWays)
}

func (d Draft) method() string {
	if d.Method == "" {
		return "GET"
	}
	return d.Method
}

func (d Draft) request(w *writer) {
	w.line("request:")
	w.key("request.method", "method: %s", d.method())
	w.key("request.path", "path: %s", text(d.Path))
	switch {
	case d.Payload != "" && d.Field != "":
		w.key("request.multipart", "multipart: {field: %s, files: [%s]} # a field of a form; files may be a pattern: images/*.jpg", text(d.Field), text(d.Payload))
	case d.Payload != "":
		w.key("request.body", "body: {files: [%s]} # or a form: multipart: {field: file, files: [images/*.jpg]}", text(d.Payload))
	case d.JSON != "":
		w.key("request.json", "json: %s", d.JSON)
	default:
		w.line("  # What is sent: multipart: {field: file, files: [images/*.jpg]}, or json: {text: hello}")
	}
	w.line("  timeout: 60s")
	w.line("  expect: {status: %d} # what else it may say: stackmeter help scenarios", d.Status)
	w.line("")
}

func (d Draft) goal(w *writer) {
	w.line("# What to deploy is chosen by this; budgets are for example gpu_peak: 5GiB, p99: 2s.")
	w.line("recommend:")
	w.line("  objective: %s", text(d.Objective))
	if len(d.Under) == 0 {
		w.line("  # under: {memory_peak: 4GiB}")
		return
	}
	w.line("  under:")
	for _, one := range d.Under {
		metric, value, _ := strings.Cut(one, "=")
		w.line("    %s: %s", metric, text(value))
	}
}

// A writer writes lines, and above a key how it was found out.
type writer struct {
	strings.Builder
	notes map[string]string
}

func (w *writer) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

func (w *writer) key(key, format string, args ...any) {
	if note := w.notes[key]; note != "" {
		w.line("  # %s", strings.Join(strings.Fields(note), " "))
	}
	w.line("  "+format, args...)
}

// text is a text as YAML has it on one line.
func text(value string) string {
	node := yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
	if strings.ContainsAny(value, ",[]{}\n?#") {
		node.Style = yaml.DoubleQuotedStyle
	}
	out, _ := yaml.Marshal(&node) // of a text
	return strings.TrimSpace(string(out))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%ds", int(d.Seconds())) }
