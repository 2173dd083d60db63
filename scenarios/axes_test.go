package scenarios

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestAxes: whatever the values of axes look like, the topologies have different
// names, and axes different values.
func TestAxes(t *testing.T) {
	const digest = "app@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for _, test := range []struct {
		image, topology string
		names, values   string // with spaces between them, the values of the axis image alone
	}{
		{"app", "{server: flask, env: {A: [true, false], a: [true, false]}}", "flask-a-a flask-a flask-a.2 flask", ""},
		{"app", `{server: flask, env: {A: ["1-b2", 1], B: [2, "2-b2"]}}`, "flask-a1-b2-b2 flask-a1-b2-b2-b2 flask-a1-b2 flask-a1-b2-b2.2", ""},
		{"app", `{server: flask, env: {A: [x, "", ä]}}`, "flask-a-x flask-a.2 flask-a.3", ""},
		{"app", "{server: gunicorn, nginx: [false, true, {upstream_keepalive: 2}]}", "gunicorn-w1-t1 nginx+gunicorn-w1-t1 nginx+gunicorn-w1-t1.2", ""},
		{"app", "{server: gunicorn, proxy: [none, nginx, envoy], nginx: {upstream_keepalive: [1, 2]}, envoy: {retry: [never]}}",
			"gunicorn-w1-t1 nginx+gunicorn-w1-t1-upstream_keepalive1 nginx+gunicorn-w1-t1-upstream_keepalive2 envoy+gunicorn-w1-t1", ""},
		{"app", "{server: gunicorn, env: {OPENBLAS_NUM_THREADS: [1, 2], A_VARIABLE_WITH_A_LONG_NAME: [1, 2]}}",
			"gunicorn-w1-t1.1 gunicorn-w1-t1.2 gunicorn-w1-t1.3 gunicorn-w1-t1.4", ""},
		{"[app:1, app:2]", "flask", "flask-image1 flask-image2", "1 2"},
		{"[one:1, two:1]", "flask", "flask-image-one flask-image-two", "one two"},
		{"[one, two:x, '" + digest + "1']", "flask", "flask-image-one flask-image-x flask-image-aaaaaaaa", "one x aaaaaaaa"},
		{"[a/app:1, b/app:1]", "flask", "flask-image.1 flask-image.2", "a/app:1 b/app:1"},
		{"[" + digest + "1, " + digest + "2]", "flask", "flask-image.1 flask-image.2", digest + "1 " + digest + "2"},
		{"[app:1, app:2]", "{name: own, services: [{name: a, image: redis}]}", "own", ""},
		{"[app:1, app:2]", "{name: own, services: [{name: a, image: redis}, {name: b}]}", "own-image1 own-image2", "1 2"},
	} {
		text := "name: case\napp: {image: " + test.image + ", wsgi: 'wsgi:app'}\ntopologies: [" + test.topology + "]\nmatrix: {requests: [1], client: [single]}\n"
		s, err := Loader{Figures: figures, Servers: known}.Parse("case.yaml", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", test.topology, err)
			continue
		}
		var names, values []string
		for _, one := range s.Topologies {
			names = append(names, one.Name)
			if value, is := one.Axes["image"]; is {
				values = append(values, value)
			}
		}
		if want := strings.Fields(test.names); !reflect.DeepEqual(names, want) {
			t.Errorf("%s, images %s: %q, want %q", test.topology, test.image, names, want)
		}
		if got := strings.Join(values, " "); got != test.values {
			t.Errorf("%s, images %s: the axis has %q, want %q", test.topology, test.image, got, test.values)
		}
	}
}

// TestAxisOfWhatTheServerDecides: a variable that no topology may set is none that it
// may set to several values.
func TestAxisOfWhatTheServerDecides(t *testing.T) {
	for _, value := range []string{"1", "[1, 2]"} {
		_, err := Loader{Figures: figures, Servers: known}.Parse("case.yaml", []byte(
			"name: case\napp: {image: app, wsgi: 'wsgi:app'}\ntopologies: [{server: flask, env: {FLASK_RUN_PORT: "+value+"}}]\nmatrix: {requests: [1], client: [single]}\n"))
		if err == nil || !strings.Contains(err.Error(), `"FLASK_RUN_PORT", which server: flask decides itself`) {
			t.Errorf("%s: %v", value, err)
		}
	}
}

// TestAxisOfFiles: files of the same name in two folders are two values, and the
// message of one that is there twice does not hold all of it.
func TestAxisOfFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a/my.conf": "one {upstream}", "b/my.conf": "two {upstream}", "c.conf": "two {upstream}" + strings.Repeat(" ", 100), "d.conf": "two {upstream}" + strings.Repeat(" ", 100)} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	load := func(files string) (*Scenario, error) {
		return Loader{Figures: figures, Servers: known}.Parse(filepath.Join(dir, "case.yaml"), []byte(
			"name: case\napp: {image: app, wsgi: 'wsgi:app'}\ntopologies: [{server: flask, nginx: {config: ["+files+"]}}]\nmatrix: {requests: [1], client: [single]}\n"))
	}
	s, err := load("a/my.conf, b/my.conf")
	if err != nil {
		t.Fatal(err)
	}
	if one, two := s.Topologies[0], s.Topologies[1]; one.Axes["nginx.config"] != "my.conf" || two.Axes["nginx.config"] != "b/my.conf" || one.Name == two.Name {
		t.Errorf("%s: %v, %s: %v", one.Name, one.Axes, two.Name, two.Axes)
	}
	if _, err := load("c.conf, d.conf"); err == nil || !strings.Contains(err.Error(), `nginx.config has "two {upstream}  `) || strings.Contains(err.Error(), strings.Repeat(" ", 80)) {
		t.Errorf("the same twice: %v", err)
	}
}
