package orchestrator_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/load"
	"stackmeter/orchestrator/load/native"
	"stackmeter/orchestrator/load/python"
	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/stacks/docker"
	"stackmeter/stacks/process"
)

// top are the PIDs on this machine of the run's processes whose command line has
// the words, oldest first.
func (b *bench) top(words string) []int {
	b.t.Helper()
	var pids []int
	for _, id := range b.containers() {
		out, err := exec.Command("docker", "top", id, "-o", "pid,args").Output()
		if err != nil {
			b.t.Error(err)
		}
		for line := range strings.Lines(string(out)) {
			pid, command, _ := strings.Cut(strings.TrimSpace(line), " ")
			if n, err := strconv.Atoi(pid); err == nil && strings.Contains(command, words) {
				pids = append(pids, n)
			}
		}
	}
	slices.Sort(pids)
	return pids
}

// TestAttackEndedBehindNginx: the client sees nothing but a 502, which the scenario
// allows. The cell fails all the same, and the next one has a stack of its own.
func TestAttackEndedBehindNginx(t *testing.T) {
	t.Parallel() // it mostly waits for containers
	b := newBench(t)
	records := b.mustExecute(b.plan(`
request: {path: "/kill-parent?n=8&signal=15", max_errors: 100%}
warmup: 0
topologies: [nginx + gunicorn w1/t2]
matrix: {requests: [40], client: [mt], pool: [2], include: [{client: mt, pool: 4, requests: 6}]}
`))
	r := failed(t, records, "nginx+gunicorn-w1-t2/mt2/n40", "a service ended during the cell")
	if r.Errors == 0 || r.ErrorKinds["status"] != r.Errors {
		t.Errorf("the client saw %v", r.ErrorKinds)
	}
	if next := records["nginx+gunicorn-w1-t2/mt4/n6"]; next.Status != results.StatusOK || next.Errors > 0 {
		t.Errorf("the next cell: %s %s, %d errors", next.Status, next.Reason, next.Errors)
	}
}

// TestAttackWorkerReplaced: a worker of nginx or of a command of the scenario's own is
// killed and replaced, and hardly any request fails. One that its server replaces on
// purpose is said.
func TestAttackWorkerReplaced(t *testing.T) {
	for _, test := range []struct{ name, topology, kill, reason string }{
		{"nginx", "nginx + gunicorn w1/t2", "nginx: worker", "service nginx: nginx's workers ended during the cell"},
		{"uwsgi", `{name: own, command: [uwsgi, --plugin, python3, --http-socket, "{host}:{port}", --master, --processes, "2", --module, "{wsgi}"]}`, "uwsgi", "service app: uwsgi's workers ended during the cell"},
		{"max requests", `{name: own, command: [gunicorn, --bind, "{host}:{port}", --workers, "2", --max-requests, "20", "{wsgi}"]}`, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // it mostly waits for containers
			b := newBench(t)
			plan := b.plan(`
request: {path: "/sleep?s=0.02", max_errors: 100%}
topologies: [` + test.topology + `]
matrix: {requests: [60], client: [single]}
`)
			b.onceUnderLoad(plan.Trials[0].Topology.Name, func() {
				if found := b.top(test.kill); test.kill != "" && len(found) > 0 {
					if err := syscall.Kill(found[len(found)-1], syscall.SIGKILL); err != nil {
						t.Error(err)
					}
				}
			})
			for cell, r := range b.mustExecute(plan) {
				if (test.reason == "") != (r.Status == results.StatusOK) || !strings.Contains(r.Reason, test.reason) || slices.Contains(r.Flags, results.FlagRecycled) != (test.reason == "") {
					t.Errorf("%s: %s %s, flags %v\n%s", cell, r.Status, r.Reason, r.Flags, r.LogTail)
				}
			}
		})
	}
}

// An attack is what somebody does during a cell, in words of the shell.
type attack struct{ client, do, said string }

// TestAttackInterference: somebody halts, cuts off or kills a part of what is
// measured. The cell is void, by its cause, and measured again; the next one is not.
func TestAttackInterference(t *testing.T) {
	const (
		app     = "P=$(pgrep -P $INIT | head -1); "
		worker  = "P=$(pgrep -P $SELF -f '[l]oad-worker' | head -1); "
		local   = "P=$(pgrep -P $SELF -f '[s]tackmeter-client'); "
		client  = "CLIENT=$(docker ps --quiet --filter label=stackmeter.run=$RUN --filter label=stackmeter.service=load-client); "
		beside  = client + "P=$(docker inspect -f '{{.State.Pid}}' $CLIENT); P=$(pgrep -P $P | head -1); "
		pooled  = "P=$(pgrep -P $P | head -1); "
		halt    = "kill -STOP $P; sleep 1; kill -CONT $P"
		stopped = "was disturbed from outside: a signal stopped "
		killed  = "was disturbed from outside: signal: killed"
		frozen  = "was stopped by a signal or a debugger"
	)
	served := "P=$(pgrep -P $SELF -f '[" + process.LauncherArgument[:1] + "]" + process.LauncherArgument[1:] + "'); "
	for _, test := range []struct {
		name    string
		local   bool
		client  load.Client
		attacks []attack
	}{
		{"docker, native", false, &native.Client{}, []attack{
			{scenarios.ClientSingle, "docker pause $APP; sleep 0.2; docker unpause $APP", "service app was disturbed from outside: it was paused through the engine"},
			{scenarios.ClientSingle, "N=$(docker inspect -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}}{{end}}' $APP); docker network disconnect -f $N $APP; docker network connect $N $APP", "service app was disturbed from outside: it was disconnected from its network"},
			{scenarios.ClientSingle, app + halt, frozen},
			{scenarios.ClientSingle, app + "kill -STOP $P", frozen},
		}},
		{"docker, python-requests", false, &python.Client{Launcher: besideStack{}}, []attack{
			{scenarios.ClientSingle, client + "docker stop $CLIENT", "the load client's container was disturbed from outside: it was ended by signal 15"},
			{scenarios.ClientSingle, client + "docker pause $CLIENT", "service load-client was disturbed from outside: it was paused"},
			{scenarios.ClientSingle, beside + "kill -KILL $P", "it was ended by signal 9"},
			{scenarios.ClientSingle, beside + halt, stopped},
			{scenarios.ClientMP, beside + pooled + "kill -KILL $P", "of the pool ended with status -9"},
		}},
		{"process, native", true, &native.Client{}, []attack{
			{scenarios.ClientSingle, served + "kill -KILL $P", "its supervisor"},
			{scenarios.ClientSingle, served + pooled + halt, frozen},
			{scenarios.ClientSingle, worker + halt, stopped},
			{scenarios.ClientMP, worker + "kill -STOP $P", stopped},
			{scenarios.ClientMP, worker + "kill -KILL $P", killed},
			{scenarios.ClientSingle, "kill -STOP $SELF; sleep 1; kill -CONT $SELF", "stackmeter itself was disturbed from outside"},
		}},
		{"process, python-requests", true, &python.Client{Launcher: python.Local{}}, []attack{
			{scenarios.ClientSingle, served + "kill -KILL $P", "its supervisor"},
			{scenarios.ClientSingle, local + "kill -KILL $P", killed},
			{scenarios.ClientSingle, local + halt, stopped},
			{scenarios.ClientMP, local + pooled + halt, stopped},
			{scenarios.ClientMP, local + pooled + "kill -KILL $P", "of the pool ended with status -9"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			if test.local {
				b.local()
			}
			if c, ok := test.client.(*python.Client); ok && !test.local {
				c.Launcher = besideStack{b.engine}
			}
			b.Client = &lasting{Client: test.client, begun: map[int]bool{}}
			b.attacked(test.attacks)
		})
	}
}

// besideStack starts Python's client in a container beside the stack.
type besideStack struct{ runtime *docker.Runtime }

func (s besideStack) Image(ctx context.Context, progress func(string)) (string, error) {
	return s.runtime.ClientImage(ctx, progress)
}

func (s besideStack) Launch(ctx context.Context, url string) (python.Process, error) {
	return s.runtime.RunClient(ctx, url, python.Argv("python3"))
}

// A lasting client sends a cell's load for as long as it takes to attack it, and
// what was asked for when it is measured again.
type lasting struct {
	load.Client
	begun map[int]bool // by the number of requests
}

func (l *lasting) Prepare(ctx context.Context, job load.Job) (load.Batch, error) {
	if again := l.begun[job.Load.Requests]; !again && job.Load.Requests < unattacked {
		l.begun[job.Load.Requests] = true
		job.Load.Requests *= 30 // a quarter of a minute and more
	}
	return l.Client.Prepare(ctx, job)
}

// Cells of an attacked plan, by their numbers of requests.
const (
	least      = 10 // of the first attacked one
	unattacked = 30
)

// attacked runs a plan with a cell for each attack, and one without.
func (b *bench) attacked(attacks []attack) {
	b.t.Helper()
	var loads []string
	for i, a := range attacks {
		load := fmt.Sprintf("{client: %s, requests: %d", a.client, least+i)
		if a.client == scenarios.ClientMP {
			load += ", pool: 1"
		}
		loads = append(loads, load+"}")
	}
	done := map[int]bool{}
	environment := append(os.Environ(), "SELF="+strconv.Itoa(os.Getpid()), "RUN="+b.run)
	b.onEvent = func(e orchestrator.Event) {
		i := e.Requests - least
		if e.Kind == orchestrator.EventReady {
			found := b.containers()
			if len(found) == 0 {
				return // local processes
			}
			init, err := exec.Command("docker", "inspect", "--format", "{{.State.Pid}}", found[0]).Output()
			if err != nil {
				b.t.Error(err)
			}
			environment = append(environment, "APP="+found[0], "INIT="+strings.TrimSpace(string(init)))
		}
		if e.Kind != orchestrator.EventProgress || e.Done == 0 || e.Requests == unattacked || done[i] {
			return
		}
		done[i] = true
		cmd := exec.Command("sh", "-c", attacks[i].do)
		cmd.Env = environment                                                                         // of each name, the last value holds
		if out, err := cmd.CombinedOutput(); err != nil && !strings.Contains(attacks[i].do, "CONT") { // which may be too late
			b.t.Errorf("%s: %v: %s", attacks[i].do, err, out)
		}
	}
	records := b.mustExecute(b.plan("request: {path: '/sleep?s=0.05', max_errors: 100%, timeout: 20s}\nwarmup: 0\ntopologies: [flask]\n" +
		fmt.Sprintf("matrix: {requests: [%d], client: [single], include: [%s]}\n", unattacked, strings.Join(loads, ", "))))
	for cell, r := range records {
		i := r.Cell.Load.Requests - least
		said := ""
		for _, e := range b.events {
			if e.Cell == cell && strings.Contains(e.Message, "is void and is measured again on a new stack") {
				said = e.Message
			}
		}
		switch {
		case r.Status != results.StatusOK || slices.Contains(r.Flags, results.FlagRepeated) != (i < len(attacks)):
			b.t.Errorf("%s: %s %s, flags %v; told %q", cell, r.Status, r.Reason, r.Flags, said)
		case i < len(attacks) && (!done[i] || !strings.Contains(said, attacks[i].said)):
			b.t.Errorf("%s after %s: told %q, want %q", cell, attacks[i].do, said, attacks[i].said)
		}
	}
}

// TestAttackStarvedClient: other programs have the client's core. Nothing stops it, and
// every request is answered: the cell is flagged.
func TestAttackStarvedClient(t *testing.T) {
	for _, test := range []struct {
		name     string
		client   load.Client
		requests int // so many that the machine is looked at while they are sent
	}{{"native", &native.Client{}, 2000}, {"python-requests", &python.Client{Launcher: python.Local{}}, 200}} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			b.local()
			b.Client = test.client
			for range 6 {
				busy := exec.Command("taskset", "--cpu-list", "0", "sh", "-c", "while :; do :; done")
				if err := busy.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					_ = busy.Process.Kill()
					_ = busy.Wait()
				})
			}
			plan := b.plan(fmt.Sprintf("topologies: [flask]\nclient: {cpuset: '0'}\nmatrix: {requests: [%d], client: [single]}\n", test.requests))
			for cell, r := range b.mustExecute(plan) {
				if r.Status != results.StatusOK || !slices.Contains(r.Flags, load.FlagClientStarved) {
					t.Errorf("%s: %s %s, flags %v, %v s", cell, r.Status, r.Reason, r.Flags, *r.Duration)
				}
			}
		})
	}
}
