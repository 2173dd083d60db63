package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stackmeter/orchestrator"
	"stackmeter/stacks"
	"stackmeter/stacks/docker"
)

// Bystanders are other people's things on the machine: containers, networks
// and volumes that nobody but their owner may touch, among them some that look
// like stackmeter's, and a process. They are made with the engine's own
// command, as other people make theirs.
type bystanders struct {
	t       *testing.T
	mark    string   // in all their names
	names   []string // of a container, of its network and of a volume
	before  string   // what the engine said of all
	process *exec.Cmd
}

func newBystanders(t *testing.T) *bystanders {
	t.Helper()
	b := &bystanders{t: t, mark: strings.ToLower(rand.Text()[:8])}
	t.Cleanup(b.remove)
	self, err := stacks.Self()
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := self
	elsewhere.Namespace, elsewhere.PID = "pid:[1]", 1
	remote := elsewhere
	remote.Boot, remote.Machine = "another", "another/machine"
	mark := b.mark
	var adding sync.WaitGroup
	run := docker.LabelRun + "=bystander-" + mark
	for kind, labels := range map[string][]string{
		"plain":     nil,
		"foreign":   {"com.example.owner=someone else", "stackmeter=no"},
		"unowned":   {run},
		"alive":     {run, docker.LabelStack + "=a" + mark, docker.LabelOwner + "=" + self.String()},
		"elsewhere": {run, docker.LabelStack + "=b" + mark, docker.LabelOwner + "=" + elsewhere.String()},
		"remote":    {run, docker.LabelStack + "=c" + mark, docker.LabelOwner + "=" + remote.String()},
	} {
		name := fmt.Sprintf("stackmeter-%s-%s", mark, kind)
		b.names = append(b.names, name)
		adding.Go(func() { b.add(name, labels) })
	}
	adding.Wait()
	b.before = b.state()
	b.process = exec.Command("sleep", "86400")
	b.process.Env = []string{"STACKMETER_RUN=bystander-" + mark, "STACKMETER_SERVICE=" + mark}
	if err := b.process.Start(); err != nil {
		t.Fatal(err)
	}
	return b
}

// add makes a volume, a network and a container in it that runs for as long as it is
// let.
func (b *bystanders) add(name string, labels []string) {
	b.t.Helper()
	var labelled []string
	for _, label := range labels {
		labelled = append(labelled, "--label", label)
	}
	b.docker(append(append([]string{"network", "create"}, labelled...), name)...)
	b.docker(append(append([]string{"volume", "create"}, labelled...), name)...)
	b.docker(append(append([]string{"run", "--detach", "--name", name, "--network", name}, labelled...), docker.BaseImage, "sleep", "86400")...)
}

// state is what must not change of the containers, networks and volumes.
func (b *bystanders) state() string {
	b.t.Helper()
	return b.docker(append([]string{"container", "inspect", "--format", "{{.Name}} {{.Id}} {{.State.Status}} {{.State.StartedAt}} {{json .NetworkSettings.Networks}}"}, b.names...)...) +
		b.docker(append([]string{"network", "inspect", "--format", "{{.Name}} {{.Id}} {{json .Containers}}"}, b.names...)...) +
		b.docker(append([]string{"volume", "inspect", "--format", "{{.Name}} {{.CreatedAt}} {{.Mountpoint}}"}, b.names...)...)
}

func (b *bystanders) docker(args ...string) string {
	b.t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		b.t.Errorf("docker %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// untouched fails the test when a bystander is no longer what it was.
func (b *bystanders) untouched() {
	b.t.Helper()
	if now := b.state(); now != b.before {
		b.t.Errorf("the bystanders were\n%s, and are\n%s", b.before, now)
	}
	if err := b.process.Process.Signal(syscall.Signal(0)); err != nil {
		b.t.Errorf("a bystander's process: %v", err)
	}
}

func (b *bystanders) remove() {
	if b.process != nil {
		_ = b.process.Process.Kill()
		_ = b.process.Wait()
	}
	b.docker(append([]string{"rm", "--force"}, b.names...)...)
	b.docker(append([]string{"network", "rm"}, b.names...)...)
	// An engine's "removed" is no proof: volumes were still there after it.
	for range 10 {
		b.docker(append([]string{"volume", "rm", "--force"}, b.names...)...)
		if left := b.docker("volume", "ls", "--quiet", "--filter", "name=^stackmeter-"+b.mark+"-"); left == "" {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	b.t.Errorf("volumes of stackmeter-%s are still there", b.mark)
}

// TestFault28Bystanders: a run that is killed, cleaned up after, interrupted
// twice and finished, beside other people's containers, networks and
// processes. Nothing of theirs is touched.
func TestFault28Bystanders(t *testing.T) {
	s := newSession(t)
	b := newBystanders(t)
	s.run(once(syscall.SIGKILL, orchestrator.EventCell, "flask"))
	b.untouched()
	out, err := s.exec(t.Context(), "clean").CombinedOutput()
	if err != nil {
		t.Errorf("clean: %v\n%s", err, out)
	}
	for _, name := range b.names {
		if strings.Contains(string(out), name) {
			t.Errorf("clean speaks of %s:\n%s", name, out)
		}
	}
	b.untouched()
	s.run(func(e orchestrator.Event, p *os.Process) {
		if e.Kind == orchestrator.EventCell {
			_ = p.Signal(syscall.SIGINT)
			_ = p.Signal(syscall.SIGINT)
		}
	}, "--resume")
	b.untouched()
	_, records := s.stored()
	s.finish(records)
	b.untouched()
}
