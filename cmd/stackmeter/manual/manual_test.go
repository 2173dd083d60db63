package manual

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/stacks/servers"
)

// root is where the module is from here.
const root = "../../.."

// files are the pages of the manual, and README.
var files = []string{"README.md", "scenarios/README.md", "stacks/README.md", "orchestrator/README.md", "orchestrator/FAULTS.md", "results/README.md"}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A node is a part of the schema.
type node map[string]any

// references are the definitions that a part leads to, directly or as a choice, an
// item or a value.
func (n node) references() []string {
	var names []string
	if ref, is := n["$ref"].(string); is {
		names = append(names, strings.TrimPrefix(ref, "#/$defs/"))
	}
	for _, key := range []string{"anyOf", "items", "additionalProperties"} {
		switch of := n[key].(type) {
		case map[string]any:
			names = append(names, node(of).references()...)
		case []any:
			for _, one := range of {
				names = append(names, node(one.(map[string]any)).references()...)
			}
		}
	}
	return names
}

// A kind is a definition with keys, under the path by which a scenario has it first.
type kind struct{ path, name string }

type schema struct {
	text []byte
	defs map[string]node
}

func readSchema(t *testing.T) schema {
	t.Helper()
	s := schema{text: scenarios.Schema(results.Vocabulary(), servers.Known())}
	var whole struct {
		Defs map[string]node `json:"$defs"`
	}
	if err := json.Unmarshal(s.text, &whole); err != nil {
		t.Fatal(err)
	}
	s.defs = whole.Defs
	return s
}

func (s schema) keys(name string) map[string]node {
	keys := map[string]node{}
	properties, _ := s.defs[name]["properties"].(map[string]any)
	for key, of := range properties {
		keys[key] = of.(map[string]any)
	}
	return keys
}

func (s schema) kinds() []kind {
	var all []kind
	queue := []kind{{"", "scenario"}}
	seen := map[string]bool{}
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		if seen[next.name] {
			continue
		}
		seen[next.name] = true
		keys := s.keys(next.name)
		if len(keys) == 0 {
			for _, to := range s.defs[next.name].references() {
				queue = append(queue, kind{next.path, to})
			}
			continue
		}
		all = append(all, next)
		for _, key := range scenarioOrder(keys) {
			for _, to := range keys[key].references() {
				queue = append(queue, kind{strings.TrimPrefix(next.path+"."+key, "."), to})
			}
		}
	}
	return all
}

func scenarioOrder(keys map[string]node) []string {
	var names []string
	for key := range keys {
		names = append(names, key)
	}
	slices.Sort(names)
	return names
}

// said is what a definition or one that it leads to says that it is.
func (s schema) said(n node, of string) any {
	if value, is := n[of]; is {
		return value
	}
	if ref, is := n["$ref"].(string); is {
		return s.said(s.defs[strings.TrimPrefix(ref, "#/$defs/")], of)
	}
	for _, one := range asList(n["anyOf"]) {
		if value := s.said(one.(map[string]any), of); value != nil && of == "description" {
			return value
		}
	}
	return nil
}

func asList(of any) []any { list, _ := of.([]any); return list }

// rows are the tables of keys on the page: by path, and then by key.
func rows(page string) map[string]map[string][]string {
	all := map[string]map[string][]string{}
	at, in := "", false
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		switch m := keys.FindStringSubmatch(line); {
		case m != nil:
			at, in = m[1], true
		case line == "Keys of a scenario:":
			at, in = "", true
		case in && strings.HasPrefix(line, "| `"):
			row := cells(line)
			for key := range strings.FieldsSeq(row[0]) {
				if all[at] == nil {
					all[at] = map[string][]string{}
				}
				all[at][key] = row
			}
		case line != "" && !strings.HasPrefix(line, "|"):
			in = false
		}
	}
	return all
}

// TestEveryKeyIsThere holds the page of scenarios against the schema: each key has a
// description, and a row with its default and with an example that is valid.
func TestEveryKeyIsThere(t *testing.T) {
	s := readSchema(t)
	said := rows(scenarios.Manual)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(s.text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("s.json", doc); err != nil {
		t.Fatal(err)
	}
	kinds := s.kinds()
	for name := range s.defs {
		if len(s.keys(name)) > 0 && !slices.ContainsFunc(kinds, func(k kind) bool { return k.name == name }) {
			t.Errorf("%s is reached from no scenario", name)
		}
	}
	for _, k := range kinds {
		if k.name == "haproxy" || k.name == "nginx" { // have the keys of caddy
			if got, want := scenarioOrder(s.keys(k.name)), scenarioOrder(s.keys("caddy")); !slices.Equal(got, want) {
				t.Errorf("%s has the keys %v, and caddy %v", k.name, got, want)
			}
			continue
		}
		path := strings.Replace(k.path, "topologies.caddy", "topologies.nginx", 1)
		table := said[path]
		for key, n := range s.keys(k.name) {
			if text, _ := s.said(n, "description").(string); len(text) < 5 {
				t.Errorf("%s.%s has no description in the schema", k.name, key)
			}
			row := table[key]
			if row == nil {
				t.Errorf("%s.%s is not on the page", path, key)
				continue
			}
			delete(table, key)
			if strings.Contains(row[0], " ") {
				continue // several keys that are as elsewhere
			}
			if value := s.said(n, "default"); value != nil && fmt.Sprint(value) != fmt.Sprint(fromYAML(t, row[1])) {
				t.Errorf("%s.%s: the default is %v, and the page says %s", path, key, value, row[1])
			}
			compiled, err := compiler.Compile("s.json#/$defs/" + k.name + "/properties/" + key)
			if err != nil {
				t.Fatal(err)
			}
			if err := compiled.Validate(fromYAML(t, row[2])); err != nil {
				t.Errorf("%s.%s: the example %s: %v", path, key, row[2], err)
			}
		}
		for key := range table {
			t.Errorf("%s.%s is on the page, and in no schema", path, key)
		}
	}
}

func fromYAML(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestScenariosOfThePages: what README and the manual show as a whole scenario, or as
// keys of one, has only keys of the schema.
func TestScenariosOfThePages(t *testing.T) {
	s := readSchema(t)
	whole := 0
	for _, file := range files {
		for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(read(t, file), -1) {
			if strings.HasPrefix(block[1], "on:") || strings.HasPrefix(block[1], "ready: ") {
				continue // a workflow; three ways to say one key
			}
			scenario := fromYAML(t, block[1]).(map[string]any)
			if scenario["topologies"] != nil && scenario["matrix"] != nil {
				whole++
			}
			s.check(t, file, "scenario", scenario)
		}
	}
	if whole < 2 {
		t.Errorf("%d whole scenarios, want that of README and that of scenarios/README.md", whole)
	}
}

// check looks at every key of a mapping, and at those below it.
func (s schema) check(t *testing.T, where, kind string, value map[string]any) {
	t.Helper()
	known := s.keys(kind)
	for key, below := range value {
		n, is := known[key]
		if !is {
			t.Errorf("%s: %s has no key %q", where, kind, key)
			continue
		}
		for _, to := range n.references() {
			if len(s.keys(to)) == 0 {
				continue
			}
			for _, one := range append(asList(below), below) {
				if mapping, is := one.(map[string]any); is {
					s.check(t, where, to, mapping)
				}
			}
		}
	}
}

// TestLinks: what a page links is there, headings included.
func TestLinks(t *testing.T) {
	linked := regexp.MustCompile(`\]\(([^)#]*)(#[^)]*)?\)`)
	for _, file := range files {
		for _, m := range linked.FindAllStringSubmatch(read(t, file), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			to := file
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(file), m[1])
			}
			if _, err := os.Stat(filepath.Join(root, to)); errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s links %s, which is not there", file, to)
				continue
			}
			if anchor := strings.TrimPrefix(m[2], "#"); anchor != "" &&
				!slices.ContainsFunc(sections(read(t, to)), func(s section) bool { return s.name == anchor && s.level != keyLevel }) {
				t.Errorf("%s links %s#%s, and there is no such heading", file, to, anchor)
			}
		}
	}
}

// TestReadmeIsShort: a newcomer reads it in five minutes.
func TestReadmeIsShort(t *testing.T) {
	if n := strings.Count(read(t, "README.md"), "\n"); n > 150 {
		t.Errorf("README.md has %d lines, want at most 150", n)
	}
}

// TestTopics prints every topic: there are no marks of Markdown in it, and no text
// that is wider than a terminal.
func TestTopics(t *testing.T) {
	var names []string
	for _, p := range pages() {
		names = append(names, p.name)
		for _, s := range sections(p.text) {
			names = append(names, s.name)
		}
	}
	for _, name := range names {
		var b bytes.Buffer
		if err := Write(&b, name); err != nil || b.Len() == 0 {
			t.Errorf("%s: %v", name, err)
		}
		for line := range strings.Lines(b.String()) {
			line = strings.TrimSuffix(line, "\n")
			code := strings.HasPrefix(line, "    ")
			if !code && (len([]rune(line)) > textWidth || strings.Contains(line, "**") || strings.Contains(line, "](") || strings.HasPrefix(line, "|")) {
				t.Errorf("%s: %q", name, line)
			}
		}
	}
	for topic, want := range map[string]string{"threshold": `did you mean "thresholds"?`, "scenario": `did you mean "scenarios"?`, "xyzzy": "lists all"} {
		if err := Write(new(bytes.Buffer), topic); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", topic, err)
		}
	}
}

// TestRender lays out each kind of block.
func TestRender(t *testing.T) {
	got := render(strings.ReplaceAll(`# Title

A **strong** 'word' and a [link](x.md).

- first, which goes on
  below it
- second

| a | b |
|---|---|
| 'x' | 1 \| 2 |

'''yaml
key: value   # *kept*
'''
`, "'", "`"))
	const want = `Title
=====

A strong word and a link.

- first, which goes on below it
- second

a  b
x  1 | 2

    key: value   # *kept*
`
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
