//go:build linux

package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/servers"
	"stackmeter/stacks/stackstest"
)

// Variables that make the re-executed test binary start a stack and wait to be
// killed.
const (
	orphanRun     = "STACKMETER_TEST_ORPHAN"
	orphanNoGroup = "STACKMETER_TEST_NO_GROUP"
)

// errNoGroup is why a runtime does without control groups where it could make them.
var errNoGroup = errors.New("control groups are switched off")

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == LauncherArgument {
		if err := Launcher(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// With -race every process, and each launcher is one, waits for a second
	// before it ends.
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	if run := os.Getenv(orphanRun); run != "" {
		if err := orphan(run); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// machine is a runtime whose records are the test's own, with the system's
// programs. Where one is missing the test is skipped.
func machine(t testing.TB, programs ...string) *Runtime {
	t.Helper()
	t.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needs %s: apt-get install python3-flask gunicorn nginx-light", name)
		}
	}
	r, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// grouped is a runtime that can limit what a stack uses.
func grouped(t *testing.T, programs ...string) *Runtime {
	t.Helper()
	r := machine(t, programs...)
	if err := r.Ungrouped(); err != nil {
		t.Skipf("needs control groups that this user may make: %v", err)
	}
	return r
}

func TestConformance(t *testing.T) {
	stackstest.NoLeaks(t)
	r := grouped(t, "flask", "gunicorn", "nginx")
	stackstest.Run(t, stackstest.Bench{Runtime: r, Leftovers: r.leftovers, Limits: true})
	if _, err := os.Stat(r.folders[0]); !os.IsNotExist(err) {
		t.Errorf("the folder of the records is still there: %v", err)
	}
}

func TestConformanceWithoutGroups(t *testing.T) {
	stackstest.NoLeaks(t)
	r := machine(t, "flask", "gunicorn", "nginx")
	r.ungrouped = errNoGroup
	stackstest.Run(t, stackstest.Bench{Runtime: r, Leftovers: r.leftovers})
}

// TestFoldersThatCannotBeUsed: no socket can be in a folder with a long path, and no
// configuration can name one with special characters.
func TestFoldersThatCannotBeUsed(t *testing.T) {
	r := machine(t, "gunicorn", "nginx")
	for name, topology := range map[string]scenarios.Topology{strings.Repeat("long", 30): stackstest.Socket, "a;b": stackstest.Nginx} {
		r.folders = []string{filepath.Join(t.TempDir(), name)}
		if _, err := r.Start(t.Context(), stackstest.Spec(t, "test-folders", topology, nil)); err == nil || !strings.Contains(err.Error(), "set XDG_RUNTIME_DIR") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(r.folders[0]); !os.IsNotExist(err) {
			t.Errorf("the folder of the records is still there: %v", err)
		}
	}
}

// TestFault08NoFixedPorts: see stackstest.NoFixedPorts.
func TestFault08NoFixedPorts(t *testing.T) {
	r := machine(t, "flask", "gunicorn", "nginx")
	stackstest.NoFixedPorts(t, stackstest.Bench{Runtime: r, Leftovers: r.leftovers})
}

// launch starts a stack of the test application that is stopped with the test.
func launch(t *testing.T, r *Runtime, topology scenarios.Topology, change func(*scenarios.Plan)) (stacks.Spec, *stack) {
	t.Helper()
	spec := stackstest.Spec(t, "test-"+filepath.Base(t.TempDir())+t.Name(), topology, change)
	if err := r.Prepare(t.Context(), spec, func(string) {}); err != nil {
		t.Fatal(err)
	}
	started, err := r.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := started.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if left, err := r.leftovers(context.Background(), spec.Run); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	return spec, started.(*stack)
}

func ready(t *testing.T, spec stacks.Spec, st stacks.Stack) {
	t.Helper()
	if err := stacks.WaitReady(t.Context(), spec, st); err != nil {
		var logs strings.Builder
		_ = st.Logs(t.Context(), &logs)
		t.Fatalf("%v\n%s", err, &logs)
	}
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ask() {
		select {
		case <-ctx.Done():
			t.Fatal(what)
		case <-tick.C:
		}
	}
}

// running lists the processes whose command line holds a text.
func running(t *testing.T, text string) []member {
	t.Helper()
	return slices.DeleteFunc(everyone(), func(m member) bool { return m.zombie || !strings.Contains(stacks.CommandLine(m.PID), text) })
}

// escapee is a command that leaves a process behind which has another parent,
// another session and no environment.
func escapee(name string) scenarios.Topology {
	return scenarios.Topology{Name: "escapee", Server: scenarios.ServerCommand, Command: []string{
		"sh", "-c", "(env -i setsid sleep " + name + " &) ; exec flask --app wsgi:app run --host {host} --port {port}"}}
}

func TestNothingEscapes(t *testing.T) {
	for name, noGroup := range map[string]bool{"with control groups": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			r := machine(t, "flask", "setsid")
			if noGroup {
				r.ungrouped = errNoGroup
			}
			seconds := fmt.Sprintf("98%d.%d", os.Getpid(), time.Now().UnixNano())
			spec, st := launch(t, r, escapee(seconds), nil)
			ready(t, spec, st)
			eventually(t, "it never started", func() bool { return len(running(t, "sleep "+seconds)) == 1 })
			facts, err := st.Inspect(t.Context())
			if err != nil || !slices.ContainsFunc(facts.Services[0].Processes, func(p stacks.Process) bool { return p.Command == "sleep "+seconds }) {
				t.Errorf("it is not among the service's processes: %+v, %v", facts, err)
			}
			if err := st.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			if left := running(t, "sleep "+seconds); len(left) > 0 {
				t.Errorf("still there: %+v", left)
			}
		})
	}
}

func orphan(run string) error {
	r, err := New()
	if err != nil {
		return err
	}
	if os.Getenv(orphanNoGroup) != "" {
		r.ungrouped = errNoGroup
	}
	spec, err := servers.Expand(run, stackstest.Plan(), stackstest.Nginx)
	if err != nil {
		return err
	}
	stack, err := r.Start(context.Background(), spec)
	if err != nil {
		return err
	}
	if err := stacks.WaitReady(context.Background(), spec, stack); err != nil {
		return err
	}
	fmt.Println("started")
	select {}
}

// abandon starts a stack in another process and returns that process.
func abandon(t *testing.T, run string, noGroup bool) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), orphanRun+"="+run)
	if noGroup {
		cmd.Env = append(cmd.Env, orphanNoGroup+"=1")
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "started\n" {
		t.Fatalf("it said %q: %v", line, err)
	}
	return cmd
}

func TestKilledOwner(t *testing.T) {
	for name, noGroup := range map[string]bool{"with control groups": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			r := machine(t, "flask", "gunicorn", "nginx")
			run := "test-killed-" + filepath.Base(t.TempDir()) + t.Name()
			cmd := abandon(t, run, noGroup)
			if _, err := r.Sweep(t.Context(), ""); err != nil {
				t.Error(err)
			}
			if left, err := r.leftovers(t.Context(), run); err != nil || len(left) < 4 {
				t.Errorf("its owner is alive; two services should be there: %v, %v", left, err)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			// Nobody sweeps: the supervisors notice by themselves.
			eventually(t, "a killed owner's stack is still there", func() bool {
				left, err := r.leftovers(t.Context(), run)
				return err == nil && len(left) == 0
			})
			eventually(t, "nginx or a supervisor is still there", func() bool { return len(running(t, r.folders[0])) == 0 })
			if _, err := os.Stat(r.folders[0]); !os.IsNotExist(err) {
				t.Errorf("the folder of the records is still there: %v", err)
			}
		})
	}
}

func TestKilledSupervisors(t *testing.T) {
	for name, noGroup := range map[string]bool{"with control groups": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			r := machine(t, "flask", "gunicorn", "nginx")
			run := "test-killed-" + filepath.Base(t.TempDir()) + t.Name()
			cmd := abandon(t, run, noGroup)
			records, err := readRecords(r.folders[0])
			if err != nil || len(records) != 2 {
				t.Fatalf("records: %v, %v", records, err)
			}
			// The supervisors before their owner: none of them sees its end.
			var members []member
			for _, rec := range records {
				members = append(members, rec.remaining()...)
				if err := rec.Supervisor.signal(9); err != nil {
					t.Fatal(err)
				}
			}
			if len(members) < 6 { // two supervisors, a master and a worker of each server
				t.Errorf("found as the stack's: %+v", members)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			removed, err := r.Sweep(t.Context(), "")
			if err != nil || len(removed) != 2 || !strings.Contains(removed[0], "service app of stack nginx+gunicorn-w1-t2 (process ") {
				t.Errorf("removed %q, %v", removed, err)
			}
			for _, m := range members {
				if m.alive() {
					t.Errorf("process %d (%s) runs", m.PID, stacks.CommandLine(m.PID))
				}
			}
			if left, err := r.leftovers(t.Context(), run); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
			if _, err := os.Stat(r.folders[0]); !os.IsNotExist(err) {
				t.Errorf("the folder of the records is still there: %v", err)
			}
		})
	}
}

// TestKilledSupervisorOfLivingOwner is the same where the stack is stopped as
// usual: Stop has to do the supervisor's work.
func TestKilledSupervisorOfLivingOwner(t *testing.T) {
	r := machine(t, "gunicorn", "flask")
	spec, st := launch(t, r, stackstest.Gunicorn, nil)
	ready(t, spec, st)
	if err := st.services[0].record.Supervisor.signal(9); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing was noticed", func() bool { return st.Check(t.Context()) != nil })
	if err := st.Check(t.Context()); !strings.Contains(err.Error(), "ended by someone else") {
		t.Errorf("its supervisor was killed: %v", err)
	}
	if err := st.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOutOfMemory(t *testing.T) {
	r := grouped(t, "flask")
	spec, st := launch(t, r, stackstest.Flask, func(p *scenarios.Plan) { p.Resources.Memory, p.Resources.CPUs = 200<<20, 1 })
	ready(t, spec, st)
	if resp, err := http.Get(st.URL() + "/memory?mib=400"); err == nil {
		resp.Body.Close()
		t.Errorf("400 MiB under a limit of 200 MiB: %s", resp.Status)
	}
	eventually(t, "nothing was noticed", func() bool { return st.Check(t.Context()) != nil })
	if err := st.Check(t.Context()); !errors.Is(err, stacks.ErrOutOfMemory) || !strings.HasSuffix(err.Error(), "it exited with status 137, which is signal 9 (killed)") {
		t.Errorf("killed for memory: %v", err)
	}
}

func TestWithoutGroups(t *testing.T) {
	r := machine(t, "flask")
	r.ungrouped = errNoGroup
	spec, st := launch(t, r, stackstest.Flask, nil)
	ready(t, spec, st)
	meter, err := st.Meter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	u := meter.Stop()
	if u.Method != methodProc || u.Memory == nil || *u.Memory < 5<<20 || u.KernelPeak != nil || u.CPU == nil {
		t.Errorf("usage: %+v", u)
	}
	if text := r.Describe(t.Context()); !strings.Contains(text, "memory from proc") {
		t.Errorf("described as %q", text)
	}
	if err := st.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if meter, err = st.Meter(t.Context()); err != nil {
		t.Fatal(err)
	}
	if u := meter.Stop(); u.Memory != nil || u.CPU != nil || u.Reason == "" {
		t.Errorf("usage of a stack that is gone: %+v", u)
	}
}

func TestEnvironmentOfAService(t *testing.T) {
	r := machine(t, "flask")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("LC_ALL", "C.UTF-8")
	spec, st := launch(t, r, stackstest.Flask, func(p *scenarios.Plan) { p.App.Env = map[string]string{"MODEL": "small {port}"} })
	ready(t, spec, st)
	facts, err := st.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	env := environOf(facts.Services[0].Processes[0].PID)
	for name, want := range map[string]string{"MODEL": "small {port}", "LC_ALL": "C.UTF-8", "CUDA_VISIBLE_DEVICES": "", "AWS_SECRET_ACCESS_KEY": "", launcherMark: ""} {
		if got := valueOf(env, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if !slices.Contains(env, "CUDA_VISIBLE_DEVICES=") {
		t.Error("the machine's GPUs are not hidden")
	}
	out, err := st.Exec(t.Context(), stacks.AppService, "sh", "-c", "pwd; echo $MODEL $AWS_SECRET_ACCESS_KEY")
	if want := stackstest.App().Build.Context + "\nsmall {port}\n"; err != nil || string(out) != want {
		t.Errorf("exec: %q, %v, want %q", out, err, want)
	}
}

func TestAddressInUse(t *testing.T) {
	r := machine(t, "python3")
	_, st := launch(t, r, scenarios.Topology{Name: "late", Server: scenarios.ServerCommand,
		Command: []string{"python3", "-c", "raise OSError(98, 'Address already in use', '{port}')"}}, nil)
	eventually(t, "nothing was noticed", func() bool { return st.Check(t.Context()) != nil })
	if err := st.Check(t.Context()); !strings.Contains(err.Error(), "exited with status 1: the address 127.0.0.1:") {
		t.Errorf("its port was taken: %v", err)
	}
}

func TestLauncherAlone(t *testing.T) {
	if err := Launcher(nil, strings.NewReader("{}"), os.Stdout); err == nil || !strings.Contains(err.Error(), "does nothing alone") {
		t.Errorf("started by hand: %v", err)
	}
}

func TestProgramWithoutLauncher(t *testing.T) {
	r := machine(t, "flask")
	spec := stackstest.Spec(t, "test-"+t.Name(), stackstest.Flask, nil)
	for _, command := range [][]string{{"/bin/false"}, {"yes"}, {"/no/such/program"}} {
		r.launcher = command
		if _, err := r.Start(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "supervisor") {
			t.Errorf("%q is no launcher: %v", command, err)
		}
	}
	t.Setenv(launcherMark, "1")
	if _, err := New(); err == nil {
		t.Error("a launcher may start stacks")
	}
}
