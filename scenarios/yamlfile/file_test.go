package yamlfile

import (
	"errors"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// A recipe is a file of another kind than scenarios.
type recipe struct {
	Name   string
	Eggs   int
	Secret map[string]string
	Steps  []string
}

func recipeRules() Rules {
	return Rules{
		What: "recipe", Example: "eggs=3", Secrets: "secret",
		Unfold: func(path []string, n *yaml.Node) *yaml.Node { return nil },
	}
}

func cook(f *File) (recipe, error) {
	var r recipe
	if f.Root == nil {
		return r, f.Err()
	}
	f.Object(f.Root, "recipe", "a recipe",
		Key("name", func(n *yaml.Node) { f.Text(n, "name", &r.Name) }),
		Key("eggs", func(n *yaml.Node) { f.Integer(n, "eggs", &r.Eggs, 0, 12) }),
		Key("secret", func(n *yaml.Node) {
			f.Dictionary(n, "secret", &r.Secret, func(s string) bool { return s != "salt" }, "no salt")
		}),
		Key("steps", func(n *yaml.Node) {
			for _, item := range f.List(n, "steps", 3) {
				var step string
				if f.Text(item, "steps", &step) {
					if column := strings.Index(step, "!") + 1; column > 0 {
						f.ProblemIn(item, column, "", "not so loud")
					}
					r.Steps = append(r.Steps, step)
				}
			}
		}),
	)
	return r, f.Err()
}

func TestRead(t *testing.T) {
	f := Read("cake.yaml", []byte("name: &n cake\nsteps: [*n]\n"), recipeRules())
	f.Override("eggs=3")
	f.Set("--secret", "secret.spice", "1.0")
	r, err := cook(f)
	if err != nil || r.Name != "cake" || r.Eggs != 3 || r.Secret["spice"] != "1.0" || len(r.Steps) != 1 || r.Steps[0] != "cake" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestProblems(t *testing.T) {
	for _, test := range []struct{ name, text, set, want string }{
		{"several", "name: 5\negs: 2\neggs: 13\n", "",
			"f:1:7: name must be text, not \"5\"\n    name: 5\n          ^\n  put it in quotes: \"5\"\n" +
				"f:2:1: a recipe has no key \"egs\"\n    egs: 2\n    ^\n  did you mean \"eggs\"?\n" +
				"f:3:7: eggs must be from 0 to 12, not 13\n    eggs: 13\n          ^"},
		{"within a text", "steps: ['stir it!']\n", "", "f:1:17: not so loud\n    steps: ['stir it!']\n                    ^"},
		{"within a text of several lines", "steps:\n- >-\n  stir\n  it!\n", "", "f:2:3: not so loud\n    - >-\n      ^"},
		{"a secret", "secret: {salt: 4711}\n", "", "f:1:10: secret has the invalid name \"salt\"\n  no salt"},
		{"two documents", "a: 1\n---\na: 1\n", "", "f:2:1: a second YAML document\n    ---\n    ^\n  one file is one recipe: remove the ---"},
		{"an override that is none", "eggs: 1\n", "eggs", "--set eggs: not of the form KEY=VALUE\n  for example eggs=3"},
		{"nothing to take out", "eggs: 1\n", "name=null", "--set name=null: name is not in the recipe: there is nothing to remove"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := Read("f", []byte(test.text), recipeRules())
			if test.set != "" {
				f.Override(test.set)
			}
			_, err := cook(f)
			var problems Problems
			if !errors.As(err, &problems) || err.Error() != test.want {
				t.Errorf("got:\n%v\nwant:\n%s", err, test.want)
			}
		})
	}
}

func TestEmpty(t *testing.T) {
	f := Empty("flags", recipeRules())
	f.Set("--eggs", "eggs", "13")
	f.Set("--count", "eggs", "1")
	_, err := cook(f)
	if want := "--eggs: eggs must be from 0 to 12, not 13\n--count: --eggs already says what eggs is\n  keep one of them"; err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

// TestKinds: the keys of each kind of object are kept for a schema.
func TestKinds(t *testing.T) {
	f := Read("f", []byte("name: a"), recipeRules())
	if _, err := cook(f); err != nil || strings.Join(f.Kinds["recipe"], " ") != "name eggs secret steps" {
		t.Errorf("%v, %v", f.Kinds, err)
	}
}
