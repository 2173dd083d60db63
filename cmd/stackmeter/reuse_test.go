package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stackmeter/orchestrator"
	"stackmeter/results"
)

// TestReuse measures a scenario, and then takes its cells from the store: those that are
// as they were, and no others. Every report says so.
func TestReuse(t *testing.T) {
	s := newSession(t)
	app := filepath.Join(t.TempDir(), "app")
	if err := os.CopyFS(app, os.DirFS(s.app)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(s.dir, "session.yaml"))
	if err == nil {
		err = os.WriteFile(filepath.Join(s.dir, "session.yaml"), []byte(strings.ReplaceAll(string(text), s.app, app)), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.app = app
	// run runs it, and returns the run, which of its records are reused, and how many
	// stacks were started.
	run := func(args ...string) (run results.Run, reused []string, started int) {
		t.Helper()
		status, _ := s.run(func(e orchestrator.Event, _ *os.Process) {
			if e.Kind == orchestrator.EventStart {
				started++
			}
		}, args...)
		run, records := s.stored()
		if status != exitOK || run.Outcome != results.OutcomeOK || run.Counts.Missing() > 0 {
			t.Fatalf("%v: exit status %d, %+v: %s", args, status, run.Counts, s.said)
		}
		for _, r := range records {
			if (r.Reused != "") != slices.Contains(r.Flags, results.FlagReused) || r.Fingerprint == "" {
				t.Errorf("%s is reused from %q, with the flags %v", r.Cell.Name, r.Reused, r.Flags)
			}
			if r.Reused != "" {
				reused = append(reused, r.Reused+" "+r.Cell.Name)
			}
		}
		slices.Sort(reused)
		return run, reused, started
	}
	first, reused, started := run()
	if len(reused) > 0 || started == 0 {
		t.Errorf("without --reuse %v is reused, and %d stacks were started", reused, started)
	}
	all := []string{first.ID + " flask/mp2/n10", first.ID + " flask/single/n10", first.ID + " nginx+gunicorn-w1-t2/mp2/n10", first.ID + " nginx+gunicorn-w1-t2/single/n10"}
	again, reused, started := run("--reuse", "7d")
	if !slices.Equal(reused, all) || started != 0 {
		t.Errorf("%d stacks were started, and reused is %v, want %v", started, reused, all)
	}
	for format, says := range map[string]string{
		"table": "4 of 4 records, reused and not measured by this run: 4 from run", "markdown": "4 from run " + first.ID, "html": "4 from run " + first.ID,
		"json": `"reused": "` + first.ID, "csv": "," + first.ID + ",", "junit": "4 from run " + first.ID, "prometheus": `stackmeter_cell_reused_repeats{scenario="session",topology="flask",load="mp2/n10"} 1`,
		"summary": "from run " + first.ID,
	} {
		out, err := s.exec(t.Context(), "report", again.ID, "--format", format).CombinedOutput()
		if err != nil || !strings.Contains(strings.Join(strings.Fields(string(out)), " "), says) {
			t.Errorf("%s does not say %q (%v):\n%s", format, says, err, out)
		}
		if format == "json" || format == "csv" { // and what is read back says it, too
			file := filepath.Join(s.dir, "again."+format)
			if err := os.WriteFile(file, out, 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := s.exec(t.Context(), "import", file, "--db", format+".db").CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			store, err := openStore(t.Context(), filepath.Join(s.dir, format+".db"))
			if err != nil {
				t.Fatal(err)
			}
			_, records, err := store.Run(t.Context(), "")
			store.Close()
			if err != nil || len(records) != 4 || records[0].Reused != first.ID {
				t.Errorf("%d records came back from %s (%v)", len(records), format, err)
			}
		}
	}
	// What was reused is not reused again: its own run is said. A new load is measured.
	_, reused, started = run("--reuse", "1h", "--set", "matrix.pool=[2,3]")
	if !slices.Equal(reused, all) || started != 2 {
		t.Errorf("with another load %d stacks were started, and reused is %v, want %v", started, reused, all)
	}
	for name, args := range map[string][]string{
		"too old": {"--reuse", "1ms"}, "another limit": {"--reuse", "7d", "--set", "resources.memory=1GiB"}, "another request": {"--reuse", "7d", "--set", "request.path=/sleep?s=0.01"},
	} {
		if _, reused, started := run(args...); len(reused) > 0 || started == 0 {
			t.Errorf("%s: %d stacks were started, and %v is reused", name, started, reused)
		}
	}
	dockerfile, err := os.ReadFile(filepath.Join(app, "Dockerfile"))
	if err == nil {
		err = os.WriteFile(filepath.Join(app, "Dockerfile"), append(dockerfile, "\nLABEL stackmeter.test=reuse\n"...), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		out, err := exec.Command("sh", "-c", "docker image ls -q --filter label=stackmeter.test=reuse | xargs -r docker rmi -f").CombinedOutput()
		if err != nil {
			t.Errorf("remove the other image: %v: %s", err, out)
		}
	})
	if _, reused, started := run("--reuse", "7d"); len(reused) > 0 || started == 0 {
		t.Errorf("of another image: %d stacks were started, and %v is reused", started, reused)
	}
	for says, args := range map[string][]string{
		"would be held against itself": {"--fail-on", "duration < base * 2"}, "with --runtime docker alone": {"--runtime", "process"}, "above 0": {"--reuse", "0d"}, "--reuse": {"--reuse", "soon"},
	} {
		if status, _ := s.run(nil, append([]string{"--reuse", "7d"}, args...)...); status != exitUsage || !strings.Contains(s.said, says) {
			t.Errorf("%v: exit status %d: %s", args, status, s.said)
		}
	}
	s.nothingLeft(again.ID)
}
