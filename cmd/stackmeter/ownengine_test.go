package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/lock"
	"stackmeter/results"
	"stackmeter/stacks/docker/enginetest"
)

// An ownEngine is an engine of the test's own that the command is run against.
type ownEngine struct {
	*enginetest.Engine
	t *testing.T
}

func startOwnEngine(t *testing.T, args ...string) *ownEngine {
	t.Helper()
	return &ownEngine{enginetest.New(t, enginetest.Options{Args: args}), t}
}

const guestScenario = `name: guest
app: {image: "%s", port: 8000, ready: {path: /}}
request: {path: /}
topologies: [{name: guest, command: [%s]}]
warmup: 1
matrix: {requests: [%d], client: [single]}
`

// run measures the guest and returns the exit status and the cells, after
// calling on for each event, with the process.
func (e *ownEngine) run(requests int, on func(orchestrator.Event, *os.Process), args ...string) (status int, cells []guestCell, said string) {
	e.t.Helper()
	program := filepath.Join(e.Dir, "stackmeter")
	if _, err := os.Stat(program); err != nil {
		program = command(e.t, e.Dir)
	}
	if err := os.WriteFile(filepath.Join(e.Dir, "guest.yaml"), fmt.Appendf(nil, guestScenario, enginetest.Guest, enginetest.GuestProgram, requests), 0o644); err != nil {
		e.t.Fatal(err)
	}
	cmd := e.Inside(program, append([]string{"run", "guest.yaml", "--json", "-", "--progress", "json"}, args...)...)
	cmd.Dir = e.Dir
	cmd.Env = append(cmd.Env, lock.FolderVariable+"="+e.Dir)
	var out bytes.Buffer
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	var all strings.Builder
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		fmt.Fprintln(&all, lines.Text())
		var event orchestrator.Event
		if json.Unmarshal(lines.Bytes(), &event) == nil && on != nil {
			on(event, cmd.Process)
		}
	}
	_ = cmd.Wait() // its status says it
	var result struct{ Cells []guestCell }
	if err := json.Unmarshal(out.Bytes(), &result); err != nil && out.Len() > 0 {
		e.t.Fatalf("%v\n%s", err, out.String())
	}
	return cmd.ProcessState.ExitCode(), result.Cells, all.String()
}

type guestCell struct {
	Cell     string
	Status   string
	Reason   string
	Flags    []string
	Replies  int
	Duration *float64 `json:"duration_s"`
}

// names lists the engine's containers and networks of stackmeter's.
func (e *ownEngine) names() []string {
	e.t.Helper()
	var names []string
	for _, list := range [][]string{{"ps", "-a", "--format", "{{.Names}}"}, {"network", "ls", "--format", "{{.Name}}"}} {
		out, err := e.Inside("docker", append(list, "--filter", "label=stackmeter.run")...).CombinedOutput()
		if err != nil {
			e.t.Fatalf("%v: %s", err, out)
		}
		names = append(names, strings.Fields(string(out))...)
	}
	return names
}

// TestFault07EngineRestarts stops and starts the engine in the middle of a
// cell.
func TestFault07EngineRestarts(t *testing.T) {
	e := startOwnEngine(t)
	restarted := 0
	status, cells, said := e.run(100, func(event orchestrator.Event, _ *os.Process) {
		if event.Kind == orchestrator.EventProgress && event.Done > 0 && restarted == 0 {
			restarted++
			e.Stop()
			e.Start()
		}
	})
	if restarted == 0 {
		t.Fatalf("the cell ended too soon\n%s", said)
	}
	if status != exitOK || len(cells) != 1 {
		t.Fatalf("exit status %d, %d cells\n%s", status, len(cells), said)
	}
	c := cells[0]
	if c.Status != results.StatusOK || c.Replies != 100 || c.Duration == nil || !slices.Contains(c.Flags, results.FlagRepeated) {
		t.Errorf("the cell: %+v\n%s", c, said)
	}
	if !strings.Contains(said, "waiting for the engine") || !strings.Contains(said, "the engine answers again") || !strings.Contains(said, "is void and is measured again") {
		t.Errorf("it was not said what happened:\n%s", said)
	}
	if left := e.names(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestFault09AddressPools has an engine whose only address range is somebody
// else's network.
func TestFault09AddressPools(t *testing.T) {
	e := startOwnEngine(t, "--default-address-pool", "base=10.213.7.0/28,size=28")
	if out, err := e.Inside("docker", "network", "create", "somebody-elses").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	status, cells, said := e.run(3, nil)
	if status != exitCellsFailed || len(cells) != 1 || cells[0].Status != results.StatusFailed {
		t.Fatalf("exit status %d, cells %+v\n%s", status, cells, said)
	}
	for _, part := range []string{"address pools are used up", "docker network ls", "stackmeter clean", "default-address-pools"} {
		if !strings.Contains(cells[0].Reason, part) {
			t.Errorf("the reason does not mention %q: %s", part, cells[0].Reason)
		}
	}
	if left := e.names(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if out, err := e.Inside("docker", "network", "inspect", "somebody-elses").CombinedOutput(); err != nil {
		t.Errorf("somebody else's network: %v, %s", err, out)
	}
}
