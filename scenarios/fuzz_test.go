package scenarios

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"stackmeter/scenarios/show"
	"stackmeter/scenarios/syntax"
	"stackmeter/scenarios/yamlfile"
)

// FuzzParse: no text makes it panic or plan without end, what is refused is
// refused with Problems that can be printed, and what is accepted is accepted
// again with the same plan.
func FuzzParse(f *testing.F) {
	for _, folder := range []string{".", "reference", "testdata/good", "testdata/bad"} {
		files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
		if err != nil || len(files) == 0 {
			f.Fatalf("%s: %d files, %v", folder, len(files), err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data, "")
			f.Add(data, "matrix.requests=[20]")
		}
	}
	for _, override := range []string{"topologies.0.workers=2", "a.b.c=1", "matrix=null", "topologies.0=null", "app.env={A: &a b, C: *a}", "=", "<<=1"} {
		f.Add([]byte("name: a\napp: {image: a, wsgi: a:b}\ntopologies: [gunicorn]\nmatrix: {requests: 1, client: single}\n"), override)
	}
	loader := Loader{MaxCells: 200, Figures: figures, Servers: known} // small: every input is planned twice
	f.Fuzz(func(t *testing.T, data []byte, override string) {
		var overrides []string
		if override != "" {
			overrides = []string{override}
		}
		file := filepath.Join("testdata", "good", "fuzz.yaml")
		s, err := loader.Parse(file, data, overrides...)
		if err != nil {
			var problems yamlfile.Problems
			if !errors.As(err, &problems) || len(problems) == 0 || s != nil {
				t.Fatalf("got %v, %#v", s, err)
			}
			if text := err.Error(); show.Columns(strings.ReplaceAll(text, "\n", " ")) != strings.ReplaceAll(text, "\n", " ") {
				t.Fatalf("not printable: %q", text)
			}
			return
		}
		p := s.Plan()
		if p.Cells() == 0 || p.Cells() > loader.MaxCells {
			t.Fatalf("%d cells", p.Cells())
		}
		again, err := loader.Parse(file, data, overrides...)
		if err != nil {
			t.Fatalf("refused the second time: %v", err)
		}
		if !reflect.DeepEqual(p, again.Plan()) || p.Fingerprint() != again.Plan().Fingerprint() {
			t.Fatal("the same text gives another plan")
		}
		names := map[string]bool{}
		for _, trial := range p.Trials {
			for _, cell := range trial.Cells {
				key := fmt.Sprint(cell.Name, cell.Repeat)
				if names[key] {
					t.Fatalf("cell %s is there twice", key)
				}
				names[key] = true
			}
		}
	})
}

// FuzzTopology: a short name is refused or stands for a topology whose own
// short name means the same.
func FuzzTopology(f *testing.F) {
	for _, text := range []string{"flask", "gunicorn", "gunicorn w2/t1", "gunicorn w2", "nginx + gunicorn w1/t4", "nginx+flask",
		" gunicorn  t4 ", "gunicorn gevent w2/c100", "nginx + gunicorn gevent c5 @ unix", "gunicorn @unix", "gunicorn t4/w2", "gunicorn w 2 / t 4", "flask w2", "gunicorn w0", "nginx", "+", "gunicorn w/t", "gunicorn w999999999999999999999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		topology, err := shortTopology(text)
		if err != nil {
			return
		}
		if !validName(topology.Name) {
			t.Fatalf("%q becomes the name %q", text, topology.Name)
		}
		canonical := topology.Server
		if topology.Proxy != "" {
			canonical = topology.Proxy + " + " + canonical
		}
		if topology.Class != "" {
			canonical += " " + topology.Class
		}
		separator := " "
		for _, axis := range (syntax.Class{}).Axes() {
			if number := *topology.number(axis.Name); number > 0 {
				canonical += separator + axis.Letter + strconv.Itoa(number)
				separator = "/"
			}
		}
		if topology.Unix {
			canonical += " @unix"
		}
		again, err := shortTopology(canonical)
		if err != nil || !reflect.DeepEqual(again, topology) {
			t.Fatalf("%q becomes %+v, %q %+v (%v)", text, topology, canonical, again, err)
		}
	})
}

// shortTopology is the topology that a short name stands for.
func shortTopology(name string) (Topology, error) {
	settings := []Setting{{"", "app", "{image: a, wsgi: a:b}"}, {"", "topologies", strconv.Quote(name)}, {"", "matrix.requests", "1"}, {"", "matrix.client", "single"}}
	s, err := Loader{Servers: known}.ParseSettings("fuzz", settings)
	if err != nil {
		return Topology{}, err
	}
	return s.Topologies[0], nil
}
