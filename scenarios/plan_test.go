package scenarios

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"stackmeter/scenarios/wire"
	"stackmeter/scenarios/yamlfile"
)

// parse is a scenario with an app and the given rest.
func parse(t testing.TB, rest string, overrides ...string) *Scenario {
	t.Helper()
	s, err := Loader{Figures: figures, Servers: known}.Parse("test.yaml", []byte("name: test\napp: {image: example/app, wsgi: wsgi:app}\n"+rest), overrides...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const nineCells = `
topologies: [flask, gunicorn, nginx + gunicorn w2/t4]
matrix: {requests: [100], client: [single, mp, mt], pool: [5], keepalive: [false]}
`

func cellNames(p Plan) []string {
	var names []string
	for _, trial := range p.Trials {
		for _, cell := range trial.Cells {
			names = append(names, cell.Name)
		}
	}
	return names
}

func TestPlanRepeatsAreOutermost(t *testing.T) {
	for _, fresh := range []string{FreshTopology, FreshCell} {
		p := parse(t, nineCells, "repeats=3", "fresh="+fresh).Plan()
		if p.Cells() != 27 {
			t.Errorf("fresh: %s: %d cells, want 27", fresh, p.Cells())
		}
		last := 1
		for _, trial := range p.Trials {
			if trial.Repeat < last {
				t.Errorf("fresh: %s: repeat %d after %d", fresh, trial.Repeat, last)
			}
			last = trial.Repeat
			for _, cell := range trial.Cells {
				if cell.Repeat != trial.Repeat || !strings.HasPrefix(cell.Name, trial.Topology.Name+"/") {
					t.Errorf("fresh: %s: cell %s of repeat %d in the trial of %s, %d", fresh, cell.Name, cell.Repeat, trial.Topology.Name, trial.Repeat)
				}
			}
		}
	}
}

func TestPlanShuffle(t *testing.T) {
	order := func(overrides ...string) string {
		var names []string
		for _, trial := range parse(t, "topologies: [{server: gunicorn, workers: [1, 2, 3, 4, 5, 6, 7, 8]}]\nmatrix: {requests: 1, client: single}", overrides...).Plan().Trials {
			names = append(names, trial.Topology.Name)
		}
		return strings.Join(names, " ")
	}
	if first, again := order("seed=5"), order("seed=5"); first != again {
		t.Error("the same seed gives another order")
	}
	if order("seed=5") == order("seed=6") {
		t.Error("another seed gives the same order")
	}
	two := strings.Fields(order("repeats=2"))
	if slices.Equal(two[:8], two[8:]) {
		t.Error("both repeats have the same order")
	}
	if order() != strings.Join(two[:8], " ") {
		t.Error("the order of the first repeat depends on how many there are")
	}
	if listed := strings.Fields(order("order=listed")); !slices.IsSorted(listed) {
		t.Errorf("order: listed gives %v", listed)
	}
	slices.Sort(two)
	for i := 0; i < len(two); i += 2 {
		if two[i] != two[i+1] {
			t.Fatalf("the shuffle lost a trial: %v", two)
		}
	}
}

func TestPlanIsPure(t *testing.T) {
	s := parse(t, nineCells, "repeats=2")
	before := fmt.Sprintf("%+v", s)
	first := s.Plan()
	first.Trials[0].Cells[0].Name = "changed"
	if fmt.Sprintf("%+v", s) != before {
		t.Error("Plan changed the scenario")
	}
	if reflect.DeepEqual(first, s.Plan()) {
		t.Error("two plans share their cells")
	}
}

func TestPlanSurvivesJSON(t *testing.T) {
	p := parse(t, nineCells+"request: {json: {a: [1, 2]}}\nbaseline: {topology: flask}").Plan()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back Plan
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, p) || back.Fingerprint() != p.Fingerprint() {
		t.Errorf("got %+v\nwant %+v", back, p)
	}
}

func TestOnly(t *testing.T) {
	p := parse(t, nineCells, "order=listed", "matrix.keepalive=[false, true]", "matrix.client=[single, mt]").Plan()
	tests := []struct {
		glob string
		want []string // nil: all
		err  string
	}{
		{glob: "*"},
		{glob: "flask", want: []string{"flask/single/n100", "flask/single/n100/keepalive", "flask/mt5/n100", "flask/mt5/n100/keepalive"}},
		{glob: "nginx+*/single", want: []string{"nginx+gunicorn-w2-t4/single/n100", "nginx+gunicorn-w2-t4/single/n100/keepalive"}},
		{glob: "*/mt5/n100", want: []string{"flask/mt5/n100", "gunicorn-w1-t1/mt5/n100", "nginx+gunicorn-w2-t4/mt5/n100"}},
		{glob: "flask/*/*/keepalive", want: []string{"flask/single/n100/keepalive", "flask/mt5/n100/keepalive"}},
		{glob: "fl[ab]sk/mt?/n100", want: []string{"flask/mt5/n100"}},
		{glob: "gunicorn", err: "--only \"gunicorn\" matches nothing: there are\n  flask\n  gunicorn-w1-t1\n  nginx+gunicorn-w2-t4"},
		{glob: "*/mp5", err: "flask/single\n  flask/mt5\n"},
		{glob: "*/*/*/*/*", err: "flask/single/n100/keepalive"},
		{glob: "fl[", err: "is not a pattern"},
		{glob: "", err: "is not a pattern"},
	}
	for _, test := range tests {
		t.Run(test.glob, func(t *testing.T) {
			got, err := p.Only(test.glob)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want %q", err, test.err)
				}
				return
			}
			want := test.want
			if want == nil {
				want = cellNames(p)
			}
			if err != nil || !slices.Equal(cellNames(got), want) {
				t.Errorf("got %v, %v, want %v", cellNames(got), err, want)
			}
		})
	}
	if p.Cells() != 12 {
		t.Errorf("Only changed the plan: %d cells", p.Cells())
	}
}

func TestFingerprint(t *testing.T) {
	base := nineCells + "baseline: {client: single}\n"
	want := parse(t, base).Plan().Fingerprint()
	if len(want) != 64 {
		t.Errorf("fingerprint %q is no SHA-256", want)
	}
	tests := []struct {
		override string
		same     bool
	}{
		{"name=other", true},
		{"order=listed", true},
		{"seed=9", true},
		{"repeats=4", true},
		{"thresholds=[errors == 0]", true},
		{"baseline=null", true},
		{"prune=true", true},
		{"topologies=[gunicorn, flask, nginx + gunicorn w2/t4]", true},
		{"topologies=[flask, gunicorn]", false},
		{"topologies.1=gunicorn t2", false},
		{"app.image=example/other", false},
		{"app.dir=testdata", false},
		{"app.venv=venv", false},
		{"app.env.A=b", false},
		{"request.path=/other", false},
		{"request.json.a=1", false},
		{"request.stream=events", false},
		{"request.expect.events=20-", false},
		{"request.expect.last_event='[DONE]'", false},
		{"resources.cpus=2", false},
		{"client.engine=python-requests", false},
		{"warmup=0", false},
		{"fresh=cell", false},
		{"matrix.requests=[20]", false},
		{"matrix.keepalive=true", false},
	}
	for _, test := range tests {
		t.Run(test.override, func(t *testing.T) {
			got := parse(t, base, test.override).Plan().Fingerprint()
			if (got == want) != test.same {
				t.Errorf("same: %t, want %t", got == want, test.same)
			}
		})
	}
}

func TestFingerprintIgnoresTheCheckout(t *testing.T) {
	at := func(dir string) string {
		return Plan{
			App:     App{Build: &Build{Context: dir + "/service"}, Dir: dir + "/service", Venv: dir + "/venv"},
			Request: wire.Request{Body: &wire.Body{Files: []string{dir + "/a.jpg"}}, Multipart: &wire.Multipart{Files: []string{dir + "/a.jpg"}}},
		}.Fingerprint()
	}
	if at("/one") != at("/two") {
		t.Error("another folder gives another fingerprint")
	}
}

// TestFingerprintOfConfiguration: a proxy's configuration counts by what it says, and
// wherever it is, a run of the plan is said to read it.
func TestFingerprintOfConfiguration(t *testing.T) {
	of := func(config string) string {
		t.Helper()
		dir := t.TempDir()
		file := filepath.Join(dir, "my.conf")
		if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := Loader{Servers: known}.Parse(filepath.Join(dir, "s.yaml"), []byte(
			"{name: s, app: {image: example/app, wsgi: 'wsgi:app'}, topologies: [{server: flask, nginx: {config: my.conf}}], matrix: {requests: 1, client: single}}"))
		if err != nil {
			t.Fatal(err)
		}
		if p := s.Plan(); !slices.Equal(p.Reads(), []string{file}) {
			t.Errorf("a run reads %q, want %q", p.Reads(), file)
		}
		return s.Plan().Fingerprint()
	}
	first := of("pass {upstream};")
	if elsewhere := of("pass {upstream};"); elsewhere != first {
		t.Error("the same configuration elsewhere gives another fingerprint")
	}
	if first == of("pass {upstream}; buffer off;") {
		t.Error("another configuration gives the same fingerprint")
	}
}

// TestFingerprintOfPayloadFiles replaces what a plan's files hold. Two files
// have the same name, and are two.
func TestFingerprintOfPayloadFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		return file
	}
	one, two := write("one/a.txt", "1"), write("two/a.txt", "22")
	plan := Plan{Request: wire.Request{Multipart: &wire.Multipart{Files: []string{one, two}}}}
	fingerprint := func() string {
		t.Helper()
		p, err := plan.WithPayloadFiles()
		if err != nil {
			t.Fatal(err)
		}
		if len(p.PayloadFiles) != 2 || p.PayloadFiles[1].Size != 2 || p.PayloadFiles[1].Name != "a.txt" {
			t.Errorf("payload files: %+v", p.PayloadFiles)
		}
		return p.Fingerprint()
	}
	first := fingerprint()
	if fingerprint() != first {
		t.Error("the same files give another fingerprint")
	}
	for name, was := range map[string]string{"one/a.txt": "1", "two/a.txt": "22"} {
		write(name, strings.Repeat("x", len(was)))
		if fingerprint() == first {
			t.Errorf("%s holds something else and gives the same fingerprint", name)
		}
		write(name, was)
	}
	if err := os.Remove(two); err != nil {
		t.Fatal(err)
	}
	if _, err := plan.WithPayloadFiles(); err == nil || !strings.Contains(err.Error(), two) {
		t.Errorf("a file that is gone: %v", err)
	}
}

func TestLimitOfCells(t *testing.T) {
	text := []byte("name: test\napp: {image: a, wsgi: wsgi:app}\n" + nineCells)
	if _, err := (Loader{MaxCells: 8, Servers: known}).Parse("test.yaml", text); err == nil || !strings.Contains(err.Error(), "9 cells, more than the limit of 8") {
		t.Errorf("error %v", err)
	}
	if _, err := (Loader{MaxCells: 9, Servers: known}).Parse("test.yaml", text); err != nil {
		t.Error(err)
	}
	if _, err := (Loader{MaxCells: 20_000, Servers: known}).Parse("test.yaml", text, "repeats=1000"); err != nil {
		t.Error(err)
	}
	if _, err := (Loader{Servers: known}).Parse("test.yaml", make([]byte, yamlfile.MaxSize+1)); err == nil || !strings.Contains(err.Error(), "larger than 1048576 bytes") {
		t.Errorf("error %v", err)
	}
}

func TestLoadSaysWhichFileIsMissing(t *testing.T) {
	if _, err := (Loader{Servers: known}).Load("nowhere.yaml"); err == nil || !strings.Contains(err.Error(), "nowhere.yaml") {
		t.Errorf("error %v", err)
	}
}

func BenchmarkPlan10000(b *testing.B) {
	s, err := Loader{MaxCells: 10_000, Servers: known}.Parse("test.yaml", []byte(`name: test
app: {image: example/app, wsgi: wsgi:app}
topologies: [{server: gunicorn, workers: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], threads: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}]
matrix: {requests: [1, 2, 3, 4, 5], client: [mp, mt]}
repeats: 10
`), "matrix.pool=4")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if cells := s.Plan().Cells(); cells != 10_000 {
			b.Fatalf("%d cells", cells)
		}
	}
}
