package export

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"stackmeter/scenarios/show"
	"stackmeter/stacks"
)

// A check is how a service is asked whether it is ready: the scenario's ready probe, by
// a program that is in the service's image.
type check struct {
	argv []string // empty: none
	note string   // why there is none, or why it asks less than the probe
}

const probeSeconds = 5 // an answer may take

// health is the check of a service that listens at a site. Its program is Python where a
// server of Python's runs, and socat in a proxy's image.
func (d Deployment) health(s stacks.Service, at stacks.Site) check {
	ready := d.Spec.Ready
	if !slices.Contains(append(d.Spec.Answering(), d.Spec.Entry().Name), s.Name) || ready.None() {
		return check{}
	}
	if len(ready.Command) > 0 {
		if s.Proxy != nil {
			return check{} // the command is for the service behind it
		}
		return check{argv: stacks.Service{Command: ready.Command}.Argv(at)}
	}
	request, pattern, note := d.asks()
	switch {
	case s.Proxy != nil:
		return check{argv: []string{"sh", "-c", socatCheck(at.Listen.Port, request, pattern)}, note: note}
	case s.Debian != "":
		return check{argv: []string{"python3", "-c", pythonCheck(s, at, request, pattern)}, note: note}
	}
	return check{note: "no health check: it is not known what program in its image could ask"}
}

// asks is the request of the ready probe, as bytes for a connection, and what the status
// of the answer has to match. Both are empty where a connection is all that is asked.
func (d Deployment) asks() (request, pattern, note string) {
	ready := d.Spec.Ready
	if ready.TCP {
		return "", "", ""
	}
	body, content := ready.Body, "text/plain; charset=utf-8"
	if ready.JSON != nil {
		body, content = string(ready.JSON), "application/json"
	}
	headers := map[string]string{"Host": "localhost"}
	if body != "" {
		headers["Content-Type"], headers["Content-Length"] = content, strconv.Itoa(len(body))
	}
	for name, value := range ready.Headers {
		if strings.Contains(value, show.Redacted) {
			return "", "", "a connection is all that is asked for: the header " + name + " of app.ready may be secret, and is not recorded"
		}
		headers[name] = value
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s HTTP/1.0\r\n", ready.Asks())
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		fmt.Fprintf(&b, "%s: %s\r\n", name, headers[name])
	}
	var statuses []string
	for _, one := range ready.Status {
		statuses = append(statuses, strings.ReplaceAll(one, "x", "[0-9]"))
	}
	return b.String() + "\r\n" + body, cmp.Or(strings.Join(statuses, "|"), "2[0-9][0-9]"), ""
}

// pythonCheck is a program for python3 -c that exits with 0 if the service answers.
func pythonCheck(s stacks.Service, at stacks.Site, request, pattern string) string {
	program := fmt.Sprintf("import re, socket\ns = socket.create_connection((\"127.0.0.1\", %d), %d)\n", at.Listen.Port, probeSeconds)
	if s.Unix {
		program = fmt.Sprintf("import re, socket\ns = socket.socket(socket.AF_UNIX)\ns.settimeout(%d)\ns.connect(%s)\n", probeSeconds, pythonText(at.Listen.Socket))
	}
	if request == "" {
		return program
	}
	return program + fmt.Sprintf("s.sendall(%s.encode())\nraise SystemExit(not re.match(rb\"HTTP/1.. (%s) \", s.recv(64)))\n", pythonText(request), pattern)
}

// socatCheck is a program for sh -c that exits with 0 if the proxy answers.
func socatCheck(port int, request, pattern string) string {
	// Without shut-none the proxy sees the client leave before it is answered.
	connect := fmt.Sprintf("socat -t %d - TCP:127.0.0.1:%d,shut-none", probeSeconds, port)
	if request == "" {
		return connect + " </dev/null"
	}
	return fmt.Sprintf("printf '%%b' %s | %s | head -n 1 | grep -Eq '^HTTP/1.. (%s) '", shellText(escaped(request)), connect, pattern)
}

// escaped writes a text as printf's %b reads it.
func escaped(text string) string {
	return strings.NewReplacer(`\`, `\\`, "\r", `\r`, "\n", `\n`).Replace(text)
}

// shellText quotes a text for sh.
func shellText(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

var plainText = regexp.MustCompile(`^[ -~]*$`)

// pythonText is a text as a literal of Python. What Go and Python write differently is
// not plain.
func pythonText(text string) string {
	quoted := strconv.QuoteToASCII(text)
	if plainText.MatchString(strings.NewReplacer("\r", "", "\n", "").Replace(text)) {
		return quoted
	}
	var b strings.Builder
	for _, r := range text {
		if r >= ' ' && r <= '~' && r != '"' && r != '\\' {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return `"` + b.String() + `"`
}
