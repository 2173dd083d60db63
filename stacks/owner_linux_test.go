package stacks

import (
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFault01KilledZombie kills an owner whose parent does not wait for it, as
// the first process of many containers does not.
func TestFault01KilledZombie(t *testing.T) {
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	owner := self
	owner.PID = cmd.Process.Pid
	if owner.Start, err = StartTime(owner.PID); err != nil {
		t.Fatal(err)
	}
	if owner.Gone(self) {
		t.Error("it counts as gone before it was killed")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// Until it has ended, and without taking it away.
	if err := unix.Waitid(unix.P_PID, owner.PID, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if start, err := StartTime(owner.PID); err != nil || start != owner.Start {
		t.Fatalf("it is no zombie: %v", err)
	}
	if !owner.Gone(self) {
		t.Error("a zombie counts as alive")
	}
}
