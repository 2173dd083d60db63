package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"stackmeter/cmd/stackmeter/runtimes"
	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/stacks/kubernetes"
	"stackmeter/stacks/process"
)

// The crash campaign's flags. The defaults are the short campaign that always
// runs; hundreds of kills are for a night:
//
//	go test ./cmd/stackmeter -run TestCrashCampaign -crash.kills=300 -timeout=3h -v
var (
	crashKills = flag.Int("crash.kills", 4, "kills of the crash campaign under each runtime")
	crashSeed  = flag.Uint64("crash.seed", 0, "seed of the crash campaign; 0: one of its own, which is printed")
)

const (
	// The scenario's cells take moments: most kills are to hit between them,
	// where stacks start and stop.
	crashScenario = `name: crash
app: {build: {context: APP}, dir: APP, wsgi: "wsgi:app", ready: {path: /healthz}}
request: {path: "/sleep?s=0.03"}
topologies: [flask, nginx + gunicorn w1/t2]
matrix: {requests: [6], client: [single, mt, mp], pool: [2]}
warmup: 1
`
	crashCells = 6
	crashHang  = 2 * time.Minute // after which a process that was told to end hangs
)

// TestCrashCampaign kills the orchestrator at random moments, resumes it, and
// kills it again, until the run has finished. Then every cell is there exactly
// once, none that was measured while the orchestrator was dying counts as ok,
// nothing of the run is left on the machine, and what stood beside it is
// untouched.
func TestCrashCampaign(t *testing.T) { crashCampaign(t, runtimes.Names[:2]) }

// TestCrashCampaignRounds is the same with stacks that stay up beside each other.
func TestCrashCampaignRounds(t *testing.T) {
	crashCampaign(t, runtimes.Names[:2], "--set", "fresh=run")
}

// TestKubernetesCrashCampaign is the same with stacks in the tests' cluster.
func TestKubernetesCrashCampaign(t *testing.T) {
	file := os.Getenv(clusterConfig)
	if file == "" {
		t.Skipf("needs a cluster: as root, stacks/kubernetes/cluster/cluster build, then up; and %s=FILE, its kubeconfig", clusterConfig)
	}
	t.Setenv("KUBECONFIG", file)
	crashCampaign(t, []string{kubernetes.Name}, "--image-prefix", "127.0.0.1:5000/stackmeter-test")
}

// clusterConfig names the kubeconfig of the cluster that stacks/kubernetes/cluster starts.
const clusterConfig = "STACKMETER_TEST_KUBECONFIG"

func crashCampaign(t *testing.T, runtimes []string, settings ...string) {
	seed := cmp.Or(*crashSeed, uint64(time.Now().UnixNano()))
	t.Logf("the campaign's seed: -crash.seed=%d", seed)
	built := filepath.Join(t.TempDir(), "stackmeter")
	if out, err := exec.Command("go", "build", "-o", built, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, runtime := range runtimes {
		t.Run(runtime, func(t *testing.T) {
			if runtime == process.Name {
				needsLocalPrograms(t)
			}
			c := &campaign{
				random: rand.New(rand.NewPCG(seed, uint64(len(runtime)))), runtime: runtime, settings: settings,
				bySignal: map[string]int{}, figures: map[string]int{},
			}
			if runtime == kubernetes.Name { // its environment is set
				c.session = newSessionAlone(t)
			} else {
				c.session = newSession(t)
			}
			c.install(built)
			c.scenario()
			bystanders := newBystanders(t)
			for c.kills < *crashKills && !t.Failed() {
				c.run()
			}
			bystanders.untouched()
			t.Logf("%s: %s", runtime, c.summary())
		})
	}
}

// needsLocalPrograms skips where the process runtime cannot start the
// scenario's servers.
func needsLocalPrograms(t *testing.T) {
	t.Helper()
	local, err := process.New()
	if err != nil {
		t.Skipf("needs local processes: %v", err)
	}
	for _, p := range local.Programs() {
		if p.Path == "" {
			t.Skipf("needs %s: %s", p.Name, p.Remedy)
		}
	}
}

// A campaign is run after run of one scenario under one runtime, each killed
// again and again until it finishes.
type campaign struct {
	*session
	runtime string
	random  *rand.Rand

	settings []string // of the scenario, on the command line

	temp     string // the folder for temporary files and for records of processes
	id       string // the run under way; empty before the first has begun
	owed     bool   // a killed process may have left containers that nobody has removed yet
	ok       map[string]results.Record
	groups   map[string]bool // control groups that records of processes named
	kills    int
	bySignal map[string]int
	figures  map[string]int
	slowest  time.Duration // that a process took to end after its last signal
}

// install puts the program that users run in the place of the test binary.
func (c *campaign) install(built string) {
	c.t.Helper()
	if err := errors.Join(os.Remove(c.program), os.Link(built, c.program)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *campaign) scenario() {
	c.t.Helper()
	c.temp = filepath.Join(c.dir, "temp")
	if err := os.Mkdir(c.temp, 0o700); err != nil {
		c.t.Fatal(err)
	}
	text := strings.ReplaceAll(crashScenario, "APP", testApp(c.t))
	if err := os.WriteFile(filepath.Join(c.dir, "crash.yaml"), []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// run goes on with one run until it has finished, killing it on the way as
// long as there are kills left.
func (c *campaign) run() {
	c.id, c.owed, c.ok, c.groups = "", false, map[string]results.Record{}, map[string]bool{}
	store := filepath.Join(c.dir, defaultStore)
	if err := os.Remove(store); err != nil && !errors.Is(err, os.ErrNotExist) {
		c.t.Fatal(err)
	}
	for !c.t.Failed() {
		var k *kill
		if c.kills < *crashKills {
			k = c.aim()
		}
		l := c.launch(k)
		c.judge(l)
		if l.status == exitOK {
			c.figures["runs finished"]++
			c.finished()
			return
		}
	}
}

// A kill is what is done to one process, and when.
type kill struct {
	signals []syscall.Signal
	group   bool          // to its process group, as a terminal does
	event   int           // after so many of its events …
	delay   time.Duration // … and then this long
	between time.Duration // the first signal and the second
}

func (k *kill) String() string {
	var names []string
	for _, s := range k.signals {
		names = append(names, map[syscall.Signal]string{syscall.SIGKILL: "SIGKILL", syscall.SIGTERM: "SIGTERM", syscall.SIGINT: "SIGINT"}[s])
	}
	return strings.Join(names, " twice, ")
}

// name is the kill's kind in the figures.
func (k *kill) name() string {
	if len(k.signals) > 1 {
		return "SIGINT twice"
	}
	return k.String()
}

// aim draws the next kill: half of them anywhere in a run's time, half right
// behind an event, where what was begun is least likely to be finished.
func (c *campaign) aim() *kill {
	k := &kill{group: c.random.IntN(2) == 0}
	switch c.random.IntN(4) {
	case 0:
		k.signals = []syscall.Signal{syscall.SIGKILL}
	case 1:
		k.signals = []syscall.Signal{syscall.SIGTERM}
	case 2:
		k.signals = []syscall.Signal{syscall.SIGINT}
	case 3:
		k.signals = []syscall.Signal{syscall.SIGINT, syscall.SIGINT}
		k.between = time.Duration(c.random.ExpFloat64() * float64(150*time.Millisecond))
	}
	if c.random.IntN(2) == 0 {
		whole := 3 * time.Second // about what an undisturbed run takes
		switch c.runtime {
		case process.Name:
			whole = 2 * time.Second
		case kubernetes.Name:
			whole = 20 * time.Second
		}
		k.delay = time.Duration(c.random.Int64N(int64(whole)))
	} else {
		k.event = 1 + c.random.IntN(16)
		k.delay = time.Duration(c.random.ExpFloat64() * float64(60*time.Millisecond))
	}
	return k
}

// A life is one process of the orchestrator, from its start to its end.
type life struct {
	kill    *kill
	hit     time.Time // when the last signal had been sent; zero: it ended before
	heard   time.Time // when it said that it was interrupted; zero: it did not
	status  int       // -1: ended by a signal
	hung    bool
	started bool            // it had swept, and was about to start stacks
	took    time.Duration   // from the last signal to its end
	told    map[string]bool // cells whose result it told of as ok
	stderr  bytes.Buffer
}

// launch starts the command, kills it as k says, and returns when it has
// ended.
func (c *campaign) launch(k *kill) *life {
	c.t.Helper()
	args := append([]string{"run", "crash.yaml", "--allow-path", testApp(c.t), "--runtime", c.runtime, "--progress", "json"}, c.settings...)
	if c.id != "" {
		args = append(args, "--resume")
		c.figures["resumes"]++
	}
	cmd := c.exec(context.Background(), args...)
	cmd.Env = append(cmd.Env, "TMPDIR="+c.temp, "XDG_RUNTIME_DIR="+c.temp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	l := &life{kill: k, told: map[string]bool{}}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	events := make(chan orchestrator.Event, 10_000) // more than a run sends: who reads must never wait
	go func() {
		defer close(events)
		l.read(stderr, func(e orchestrator.Event) { events <- e })
	}()
	l.strike(cmd.Process.Pid, k, events, c.note)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-time.After(crashHang):
		l.hung = true
		_ = cmd.Process.Signal(syscall.SIGQUIT) // where it hangs is in its output then
		select {
		case err = <-ended:
		case <-time.After(crashHang):
			_ = cmd.Process.Kill()
			err = <-ended
		}
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	l.status = cmd.ProcessState.ExitCode()
	if !l.hit.IsZero() {
		l.took = time.Since(l.hit)
	}
	return l
}

// note remembers what the records of processes name: who kills a supervisor
// kills the only one who knows.
func (c *campaign) note() {
	records, _ := filepath.Glob(filepath.Join(c.temp, "stackmeter", "*.json"))
	for _, file := range records {
		var record struct{ Groups []string }
		if text, err := os.ReadFile(file); err == nil && json.Unmarshal(text, &record) == nil {
			for _, group := range record.Groups {
				c.groups[group] = true
			}
		}
	}
}

// summary is the campaign's figures in one line.
func (c *campaign) summary() string {
	var parts []string
	for _, name := range sortedKeys(c.bySignal) {
		parts = append(parts, fmt.Sprintf("%s %d", name, c.bySignal[name]))
	}
	text := fmt.Sprintf("%d kills (%s)", c.kills, strings.Join(parts, ", "))
	for _, name := range []string{"resumes", "runs finished", "ended before the kill", "wrong exits", "failed cells", "leaks", "lost cells", "cells twice", "cells measured while dying", "hangs"} {
		text += fmt.Sprintf("; %s: %d", name, c.figures[name])
	}
	return text + fmt.Sprintf("; the slowest end after a signal: %.1f s", c.slowest.Seconds())
}

func sortedKeys(m map[string]int) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
