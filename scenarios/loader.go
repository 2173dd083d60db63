package scenarios

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/folder"
	"stackmeter/scenarios/goals"
	"stackmeter/scenarios/syntax"
	"stackmeter/scenarios/threshold"
	"stackmeter/scenarios/yamlfile"
)

// DefaultMaxCells is the usual limit of a plan's cells, with all repeats: at a
// minute each, half a week.
const DefaultMaxCells = 5_000

// A Loader reads scenario files. The zero value has the usual limits.
type Loader struct {
	MaxCells int // 0: DefaultMaxCells

	// Allow names folders that a scenario's paths may lead to besides its own
	// folder: see Loader.Parse. Only what is in them can be mounted.
	Allow []string

	// Env is set for the app on top of the file's environment: secrets, which
	// the operator has and a file does not. Headers can name them.
	Env map[string]string

	// Servers are those that a topology can name, and what can be in front of
	// them. Without any there are only commands and services.
	Servers syntax.Known

	// Server, if it is set, is the only topology: a server that is there
	// already. The scenario then has no app and lists no topologies.
	Server *Topology

	// Search makes a search of every scenario, see goals.Searched. These are what flags
	// say of it, over the file. nil: a scenario is one if its file says so.
	Search []Setting

	// Flags are what other flags say, over what the file does.
	Flags []Setting

	// Figures are what thresholds, budgets and the objective can name. Without
	// any, a scenario that names one is refused.
	Figures threshold.Vocabulary
}

// Load reads a scenario file and checks it. Overrides are the values of --set,
// see Parse. If the file is wrong, the error is of type yamlfile.Problems and
// holds everything that is wrong.
func (l Loader) Load(path string, overrides ...string) (*Scenario, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read scenario: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, yamlfile.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read scenario: %w", err)
	}
	return l.Parse(path, data, overrides...)
}

// Parse is Load for a file that has been read already. Relative paths start in
// the folder of file.
//
// An override is "a.b=value": a path of keys, and of indices from 0 into lists,
// then a YAML value that replaces what the file says; "null" removes the key. An
// override is checked as if the file said it, with one difference: a file can
// come from a pull request, an override cannot. So an override may have what a
// stranger may not ask for: a path that leads elsewhere, a variable that the
// dynamic linker obeys.
//
// Payloads are in the file's own folder or in one that Allow names. A build
// context is there or in the same git checkout. No "..", absolute path or
// symbolic link leads out.
func (l Loader) Parse(file string, data []byte, overrides ...string) (*Scenario, error) {
	f := yamlfile.Read(file, data, l.rules())
	if f.Root == nil {
		return nil, f.Err()
	}
	for _, text := range overrides {
		f.Override(text)
	}
	if l.Search != nil {
		goals.Searched(f.Root)
	}
	for _, s := range slices.Concat(l.Search, l.Flags) {
		f.Set(s.From, s.Path, s.Value)
	}
	return l.decode(f, file)
}

// A Setting is a value of a scenario that does not come from a file but from a
// flag of a command.
type Setting struct {
	From  string // what a problem calls the place: --pool
	Path  string // of keys, as an override has it
	Value string // YAML
}

// ParseSettings checks a scenario that has no file, only settings. Relative paths
// start in the working directory.
func (l Loader) ParseSettings(name string, settings []Setting) (*Scenario, error) {
	f := yamlfile.Empty(name, l.rules())
	for _, key := range []string{"name: " + name, "request: {}", "matrix: {}"} { // which no setting may say
		path, value, _ := strings.Cut(key, ": ")
		f.Set(name, path, value)
	}
	for _, s := range settings {
		f.Set(s.From, s.Path, s.Value)
	}
	return l.decode(f, "")
}

// rules are what yamlfile has to know of scenarios.
func (l Loader) rules() yamlfile.Rules {
	return yamlfile.Rules{
		What:    "scenario",
		Example: "matrix.requests=[20] or topologies.0.workers=2",
		// Environments, headers and build arguments, and likely misspellings:
		// environment, header; not venv.
		Secrets: "(?i)(?:^|[^v])env|header|args",
		Unfold: func(path []string, n *yaml.Node) *yaml.Node {
			switch {
			case strings.Join(path, ".") == "app.build":
				key, context := *n, *n
				key.Value = "context"
				return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: n.Line, Column: n.Column, Content: []*yaml.Node{&key, &context}}
			case len(path) == 2 && path[0] == "topologies":
				if short, err := l.Servers.Parse(n.Value); err == nil { // or it is reported when it is read
					return short.Mapping(n)
				}
			}
			return nil
		},
	}
}

// A decoder reads a file as a Scenario.
type decoder struct {
	*yamlfile.File
	loader   Loader
	folder   folder.Folder
	maxCells int

	// What is known once it has been read.
	engine    string   // of the client
	read      []string // absolute paths of files whose content the scenario has
	appImages []string // app.image, which can be an axis of all topologies
}

// decode reads a file as a scenario.
func (l Loader) decode(f *yamlfile.File, file string) (*Scenario, error) {
	home, err := folder.Of(file, l.Allow)
	if err != nil {
		return nil, err
	}
	d := &decoder{File: f, loader: l, folder: home, maxCells: l.MaxCells}
	if d.maxCells <= 0 {
		d.maxCells = DefaultMaxCells
	}
	s := d.scenario(f.Root)
	if err := f.Err(); err != nil {
		return nil, err
	}
	if len(l.Env) > 0 {
		env := map[string]string{}
		maps.Copy(env, s.App.Env)
		maps.Copy(env, l.Env)
		s.App.Env = env
	}
	s.File, s.Warnings = file, f.Warnings()
	return s, nil
}

//go:embed schema.json
var schema []byte

// Schema is the JSON Schema (draft 2020-12) of scenario files, for editors.
// It knows keys, types and ranges. Contradictions, placeholders and files are
// found by Load only.
func Schema(figures threshold.Vocabulary, servers syntax.Known) []byte {
	quoted := func(names []string) string { return `"` + strings.Join(names, `", "`) + `"` }
	var classes []string
	for _, s := range servers.Servers {
		classes = append(classes, s.ClassNames()...)
	}
	slices.Sort(classes)
	definitions, properties := settingsSchema(servers)
	return []byte(strings.NewReplacer(
		`"FIGURES"`, quoted(figures.Names()),
		`"SERVERS"`, quoted(servers.ServerNames()),
		`"CLASSES"`, quoted(slices.Compact(classes)),
		`"PROXIES"`, quoted(append([]string{noProxy}, servers.ProxyNames()...)),
		"SHORT NAMES", strings.ReplaceAll(servers.Pattern(), `\`, `\\`),
		`"PROXY SETTINGS": true,`, definitions,
		`"SETTINGS": true,`, properties,
	).Replace(string(schema)))
}

// settingsSchema are the definitions of the schema that follow from the proxies, and
// the properties of a topology that follow from these and the servers.
func settingsSchema(known syntax.Known) (definitions, properties string) {
	object := func(settings []syntax.Setting) map[string]any {
		all := map[string]any{}
		for _, s := range settings {
			one := map[string]any{}
			switch s.Kind {
			case syntax.Truth:
				one["type"] = "boolean"
			case syntax.Whole:
				one["type"], one["minimum"], one["maximum"] = "integer", s.Least, s.Most
			case syntax.Span:
				one["$ref"] = "#/$defs/duration"
			case syntax.Size:
				one["$ref"] = "#/$defs/size"
			case syntax.Word:
				one["enum"] = s.Words
			case syntax.Text, syntax.File:
				one["type"] = "string"
			}
			all[s.Name] = map[string]any{"description": s.What, "anyOf": oneOrMore(one)}
		}
		return all
	}
	keys, kinds := object(known.Settings()), map[string]any{}
	for _, proxy := range known.Proxies {
		kinds[proxy.Name] = map[string]any{"type": "object", "additionalProperties": false, "properties": object(proxy.Settings)}
		one := map[string]any{"anyOf": []any{map[string]any{"type": "boolean"}, map[string]any{"$ref": "#/$defs/" + proxy.Name}}}
		keys[proxy.Name] = map[string]any{"description": "An axis: " + proxy.Name + " in front of the server, with its settings.", "anyOf": oneOrMore(one)}
	}
	return members(kinds), members(keys)
}

func oneOrMore(one map[string]any) []any {
	return []any{one, map[string]any{"type": "array", "minItems": 1, "items": one}}
}

// members are the members of an object as JSON, each with a comma after it.
func members(of map[string]any) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(of)) {
		text, err := json.Marshal(of[name])
		if err != nil {
			panic(err) // maps and texts are always JSON
		}
		fmt.Fprintf(&b, "%q: %s,\n", name, text)
	}
	return b.String()
}
