package scenarios

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/units"
	"stackmeter/scenarios/yamlfile"
)

// Used by tests of the shipped scenarios, which know the real servers.
var (
	CompiledSchema = compiledSchema
	Instance       = instance
)

func compiledSchema(t *testing.T, schema []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("scenario.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("scenario.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// instance is a YAML file as the JSON that an editor validates.
func instance(t *testing.T, file string) any {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := yaml.Unmarshal(data, &value); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestSchemaAcceptsWhatLoads(t *testing.T) {
	compiled := compiledSchema(t, Schema(figures, known))
	for _, file := range goodFiles(t) {
		if err := compiled.Validate(instance(t, file)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestSchemaRefusesWhatIsBad(t *testing.T) {
	compiled := compiledSchema(t, Schema(figures, known))
	for _, name := range []string{"key-misspelt", "app-image-and-build", "name-with-space", "wrong-types", "gpu-count-and-devices", "gpu-mps-text", "lanes",
		"topology-command-without-name", "shorthand", "numbers-out-of-range", "matrix-client-unknown", "request-two-bodies", "recommend-figures", "search", "container"} {
		if err := compiled.Validate(instance(t, filepath.Join("testdata", "bad", name+".yaml"))); err == nil {
			t.Errorf("%s is valid", name)
		}
	}
}

// TestSchemaKnowsUnits compares the schema's patterns of quantities with what
// is read.
func TestSchemaKnowsUnits(t *testing.T) {
	var schema struct {
		Defs map[string]struct {
			Pattern string
			AnyOf   []struct{ Pattern string }
		} `json:"$defs"`
	}
	if err := json.Unmarshal(Schema(figures, known), &schema); err != nil {
		t.Fatal(err)
	}
	for unit, pattern := range map[units.Unit]string{
		units.Seconds: schema.Defs["duration"].Pattern, units.Bytes: schema.Defs["size"].Pattern,
		units.Percent: schema.Defs["percentage"].Pattern, units.PerSecond: schema.Defs["anyRate"].AnyOf[1].Pattern,
	} {
		written := regexp.MustCompile(pattern)
		for _, number := range []string{"", "2", "2.5", ".5", "2.", "1e3", "1e-3", "1E+3", "1e", "-1", "+1", "1_0", "0x1", "1 2", "NaN"} {
			for _, name := range []string{"", "s", "ms", "µs", "m30s", "m 30s", "m5MiB", "B", "MiB", "MB", "/s", "/m", "%", " s", " MiB", " /s", " %", "/ s"} {
				text := number + name
				_, err := units.Parse(text, unit)
				if matches := written.MatchString(text); matches != (err == nil) {
					t.Errorf("%q as %s: the schema says %v, reading it %v", text, unit.Noun(), matches, err)
				}
			}
		}
	}
}

// TestSchemaKnowsTheSameKeys compares the properties of the schema with the
// keys of the decoder, kind by kind. The good files have every kind of object.
func TestSchemaKnowsTheSameKeys(t *testing.T) {
	kinds := map[string][]string{}
	for _, file := range goodFiles(t) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f := yamlfile.Read(file, data, Loader{Servers: known}.rules())
		if _, err := (Loader{Figures: figures, Servers: known, Allow: []string{goodImages}}).decode(f, file); err != nil {
			t.Fatal(err)
		}
		maps.Copy(kinds, f.Kinds)
	}
	var schema struct {
		Defs map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	if err := json.Unmarshal(Schema(figures, known), &schema); err != nil {
		t.Fatal(err)
	}
	for kind, definition := range schema.Defs {
		if definition.Properties != nil && kinds[kind] == nil {
			t.Errorf("%s is in the schema, and in no good file", kind)
		}
	}
	for kind, keys := range kinds {
		var properties []string
		for name := range schema.Defs[kind].Properties {
			properties = append(properties, name)
		}
		keys = slices.Clone(keys)
		slices.Sort(keys)
		slices.Sort(properties)
		if !slices.Equal(keys, properties) {
			t.Errorf("%s: the decoder knows %v, the schema %v", kind, keys, properties)
		}
	}
}
