package python

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios/wire"
)

func TestCannotStart(t *testing.T) {
	c := local(t)
	job := load.Job{URL: "http://127.0.0.1:9", Request: get("/"), Load: modes(1, false)[0]}
	script := filepath.Join(t.TempDir(), "python")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho 'No module named requests' >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	silent := filepath.Join(t.TempDir(), "python")
	if err := os.WriteFile(silent, []byte("#!/bin/sh\nexec sleep 600\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(t.TempDir(), "python")
	if err := os.WriteFile(wrong, []byte("#!/bin/sh\necho hello; exec sleep 600\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		python string
		change func(*load.Job)
		says   string
	}{
		{"no interpreter", "/nonexistent/python3", nil, "no such file"},
		{"no module", script, nil, "No module named requests"},
		{"no Python", wrong, nil, "what the Python client says"},
		{"an expression that is none", "", func(j *load.Job) { j.Request.Expect.Match = "(" }, "missing closing"},
		{"no file", "", func(j *load.Job) { j.Request.Body = &wire.Body{Files: []string{"/nonexistent"}} }, "no such file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			one, job := &Client{Launcher: c.Launcher}, job
			if test.python != "" {
				one.Launcher = Local{Python: test.python}
			}
			if test.change != nil {
				test.change(&job)
			}
			b, err := one.Prepare(t.Context(), job)
			if err == nil {
				b.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("Prepare: %v; want %q", err, test.says)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("the test's reason")
		cancel(why)
		if _, err := (&Client{Launcher: Local{Python: silent}}).Prepare(ctx, job); !errors.Is(err, why) {
			t.Errorf("Prepare: %v", err)
		}
	})
}
