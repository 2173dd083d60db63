package discover

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"stackmeter/stacks"
)

// Labels of an image that say how it is served, as flags of the command would: their
// prefix, and Debian's, Docker's and everybody's label of a title.
const (
	labelPrefix = "stackmeter."
	labelTitle  = "org.opencontainers.image.title"
)

// LabelNames are what labels can say, each as the flag of that name.
func LabelNames() []string {
	return []string{"name", "wsgi", "asgi", "port", "ready", "method", "path", "field", "json"}
}

// asked matches the URL that a health check asks of its own container.
var asked = regexp.MustCompile(`https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])[^\s'"\\)|;,]*`)

// declare takes what the image says of itself.
func (in *Inside) declare(d stacks.Declared) {
	in.Command, in.Labels = d.Command, map[string]string{}
	if title := d.Labels[labelTitle]; title != "" {
		in.Labels["name"] = title
	}
	for _, name := range LabelNames() {
		if value := d.Labels[labelPrefix+name]; value != "" {
			in.Labels[name] = value
		}
	}
	if at, err := url.Parse(asked.FindString(d.Health)); err == nil && at.Host != "" {
		if in.Health = at.RequestURI(); in.Health == "" {
			in.Health = "/"
		}
	}
}

// port is the one that the image names where its own command listened on none that others
// reach.
func (in *Inside) port(d stacks.Declared) error {
	if text := in.Labels["port"]; text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("the image's label %sport is %q, which is no port", labelPrefix, text)
		}
		in.Port, in.PortFrom, in.Alone = n, fmt.Sprintf("the image's label %sport says so", labelPrefix), false
	}
	if in.Port == 0 && len(d.Ports) == 1 {
		in.Port, in.PortFrom = d.Ports[0], "the image exposes it"
	}
	return nil
}

// served matches a callable in a server's command line.
var served = regexp.MustCompile(`^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(\(\))?$`)

// callable chooses what the image's label names, or else what its own command serves, or
// what Flask would take, or what was found in the files.
func (in *Inside) callable(facts stacks.Facts, d stacks.Declared, seen found) {
	take := func(name string, asgi bool, from string) {
		if in.From = from; asgi {
			in.ASGI = name
		} else {
			in.WSGI = name
		}
	}
	defer func() {
		for _, c := range seen.Callables {
			if c.Name != in.WSGI && c.Name != in.ASGI {
				in.Others = append(in.Others, c.Name)
			}
		}
	}()
	for _, name := range []string{"wsgi", "asgi"} {
		if value := in.Labels[name]; value != "" {
			take(value, name == "asgi", fmt.Sprintf("the image's label %s%s says so", labelPrefix, name))
			return
		}
	}
	commands := []string{strings.Join(d.Command, " ")} // a server may rename its processes
	for _, s := range facts.Services {
		for _, p := range s.Processes {
			commands = append(commands, p.Command)
		}
	}
	for _, command := range commands {
		if name, asgi := callableOf(command); name != "" {
			take(seen.factory(name), asgi, "the image's command serves it")
			return
		}
	}
	for _, command := range commands {
		if name := seen.flaskApp(appOption(command)); name != "" {
			take(name, false, "the image's command runs flask with it")
			return
		}
	}
	if name := seen.flaskApp(d.Env["FLASK_APP"]); name != "" {
		take(name, false, "the image's FLASK_APP says so")
		return
	}
	if len(seen.Callables) > 0 {
		first := seen.Callables[0]
		take(first.Name, first.Kind == "asgi", "it is in "+first.File)
	}
}

// factory is a callable as a server takes it: one that makes the app has ().
func (f found) factory(name string) string {
	for _, c := range f.Callables {
		if c.Name == name+"()" {
			return c.Name
		}
	}
	return name
}

// flaskApp is the callable that FLASK_APP or flask's --app means, of which the callable may
// be left out; empty for empty.
func (f found) flaskApp(text string) string {
	module, name, _ := strings.Cut(text, ":")
	module = strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(module, "./"), ".py"), "/", ".")
	switch {
	case module == "":
		return ""
	case name != "":
		return f.factory(module + ":" + name)
	}
	for _, c := range f.Callables {
		if c.Kind == "flask" && strings.HasPrefix(c.Name, module+":") {
			return c.Name
		}
	}
	return module + ":app"
}

// appOption is the value of flask's option --app in a command line; empty: there is none.
func appOption(command string) string {
	words := strings.Fields(command)
	if serverOf(words) != "flask" {
		return ""
	}
	for i, word := range words {
		if value, is := strings.CutPrefix(word, "--app="); is {
			return value
		}
		if (word == "--app" || word == "-A") && i+1 < len(words) {
			return words[i+1]
		}
	}
	return ""
}

// serverOf is the server whose command line it is; empty: none that is known.
func serverOf(words []string) string {
	for _, word := range words[:min(len(words), 4)] {
		base := strings.TrimSuffix(word[strings.LastIndexByte(word, '/')+1:], ":")
		if slices.Contains([]string{"gunicorn", "uvicorn", "hypercorn", "daphne", "waitress-serve", "uwsgi", "flask"}, base) {
			return base
		}
	}
	return ""
}

// callableOf is the callable that a command line of a known server names, and whether it is
// served as ASGI; empty if there is none.
func callableOf(command string) (name string, asgi bool) {
	words := strings.Fields(command)
	server := serverOf(words)
	if server == "" {
		return "", false
	}
	asgi = server == "uvicorn" || server == "hypercorn" || server == "daphne" || strings.Contains(command, "uvicorn.workers")
	for i, word := range words {
		if option, value, has := strings.Cut(word, "="); has && (option == "--module" || option == "--wsgi" || option == "--app") {
			word = value
		}
		if !served.MatchString(word) || i == 0 {
			continue
		}
		name = word
	}
	if name != "" && !strings.HasSuffix(name, "()") && (slices.Contains(words, "--factory") || slices.Contains(words, "--call")) {
		name += "()"
	}
	return name, asgi
}
