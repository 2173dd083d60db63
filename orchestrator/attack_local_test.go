package orchestrator_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"stackmeter/orchestrator/load/native"
	"stackmeter/scenarios"
	"stackmeter/stacks/process"
)

// firsts is how a shell finds the first processes of local services.
func firsts() string {
	return fmt.Sprintf("P=$(pgrep -P $(pgrep -d, -P %d -f %s)) || exit 1; ", os.Getpid(), process.LauncherArgument)
}

// TestAttackFrozenLocally: a control group to which somebody moved a local service is
// frozen for a moment. The cell is void, and measured again.
func TestAttackFrozenLocally(t *testing.T) {
	var attacks []attack
	for at, do := range map[string]string{
		"/sys/fs/cgroup/freezer": "echo FROZEN > $D/freezer.state; sleep 1; echo THAWED > $D/freezer.state",
		"/sys/fs/cgroup/unified": "echo 1 > $D/cgroup.freeze; sleep 1; echo 0 > $D/cgroup.freeze",
	} {
		dir := fmt.Sprintf("%s/stackmeter-test-%d", at, os.Getpid())
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Logf("needs to make a group that can be frozen: %v", err)
			continue
		}
		t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		})
		attacks = append(attacks, attack{scenarios.ClientSingle, firsts() + "D=" + dir + "; for one in $P; do echo $one > $D/cgroup.procs; done; " + do,
			"service app was disturbed from outside: its control group was frozen"})
	}
	b := newBench(t)
	b.local()
	b.Client = &lasting{Client: &native.Client{}, begun: map[int]bool{}}
	b.attacked(attacks)
}

// TestAttackKilledLocally: nobody can say who killed a service. It is to blame, as a
// container's is (TestFault12ServerCrashes).
func TestAttackKilledLocally(t *testing.T) {
	b := newBench(t)
	b.local()
	b.onceUnderLoad("flask", func() {
		if out, err := exec.Command("sh", "-c", firsts()+"kill -KILL $P").CombinedOutput(); err != nil {
			b.t.Errorf("%v: %s", err, out)
		}
	})
	records := b.mustExecute(b.plan("request: {path: '/sleep?s=0.02', max_errors: 100%}\ntopologies: [flask]\nmatrix: {requests: [100], client: [single]}\n"))
	failed(t, records, "flask/single/n100", "service app ended: exited with status 137, which is signal 9 (killed)")
}
