package orchestrator_test

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/scenarios"
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

// TestAttackInterference: somebody halts, cuts off or kills a part of what is
// measured for a moment, and every request is answered. The cell is void, by its
// cause, and measured again.
func TestAttackInterference(t *testing.T) {
	for _, test := range []struct{ name, do, said string }{
		{"pause", "docker pause $C && sleep 1; docker unpause $C", "service app was disturbed from outside: it was paused through the engine"},
		{"network", "N=$(docker inspect -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}}{{end}}' $C); docker network disconnect -f $N $C; sleep 1; docker network connect $N $C", "service app was disturbed from outside: it was disconnected from its network"},
		{"worker stopped", "P=$(docker inspect -f '{{.State.Pid}}' $C); P=$(pgrep -P $P | head -1); kill -STOP $P; sleep 1; kill -CONT $P", "was stopped by a signal or a debugger"},
		{"client stopped", "P=$(pgrep -P $SELF -f '[l]oad-worker'); kill -STOP $P; sleep 1; kill -CONT $P", "was disturbed from outside: a signal stopped it"},
		{"client killed", "kill -KILL $(pgrep -P $SELF -f '[l]oad-worker')", "was disturbed from outside: signal: killed"},
		{"stackmeter stopped", "kill -STOP $SELF; sleep 1; kill -CONT $SELF", "stackmeter itself was disturbed from outside"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			b.onceUnderLoad("flask", func() {
				cmd := exec.Command("sh", "-c", test.do)
				cmd.Env = append(os.Environ(), "C="+b.containers()[0], "SELF="+strconv.Itoa(os.Getpid()))
				if out, err := cmd.CombinedOutput(); err != nil && !strings.Contains(test.do, "kill -CONT") {
					t.Logf("%v: %s", err, out) // the stack may be gone before it is restored
				}
			})
			b.voided(b.plan("request: {path: '/sleep?s=0.02', max_errors: 100%}\ntopologies: [flask]\nmatrix: {requests: [100], client: [single]}\n"), test.said)
		})
	}
}

// TestAttackSupervisorKilled: what a local service runs under is no part of the stack.
func TestAttackSupervisorKilled(t *testing.T) {
	b := newBench(t)
	b.local()
	b.onceUnderLoad("flask", func() {
		if out, err := exec.Command("pkill", "-KILL", "-P", strconv.Itoa(os.Getpid()), "-f", process.LauncherArgument).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	b.voided(b.plan("request: {path: '/sleep?s=0.02', max_errors: 100%}\ntopologies: [flask]\nmatrix: {requests: [100], client: [single]}\n"), "its supervisor")
}

// voided runs a plan of one cell and checks that it was void once, for a reason.
func (b *bench) voided(plan scenarios.Plan, reason string) {
	b.t.Helper()
	for cell, r := range b.mustExecute(plan) {
		told := slices.ContainsFunc(b.events, func(e orchestrator.Event) bool {
			return strings.Contains(e.Message, "is void and is measured again on a new stack") && strings.Contains(e.Message, reason)
		})
		if !told || r.Status != results.StatusOK || !slices.Contains(r.Flags, results.FlagRepeated) {
			b.t.Errorf("%s: told %v; %s %s, flags %v, longest gap %v s", cell, told, r.Status, r.Reason, r.Flags, r.Memory.MaxGap)
			for _, e := range b.events {
				if e.Message != "" {
					b.t.Log(e.Message)
				}
			}
		}
	}
}
