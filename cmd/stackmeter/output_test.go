package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/cmd/stackmeter/console"
	"stackmeter/results"
	"stackmeter/results/storetest"
)

// TestAttackOutputOverInput has each command write over what it reads or keeps, by
// every name that leads there: it refuses, and every file is what it was.
func TestAttackOutputOverInput(t *testing.T) {
	dir := t.TempDir()
	command(t, dir)
	in := func(name string) string { return filepath.Join(dir, name) }
	store, err := openStoreToWrite(t.Context(), in("s.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		store.Begin(t.Context(), results.Run{ID: "one", Scenario: "s", Started: time.Unix(1, 0)}),
		store.Put(t.Context(), storetest.Record("one", results.StatusOK, 1)), store.Close(),
		os.WriteFile(in("s.yaml"), []byte(`{name: s, app: {build: {context: app}, wsgi: "wsgi:app"}, topologies: [{server: flask, nginx: {config: my.conf}}],
			request: {method: POST, body: {files: [payload.bin]}}, matrix: {requests: [1], client: [single]}}`), 0o644),
		os.Mkdir(in("app"), 0o755), os.WriteFile(in("app/Dockerfile"), []byte("FROM scratch"), 0o644),
		os.WriteFile(in("app/wsgi.py"), []byte("app = None"), 0o644), os.Symlink("app/wsgi.py", in("served")),
		os.WriteFile(in("payload.bin"), nil, 0o644), os.WriteFile(in("my.conf"), []byte("{upstream}"), 0o644), os.WriteFile(in("ca.pem"), []byte("pem"), 0o644),
		os.Mkdir(in("charts"), 0o755), os.Link(in("s.db"), in("charts/memory.png")),
		os.Link(in("s.db"), in("hard.db")), os.Symlink("s.db", in("soft.db")), os.Symlink("new.db", in("dangling")),
		os.Symlink(".", in("here")), exec.Command("cp", in("s.db"), in("other.db")).Run(),
	); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	if status := (&app{stdout: io.Discard, stderr: console.NewTeller(io.Discard)}).main(strings.Fields("report --db s.db --format json -o r.json")); status != exitOK {
		t.Fatalf("exit status %d", status)
	}
	before := contents(t, dir)
	for _, line := range []string{
		"report --db s.db -o s.db", "report --db s.db -o hard.db", "report --db s.db -o ./here/s.db", "report --db soft.db -o s.db",
		"report --db s.db -o soft.db", "report --db soft.db -o s.db-wal", "report --db s.db -o here/s.db-shm", "report --db s.db -o s.db-journal",
		"report --db s.db -o .", "report --db s.db -o other.db", "report --db s.db >>s.db", "runs --db s.db >>hard.db",
		"report --db s.db --charts charts", "report --db s.db --charts . -o here/x.png",
		"history --db s.db -o s.db", "recommend --db s.db -o soft.db", "compare --db s.db one one -o hard.db", "compare one r.json --db s.db -o r.json",
		"backup s.db-wal --db s.db",
		"run s.yaml --db s.db --json s.db", "run s.yaml --db new.db --json new.db", "run s.yaml --db dangling --json here/new.db",
		"run s.yaml --db s.db --json s.yaml", "run s.yaml --db s.db --json payload.bin", "run s.yaml --db s.db --json my.conf",
		"run s.yaml --db s.db --json app/Dockerfile", "run s.yaml --db s.db --json app/wsgi.py", "run s.yaml --db s.db --json here/served",
		"run s.yaml --db payload.bin", "run s.yaml --db s.db --json - >>s.yaml",
		"run s.yaml --db s.db >>payload.bin", "run s.yaml --db s.db --json - >>app/Dockerfile", "run s.yaml --db s.db --json /dev/stdout >>s.db",
		"load http://127.0.0.1:1/ --file payload.bin >>payload.bin",
		"load http://127.0.0.1:1/ --file payload.bin --json here/payload.bin", "load https://127.0.0.1:1/ --ca ca.pem --json ca.pem",
	} {
		var out bytes.Buffer
		var status int
		if strings.Contains(line, ">>") {
			cmd := exec.CommandContext(t.Context(), "sh", "-c", "./stackmeter "+line)
			cmd.Stderr = &out
			_ = cmd.Run()
			status = cmd.ProcessState.ExitCode()
		} else {
			a := &app{stdout: io.Discard, stderr: console.NewTeller(&out)}
			status = a.main(strings.Fields(line))
		}
		if text := out.String(); status != exitUsage || !strings.Contains(text, "name another") && !strings.Contains(text, "write to another") && !strings.Contains(text, "folder") {
			t.Errorf("%s: exit status %d: %s", line, status, text)
		}
		if now := contents(t, dir); !maps.Equal(before, now) {
			t.Fatalf("%s changed the files: %v", line, slices.Sorted(maps.Keys(now)))
		}
	}
}

// contents are the files below a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	if err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && entry.Name() != "stackmeter" {
			var text []byte
			text, err = os.ReadFile(path)
			files[path] = string(text)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return files
}
