//go:build linux

package process

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stackmeter/scenarios"
	"stackmeter/stacks/servers"
	"stackmeter/stacks/stackstest"
)

// body is what a URL answers.
func body(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestAttackFlaskIsOneProcess: whatever FLASK_ variables an image or .flaskenv
// has, Flask's server is one process that loads the app once, with threads.
func TestAttackFlaskIsOneProcess(t *testing.T) {
	r := machine(t, "flask")
	spec, st := launch(t, r, stackstest.Flask, func(p *scenarios.Plan) {
		p.App.Env = map[string]string{"FLASK_DEBUG": "1", "FLASK_RUN_RELOAD": "1", "FLASK_RUN_WITH_THREADS": "false", "FLASK_RUN_CERT": "adhoc"}
	})
	ready(t, spec, st)
	found, err := servers.Verify(t.Context(), spec, st)
	if err != nil || found.Unread != "" {
		t.Errorf("not read: %q, %v", found.Unread, err)
	}
	if all := found.Services[0].Processes; len(all) != 1 {
		t.Errorf("processes: %+v", all)
	}
	if answer := body(t, st.URL()+"/"); strings.Contains(answer, "MainThread") {
		t.Errorf("it has no threads: %s", answer)
	}
}

// TestAttackManagerIsNoWorker: a child that the app forked in gunicorn's master is
// not a worker.
func TestAttackManagerIsNoWorker(t *testing.T) {
	r := machine(t, "gunicorn")
	dir := t.TempDir()
	stackapp, err := os.ReadFile(filepath.Join(stackstest.App().Build.Context, "wsgi.py"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"wsgi.py":    string(stackapp),
		"managed.py": "import multiprocessing\nfrom wsgi import app\nmanager = multiprocessing.Manager()\nshared = manager.dict()\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	spec, st := launch(t, r, stackstest.Gunicorn, func(p *scenarios.Plan) {
		p.App.Dir, p.App.WSGI = dir, "managed:app"
		p.App.Env = map[string]string{"GUNICORN_CMD_ARGS": "--preload"}
	})
	ready(t, spec, st)
	found, err := servers.Verify(t.Context(), spec, st)
	if err != nil || found.Workers == nil || *found.Workers != stackstest.Gunicorn.Workers {
		t.Fatalf("workers %v: %v", found.Workers, err)
	}
	if all := found.Services[0].Processes; len(all) < stackstest.Gunicorn.Workers+2 {
		t.Errorf("no Manager runs: %+v", all)
	}
}
