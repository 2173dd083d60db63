package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"stackmeter/orchestrator/lock"
	"stackmeter/stacks/docker"
)

// TestMain makes the test binary the command stackmeter too, as the scripts
// and the client processes start it.
func TestMain(m *testing.M) {
	testscript.Main(ownLocks{m}, map[string]func(){
		"stackmeter": main,
	})
}

// ownLocks are tests whose runs lock no folder but their own, so that they
// neither wait for another's runs on this machine nor make it wait.
type ownLocks struct{ *testing.M }

func (m ownLocks) Run() int {
	folder, err := os.MkdirTemp("", "stackmeter-locks-")
	if err == nil {
		// With the race detector a process sleeps for a second before it ends.
		err = errors.Join(os.Setenv(lock.FolderVariable, folder), os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	return m.M.Run()
}

// TestScripts runs testdata/script/*.txtar: each is a command line session.
// Those that need an engine begin with [!docker] skip.
func TestScripts(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("ROOT", root)
			env.Setenv("URL", serve(env))
			env.Setenv("APP", filepath.Join(root, "stacks", "stackstest", "testdata", "app"))
			env.Setenv(lock.FolderVariable, env.WorkDir) // scripts run side by side
			for _, name := range []string{"DOCKER_HOST", "HOME", "GORACE"} {
				env.Setenv(name, os.Getenv(name))
			}
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond != "docker" {
				return false, nil
			}
			engine, err := docker.New()
			if err != nil {
				return false, nil
			}
			defer engine.Close()
			return engine.Check(t.Context()) == nil && engine.Image(t.Context(), docker.BaseImage) != "", nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":    status,
			"leftovers": leftovers,
			"readme":    readmeScenario,
			"answers":   answers,
		},
	})
}

// serve is a server for the load client alone:
//
//	/          answers
//	/every/3   fails every third time
//	/changing  never answers the same twice
//	/echo      says what it got
//	/stream    sends five server-sent events, and then [DONE]
func serve(env *testscript.Env) (url string) {
	var asked atomic.Int64
	routes := http.NewServeMux()
	routes.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })
	routes.HandleFunc("/every/3", func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1)%3 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	routes.HandleFunc("/changing", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, asked.Add(1)) })
	routes.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		said := map[string]any{"method": r.Method, "query": r.URL.RawQuery, "tenant": r.Header.Get("X-Tenant"), "host": r.Host}
		if file, head, err := r.FormFile("file"); err == nil {
			text, _ := io.ReadAll(file)
			said["name"], said["text"] = head.Filename, string(text)
		} else {
			text, _ := io.ReadAll(r.Body)
			said["text"] = string(text)
		}
		_ = json.NewEncoder(w).Encode(said)
	})
	routes.HandleFunc("/stream", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			fmt.Fprintf(w, "data: {\"n\": %d}\n\n", i)
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
		fmt.Fprint(w, "data: [DONE]\n\n")
	})
	server := httptest.NewServer(routes)
	env.Defer(server.Close)
	return server.URL
}

// status runs a command that has to end with the given exit status:
// status 2 stackmeter plan x.yaml. 0|3 is either.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND [ARGUMENT ...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		got = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if !slices.Contains(strings.Split(args[0], "|"), strconv.Itoa(got)) {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}

// leftovers fails when a container or network exists of the run whose JSON
// result is in the named file.
func leftovers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: leftovers RESULT.json")
	}
	var result struct{ Run struct{ ID string } }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &result))
	engine, err := docker.New()
	ts.Check(err)
	defer engine.Close()
	removed, err := engine.Sweep(context.Background(), result.Run.ID)
	ts.Check(err)
	if len(removed) > 0 || result.Run.ID == "" {
		ts.Fatalf("left behind by run %q: %v", result.Run.ID, removed)
	}
}
