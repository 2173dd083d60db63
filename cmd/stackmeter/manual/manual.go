// Package manual prints the pages that are beside the code, so that who has only
// the binary has the manual.
package manual

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/stacks"
)

// A page is one file.
type page struct{ name, about, text string }

func pages() []page {
	return []page{
		{"scenarios", "every key of a scenario, with its default and an example", scenarios.Manual},
		{"stacks", "servers, proxies, runtimes, the sample app", stacks.Manual},
		{"running", "resuming, locks, rounds, the load client, timers", orchestrator.Manual},
		{"faults", "what goes wrong, what happens then, and what tests it", orchestrator.Faults},
		{"results", "what the numbers are, what to deploy, thresholds, reports", results.Manual},
	}
}

// Topics lists the pages, each with the topics in it, for a terminal.
func Topics() string {
	var b strings.Builder
	b.WriteString("Topics of the manual, each with those in it (stackmeter help TOPIC):\n")
	for _, p := range pages() {
		fmt.Fprintf(&b, "  %-10s %s\n", p.name, p.about)
		var names []string
		for _, s := range sections(p.text) {
			if s.level == 2 {
				names = append(names, s.name)
			}
		}
		for _, line := range show.Wrap(strings.Join(names, " "), textWidth-13) {
			b.WriteString("             " + line + "\n")
		}
	}
	b.WriteString("  A key of a scenario that has keys is a topic, too, such as app.ready.\n")
	return b.String()
}

// Write prints a topic: a page, or the part of one below a heading or about a key
// that has keys. Headings are written as in a link: which-one-to-deploy.
func Write(w io.Writer, topic string) error {
	name := slug(topic)
	var known []string
	for _, p := range pages() {
		if name == p.name {
			_, err := io.WriteString(w, render(p.text))
			return err
		}
		known = append(known, p.name)
	}
	for _, p := range pages() {
		for _, s := range sections(p.text) {
			if name == s.name {
				_, err := io.WriteString(w, render(s.text))
				return err
			}
			known = append(known, s.name)
		}
	}
	hint := "`stackmeter help` lists all"
	if near := show.Nearest(name, known); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return usage.Errorf("there is no command and no topic %q; %s", topic, hint)
}

// A section is what is below a heading, or the table of a key.
type section struct {
	name  string // as in a link
	level int    // of the heading; that of a key is below all
	text  string
}

var (
	heading  = regexp.MustCompile(`^(#+) (.*)$`)
	keys     = regexp.MustCompile("^Keys of `(.*)`:$")
	keyLevel = 9
)

// sections are those of a page below its title.
func sections(text string) []section {
	lines := strings.Split(text, "\n")
	level := func(line string) (int, string) {
		if m := heading.FindStringSubmatch(line); m != nil {
			return len(m[1]), slug(m[2])
		}
		if m := keys.FindStringSubmatch(line); m != nil {
			return keyLevel, m[1]
		}
		return 0, ""
	}
	fenced := func(line string, in bool) bool { return in != strings.HasPrefix(line, "```") }
	var all []section
	code := false
	for i, line := range lines {
		code = fenced(line, code)
		depth, name := level(line)
		if code || depth < 2 {
			continue
		}
		end, inside := i+1, false
		for ; end < len(lines); end++ {
			inside = fenced(lines[end], inside)
			if next, _ := level(lines[end]); !inside && next > 0 && next <= depth {
				break
			}
			if depth == keyLevel && end > i+1 && lines[end] == "" {
				break // after its table
			}
		}
		all = append(all, section{name, depth, strings.Join(lines[i:end], "\n")})
	}
	return all
}

var unlinked = regexp.MustCompile(`[^a-z0-9. -]`)

// slug is a heading as links to it are written.
func slug(heading string) string {
	return strings.ReplaceAll(unlinked.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}
