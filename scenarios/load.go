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
	d.loader = l
	root := d.readTree(d.file, data, MaxFileSize)
	if root == nil {
		return nil, d.report.err()
	}
	for i, text := range overrides {
		d.override(root, overrideSource(text, i+1), text)
	}
	s := d.scenario(root)
	if err := d.report.err(); err != nil {
		return nil, err
	}
	if len(l.Env) > 0 {
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
		owner:    map[*yaml.Node]*source{},
		folder:   home,
		maxCells: maxCells,
		kinds:    map[string][]string{},
	}, nil
}
