package scenarios

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"stackmeter/scenarios/yamlfile"
)

// hostileCheckout is a git checkout as a pull request might leave it, with
// links that lead out of it and secrets beside it. It returns the folder that
// scenarios are in.
func hostileCheckout(t *testing.T) string {
	t.Helper()
	above := t.TempDir()
	dir := filepath.Join(above, "checkout", "scenarios")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{filepath.Join(dir, "images", "more"), filepath.Join(dir, "sub", ".git"), filepath.Join(above, "checkout", ".git"), filepath.Join(above, "beside", "models", "v2"), filepath.Join(above, "beside", "models", "clone", ".git", "objects")} {
		must(os.MkdirAll(folder, 0o755))
	}
	for _, file := range []string{"Dockerfile", "beside/Dockerfile", "checkout/.git/Dockerfile", "checkout/scenarios/sub/.git/config", "beside/secret.txt", "checkout/secret.txt", "checkout/scenarios/images/a.jpg", "checkout/scenarios/images/Dockerfile"} {
		must(os.WriteFile(filepath.Join(above, file), []byte("FROM scratch"), 0o644))
	}
	for link, target := range map[string]string{
		"link-to-file":   "../secret.txt",
		"link-to-folder": "../../beside",
		"link-to-device": "/dev/zero",
		"link-by-name":   filepath.Join(dir, "images", "a.jpg"), // it leads back in, from the root
		"link-inside":    "images/a.jpg",
		"link-to-git":    "sub/.git/config",

		"../../beside/models/weights":  "v2",
		"../../beside/models/out":      "../../checkout",
		"../../beside/models/out-file": "../secret.txt",
		"../../linked-models":          "beside/models",

		"images/link-outside": "../../secret.txt",
	} {
		must(os.Symlink(target, filepath.Join(dir, link)))
	}
	must(syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644))
	return dir
}

// TestThreat1HostileScenarios: every file in testdata/hostile asks for what a
// scenario cannot have, and is refused with a message that says so.
func TestThreat1HostileScenarios(t *testing.T) {
	dir := hostileCheckout(t)
	for _, file := range testFiles(t, "hostile", 15) {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			there := filepath.Join(dir, name)
			if err := os.WriteFile(there, text, 0o644); err != nil {
				t.Fatal(err)
			}
			s, err := Loader{Figures: figures, Servers: known}.Load(there)
			var problems yamlfile.Problems
			if !errors.As(err, &problems) || s != nil {
				t.Fatalf("got %v, %v, want Problems", s, err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", strings.ReplaceAll(err.Error(), dir, "FOLDER")+"\n")
		})
	}
}

// allowed are what is refused in a file, and what an operator says to have it
// all the same.
func TestThreat1OperatorMayAllow(t *testing.T) {
	dir := hostileCheckout(t)
	above := filepath.Dir(filepath.Dir(dir))
	scenario := func(app, request string) string {
		return "name: case\napp: {" + app + ", wsgi: 'wsgi:app'}\nrequest: {" + request + "}\ntopologies: [flask]\nmatrix: {requests: [1], client: [single]}\n"
	}
	const image, get = "image: example/app", "path: /"
	tests := []struct {
		name, text string
		set        []string
		allow      []string // below the folder that the checkout is in
		refused    string   // part of the message; empty: it loads
	}{
		{"a file of its own", scenario(image, "body: {files: ['images/*.jpg', ./images/a.jpg, images/more/../a.jpg]}"), nil, nil, ""},
		{"a link that stays inside", scenario(image, "body: {files: [link-inside]}"), nil, nil, ""},
		{"a file elsewhere", scenario(image, "body: {files: [../secret.txt]}"), nil, nil, `"../secret.txt" leads out`},
		{"git's own file", scenario(image, "body: {files: [sub/.git/config]}"), nil, nil, "belongs to git"},
		{"git's own file by a pattern", scenario(image, "body: {files: ['sub/*/config']}"), nil, nil, "belongs to git"},
		{"git's own file by a link", scenario(image, "body: {files: [link-to-git]}"), nil, nil, "belongs to git"},
		{"git's own file in an allowed folder", scenario(image, "body: {files: [../.git/Dockerfile]}"), nil, []string{"checkout"}, "belongs to git"},
		{"in an allowed folder", scenario(image, "body: {files: [../secret.txt]}"), nil, []string{"checkout"}, ""},
		{"by an allowed absolute path", scenario(image, "body: {files: ["+above+"/beside/*.txt]}"), nil, []string{"beside"}, ""},
		{"in another than the allowed folder", scenario(image, "body: {files: [../secret.txt]}"), nil, []string{"beside"}, "leads out"},
		{"by a link out of the allowed folder", scenario(image, "body: {files: [../scenarios/link-to-folder/secret.txt]}"), nil, []string{"checkout"}, "symbolic link"},
		{"named on the command line", scenario(image, "body: {files: [images/a.jpg]}"), []string{"request.body.files=[../secret.txt]"}, nil, ""},
		{"a context in the checkout", scenario("build: ../scenarios/images", get), nil, nil, ""},
		{"a context beside the checkout", scenario("build: ../../beside", get), nil, nil, "and of the checkout"},
		{"a context in git's own folder", scenario("build: ../.git", get), nil, nil, "it belongs to git"},
		{"an allowed context", scenario("build: ../../beside", get), nil, []string{"beside"}, ""},
		{"a context named on the command line", scenario("build: images", get), []string{"app.build=../../beside"}, nil, ""},
		{"a mount of an allowed folder", scenario(image+", mounts: {from: ../../beside/models, to: /models}", get), nil, []string{"beside"}, ""},
		{"a mount by an absolute path", scenario(image+", mounts: {from: "+above+"/beside/secret.txt, to: /models/x}", get), nil, []string{"beside"}, ""},
		{"a mount by a link that stays inside", scenario(image+", mounts: {from: ../../beside/models/weights, to: /models}", get), nil, []string{"beside/models"}, ""},
		{"a mount of an allowed link", scenario(image+", mounts: {from: ../../linked-models/v2, to: /models}", get), nil, []string{"linked-models"}, ""},
		{"a mount where an allowed link leads", scenario(image+", mounts: {from: ../../beside/models/v2, to: /models}", get), nil, []string{"linked-models"}, ""},
		{"a mount of its own folder", scenario(image+", mounts: {from: images, to: /models}", get), nil, nil, "in no folder that --allow-path names"},
		{"a mount above the allowed folder", scenario(image+", mounts: {from: ../../beside, to: /models}", get), nil, []string{"beside/models"}, "in no folder that --allow-path names"},
		{"a mount out of the allowed folder by dots", scenario(image+", mounts: {from: ../../beside/models/../secret.txt, to: /models}", get), nil, []string{"beside/models"}, "in no folder that --allow-path names"},
		{"a mount out of the allowed folder by a link", scenario(image+", mounts: {from: ../../beside/models/out, to: /models}", get), nil, []string{"beside/models"}, "symbolic link"},
		{"a mount out of the allowed folder behind a link", scenario(image+", mounts: {from: ../../beside/models/out/scenarios, to: /models}", get), nil, []string{"beside/models"}, "symbolic link"},
		{"a mount out of the allowed folder by a link to a file", scenario(image+", mounts: {from: ../../beside/models/out-file, to: /models}", get), nil, []string{"beside/models"}, "symbolic link"},
		{"a mount of a checkout", scenario(image+", mounts: {from: ../../beside/models/clone, to: /models}", get), nil, []string{"beside"}, "belongs to git"},
		{"a mount of git's own files", scenario(image+", mounts: {from: ../../beside/models/clone/.git/objects, to: /models}", get), nil, []string{"beside"}, "belongs to git"},
		{"a mount of a pipe", scenario(image+", mounts: {from: ../scenarios/pipe, to: /models}", get), nil, []string{"checkout/scenarios"}, "neither a folder nor a file"},
		{"a mount named on the command line", scenario(image, get), []string{"app.mounts={from: ../../beside, to: /models}"}, nil, ""},
		{"a preloaded library", scenario(image+", env: {LD_PRELOAD: x}", get), nil, nil, "dynamic linker"},
		{"a library preloaded on the command line", scenario(image, get), []string{"app.env.LD_PRELOAD=libjemalloc.so.2"}, nil, ""},
		{"an allowed folder that is not there", scenario(image, get), nil, []string{"nowhere"}, "--allow-path"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := Loader{Servers: known}
			for _, name := range test.allow {
				l.Allow = append(l.Allow, filepath.Join(above, name))
			}
			s, err := l.Parse(filepath.Join(dir, "case.yaml"), []byte(test.text), test.set...)
			if test.refused == "" {
				if err != nil {
					t.Error(err)
				}
			} else if s != nil || err == nil || !strings.Contains(err.Error(), test.refused) {
				t.Errorf("got %v, want an error with %q", err, test.refused)
			}
		})
	}
}

// TestThreat4BuildArguments: an image keeps the arguments that it was built
// with, so that what the operator gives by --env is not taken for one.
func TestThreat4BuildArguments(t *testing.T) {
	dir := hostileCheckout(t)
	for args, refused := range map[string]bool{
		"{API_TOKEN: from-the-file}": true,
		"{COPY: operator-4711}":      true,
		"{DEBUG: on}":                false, // as SHORT is, which is no secret
		"{VERSION: '1.2'}":           false,
	} {
		l := Loader{Servers: known, Env: map[string]string{"API_TOKEN": "operator-4711", "SHORT": "on"}}
		_, err := l.Parse(filepath.Join(dir, "case.yaml"), []byte(`name: case
app:
  build: {context: images, args: `+args+`}
  wsgi: wsgi:app
topologies: [flask]
matrix: {requests: [1], client: [single]}
`))
		if !refused && err != nil || refused && (err == nil || !strings.Contains(err.Error(), `case.yaml:3:`) || !strings.Contains(err.Error(), `"API_TOKEN": it is given by --env`)) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// TestThreat1NoCheckout: a scenario that came in no checkout has the source
// tree that it is in, and where there is none its own folder.
func TestThreat1NoCheckout(t *testing.T) {
	dir := hostileCheckout(t)
	checkout := filepath.Dir(dir)
	if err := os.RemoveAll(filepath.Join(checkout, ".git")); err != nil {
		t.Fatal(err)
	}
	refused := func(context string, allow ...string) error {
		text := "name: case\napp: {build: " + context + ", wsgi: 'wsgi:app'}\ntopologies: [flask]\nmatrix: {requests: [1], client: [single]}\n"
		_, err := Loader{Allow: allow, Servers: known}.Parse(filepath.Join(dir, "case.yaml"), []byte(text))
		return err
	}
	inTree := "../../" + filepath.Base(checkout) + "/other"
	if err := os.Mkdir(filepath.Join(checkout, "other"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(checkout, "other", "Dockerfile"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := refused("images"); err != nil {
		t.Errorf("in its own folder: %v", err)
	}
	for _, context := range []string{inTree, "../../beside", "/"} {
		if err := refused(context); err == nil || !strings.Contains(err.Error(), "in no checkout or source tree") || !strings.Contains(err.Error(), "--allow-path") {
			t.Errorf("%s: %v, want a refusal that names --allow-path", context, err)
		}
	}
	if err := refused(inTree, checkout); err != nil {
		t.Errorf("in an allowed folder: %v", err)
	}
	for _, name := range []string{"go.mod", "pyproject.toml"} {
		top := filepath.Join(checkout, name)
		if err := os.WriteFile(top, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := refused(inTree); err != nil {
			t.Errorf("in a source tree with %s: %v", name, err)
		}
		if err := refused("../../beside"); err == nil || !strings.Contains(err.Error(), "source tree") {
			t.Errorf("beside a source tree with %s: %v", name, err)
		}
		if err := os.Remove(top); err != nil {
			t.Fatal(err)
		}
	}
}

// TestThreat7BoundsOfAScenario: what a text can be made long of is bounded,
// before memory or time is spent on it.
func TestThreat7BoundsOfAScenario(t *testing.T) {
	const head = "name: case\napp: {image: example/app, wsgi: wsgi:app}\n"
	const small = "topologies: [flask]\nmatrix: {requests: [1], client: [single]}\n"
	numbers := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprint(i+1))
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	for name, test := range map[string]struct{ text, set, refused string }{
		"a file of more than a megabyte": {head + small + "# " + strings.Repeat("x", yamlfile.MaxSize), "", "larger than"},
		"a hundred thousand brackets":    {head + "topologies: " + strings.Repeat("[", 100_000), "", "depth"},
		"a hundred thousand mappings":    {head + "topologies: " + strings.Repeat("{a: ", 100_000), "", "depth"},
		"a name of a megabyte":           {"name: " + strings.Repeat("a", yamlfile.MaxSize/2) + "\n", "", "name"},
		"a hundred thousand keys":        {head + small + strings.Repeat("k: 1\n", 100_000), "", "already"},
		"a hundred thousand topologies":  {head + "topologies: [" + strings.Repeat("flask, ", 100_000) + "]\nmatrix: {requests: [1], client: [single]}\n", "", "topologies"},
		"a hundred thousand requests":    {head + "topologies: [flask]\nmatrix: {client: [single], requests: " + numbers(100_000) + "}\n", "", "matrix"},
		"ten million cells":              {head + "topologies: [flask]\nmatrix: {client: [mp], requests: " + numbers(100) + ", pool: " + numbers(100) + "}\nrepeats: 1000\n", "", "limit of 5000"},
		"an override that is too long":   {head + small, "app.env={A: " + strings.Repeat("x", 1<<16) + "}", "larger than"},
		"an override that is too deep":   {head + small, strings.Repeat("a.", 5000) + "a=1", ""},
		"repeats beyond counting":        {head + small + "repeats: 99999999999999999999\n", "", "repeats"},
	} {
		t.Run(name, func(t *testing.T) {
			var set []string
			if test.set != "" {
				set = []string{test.set}
			}
			s, err := Loader{Figures: figures, Servers: known}.Parse("case.yaml", []byte(test.text), set...)
			if s != nil || err == nil || !strings.Contains(err.Error(), test.refused) {
				t.Fatalf("got %.300v, want an error with %q", err, test.refused)
			}
			if len(err.Error()) > 1<<20 {
				t.Errorf("the message has %d bytes", len(err.Error()))
			}
		})
	}
}

// TestFault30TenThousandCells: a plan that no night would finish is refused,
// and run by who says that it is meant.
func TestFault30TenThousandCells(t *testing.T) {
	text := []byte("name: case\napp: {image: example/app, wsgi: wsgi:app}\ntopologies: [flask]\nmatrix: {requests: [1, 2], client: [mp], pool: [1, 2, 3, 4, 5]}\nrepeats: 1000\n")
	_, err := Loader{Figures: figures, Servers: known}.Parse("case.yaml", text)
	if err == nil || !strings.Contains(err.Error(), "= 10000 cells, more than the limit of 5000") || !strings.Contains(err.Error(), "--max-cells") {
		t.Errorf("ten thousand cells: %v", err)
	}
	s, err := Loader{MaxCells: 10_000, Servers: known}.Parse("case.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	if cells := s.Plan().Cells(); cells != 10_000 {
		t.Errorf("%d cells", cells)
	}
}

// TestFault30ManyFamilies: topologies that all differ, as an axis of thousands of values
// makes them, are put into the order of pruning at once.
func TestFault30ManyFamilies(t *testing.T) {
	var values []string
	for i := range 5000 {
		values = append(values, strconv.Itoa(i))
	}
	s, err := Loader{Servers: known}.Parse("case.yaml", []byte("name: case\napp: {image: example/app, wsgi: wsgi:app}\ntopologies: [{server: flask, env: {A: ["+strings.Join(values, ", ")+"]}}]\nmatrix: {requests: [1], client: [single]}\nprune: true\n"))
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if cells := s.Plan().Cells(); cells != 5000 {
		t.Errorf("%d cells", cells)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the order took %v", took)
	}
}

// TestFault30OddNames: a name goes into file names, labels, container names
// and patterns, and nothing in it must be quoted there.
func TestFault30OddNames(t *testing.T) {
	for _, name := range []string{"", " ", "a b", "a/b", "..", "../a", "-a", ".a", "a\nb", "a\x00b", "a;b", "$(a)", "`a`", "a|b", "a&b", "a>b", "a*", "a?", "a[b]",
		"a'b", `a"b`, `a\b`, "a{b}", "a:b", "a=b", "a@b", "a#b", "a%b", "a,b", "~", "é", "\u202ea", "a\u200bb", strings.Repeat("a", 64+1)} {
		if validName(name) || validService(name) {
			t.Errorf("%q is a name", name)
		}
	}
	for _, name := range []string{"a", "nginx+gunicorn-w1-t4", "v1.2_3", "A-", strings.Repeat("a", 64)} {
		if !validName(name) {
			t.Errorf("%q is no name", name)
		}
	}
	// A and a are the same in DNS, and an engine refuses + and a label that is longer.
	for name, valid := range map[string]bool{
		"a": true, "9": true, "back-2": true, strings.Repeat("a", 63): true,
		"A": false, "bacK": false, "a+b": false, "a.b": false, "a_b": false, "a-": false, strings.Repeat("a", 63+1): false,
	} {
		if validService(name) != valid {
			t.Errorf("%q is a service's name: %v, want %v", name, !valid, valid)
		}
	}
	if slices.ContainsFunc([]string{"--privileged", "-v", "a b", "a;b", "a$b", ""}, validImage) {
		t.Error("an option, or something that is no image, is an image's name")
	}
}
