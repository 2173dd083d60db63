package scenarios

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"
)

// Bounds of what a scenario may ask of the program that reads it.
const (
	DefaultMaxCells = 5_000   // cells of a plan, repeats counted: at a minute each, half a week
	MaxFileSize     = 1 << 20 // bytes of a scenario file
	maxOverrideSize = 1 << 16 // bytes of one override
	maxDepth        = 32      // of nested lists and mappings, aliases followed
	maxNodes        = 200_000 // of the tree once aliases and merge keys are expanded
)

// A Loader reads scenario files. The zero value has the usual limits.
type Loader struct {
	MaxCells int // 0: DefaultMaxCells

	// Allow names folders that a scenario's paths may lead to besides its own
	// folder: see Loader.Parse.
	Allow []string

	// Env is set for the app on top of what the file says: secrets, which the
	// operator has and a file does not.
	Env map[string]string

	// Server, where it is set, is the one topology: a server that is there
	// already. The scenario then has no app and lists no topologies.
	Server *Topology

	// CheckMetric and CheckBudget say whether there is a metric of a name, and
	// whether a text is a value of it. Nil takes all of them: what is measured
	// is not known here.
	CheckMetric func(name string) error
	CheckBudget func(metric, value string) error
}

// Load reads a scenario file and checks it. Overrides are the values of
// --set: see Loader.Parse. An error about what the file says is of type
// Problems and holds everything that is wrong.
func Load(path string, overrides ...string) (*Scenario, error) {
	return Loader{}.Load(path, overrides...)
}

// Parse is Load for a file that has been read already.
func Parse(file string, data []byte, overrides ...string) (*Scenario, error) {
	return Loader{}.Parse(file, data, overrides...)
}

// Load is Load with this loader's limits.
func (l Loader) Load(path string, overrides ...string) (*Scenario, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read scenario: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("read scenario: %w", err)
	}
	return l.Parse(path, data, overrides...)
}

// Parse checks the text of a scenario file. The folder of file is where its
// relative paths start. An override is "a.b=value": a path of keys, and of
// indices from 0 into lists, then a YAML value that takes the place of what
// the file says; "null" takes the key out. What overrides bring is checked
// as if the file said it, with one difference: a file can come from a pull
// request and an override cannot, so that what a stranger may not ask for (a
// path that leads elsewhere, a variable that the dynamic linker obeys) is the
// operator's to give.
//
// The file's payloads are in its own folder or in one that Allow names, and
// its build context is there or in the same git checkout. No "..", absolute
// path or symbolic link leads out.
func (l Loader) Parse(file string, data []byte, overrides ...string) (*Scenario, error) {
	d, err := newDecoder(file, data, l)
	if err != nil {
		return nil, err
	}
	root := d.readTree(d.file, data, MaxFileSize)
	if root == nil {
		return nil, d.report.err()
	}
	for i, text := range overrides {
		d.override(root, overrideSource(text, i+1), text)
	}
	return d.finished(root, file)
}

// A Setting is a value of a scenario that something other than a file gives: a
// flag of a command.
type Setting struct {
	From  string // what a problem calls the place: --pool
	Path  string // of keys, as an override has it
	Value string // YAML
}

// ParseSettings checks a scenario that has no file: all that it says are the
// settings. Its relative paths start in the working directory.
func (l Loader) ParseSettings(name string, settings []Setting) (*Scenario, error) {
	d, err := newDecoder("", nil, l)
	if err != nil {
		return nil, err
	}
	d.file = &source{name: name}
	root := d.readTree(d.file, []byte("{name: "+name+", request: {}, matrix: {}}"), MaxFileSize)
	from := map[string]string{}
	for i, s := range settings {
		source := overrideSource(s.Path+"=", i+1)
		source.name = s.From
		if before, given := from[s.Path]; given {
			d.report.add(source, 0, 0, fmt.Sprintf("%s says what %s is already", before, s.Path), "keep one of them")
			continue
		}
		from[s.Path] = s.From
		d.override(root, source, s.Path+"="+s.Value)
	}
	return d.finished(root, "")
}

// finished is the scenario that a tree says.
func (d *decoder) finished(root *yaml.Node, file string) (*Scenario, error) {
	s := d.scenario(root)
	if err := d.report.err(); err != nil {
		return nil, err
	}
	if l := d.loader; len(l.Env) > 0 {
		env := map[string]string{}
		maps.Copy(env, s.App.Env)
		maps.Copy(env, l.Env)
		s.App.Env = env
	}
	s.File = file
	return s, nil
}

func newDecoder(file string, data []byte, l Loader) (*decoder, error) {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", file, err)
	}
	home := folder{dir: dir}
	for _, name := range l.Allow {
		allowed, err := filepath.Abs(name)
		if err == nil {
			_, err = os.ReadDir(allowed)
		}
		if err != nil {
			return nil, fmt.Errorf("allowed folder %s: %w", name, err)
		}
		home.allowed = append(home.allowed, allowed)
	}
	maxCells := l.MaxCells
	if maxCells <= 0 {
		maxCells = DefaultMaxCells
	}
	return &decoder{
		file:     fileSource(file, data),
		loader:   l,
		owner:    map[*yaml.Node]*source{},
		folder:   home,
		maxCells: maxCells,
		kinds:    map[string][]string{},
	}, nil
}
