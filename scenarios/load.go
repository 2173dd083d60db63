package scenarios

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"
)

// Bounds of what a scenario may ask of the program that reads it.
const (
	DefaultMaxCells = 10_000  // cells of a plan, repeats counted
	MaxFileSize     = 1 << 20 // bytes of a scenario file
	maxOverrideSize = 1 << 16 // bytes of one override
	maxDepth        = 32      // of nested lists and mappings, aliases followed
	maxNodes        = 200_000 // of the tree once aliases and merge keys are expanded
)

// A Loader reads scenario files. The zero value has the usual limits.
type Loader struct {
	MaxCells int // 0: DefaultMaxCells
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
// as if the file said it.
func (l Loader) Parse(file string, data []byte, overrides ...string) (*Scenario, error) {
	d, err := newDecoder(file, data, l.MaxCells)
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
	s := d.scenario(root)
	if err := d.report.err(); err != nil {
		return nil, err
	}
	s.File = file
	return s, nil
}

func newDecoder(file string, data []byte, maxCells int) (*decoder, error) {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", file, err)
	}
	if maxCells <= 0 {
		maxCells = DefaultMaxCells
	}
	return &decoder{
		file:     fileSource(file, data),
		owner:    map[*yaml.Node]*source{},
		folder:   folder{dir},
		maxCells: maxCells,
		kinds:    map[string][]string{},
	}, nil
}
