package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestIn finds a container's group as each engine and driver names it, and no other.
func TestIn(t *testing.T) {
	const id, other = "0123456789abcdef", "fedcba9876543210"
	for _, test := range []struct {
		name  string
		v1    bool
		below string // the group; the others are beside it
		found bool
	}{
		{"cgroupfs", false, "kubepods/burstable/pod7/" + id, true},
		{"containerd, systemd", false, "kubepods.slice/kubepods-pod7.slice/cri-containerd-" + id + ".scope", true},
		{"CRI-O", false, "kubepods.slice/kubepods-pod7.slice/crio-" + id + ".scope", true},
		{"the monitor of CRI-O", false, "kubepods.slice/kubepods-pod7.slice/crio-conmon-" + id + ".scope", false},
		{"version 1", true, "kubepods/pod7/" + id, true},
		{"a longer id", false, "kubepods/pod7/" + id + "0", false},
		{"part of an id", false, "kubepods/pod7/" + id[1:], false},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			put := func(folder, file string) string {
				dir := filepath.Join(root, folder)
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, file), []byte("0\n"), 0o644); err != nil {
					t.Fatal(err)
				}
				return dir
			}
			want := Group{Method: methodV2, memory: filepath.Join(root, test.below)}
			want.cpu, want.freezer = want.memory, want.memory
			if test.v1 {
				put("memory", "memory.stat")
				want = Group{Method: methodV1, memory: put("memory/"+test.below, "memory.usage_in_bytes"),
					cpu: put("cpuacct/"+test.below, "cpuacct.usage"), freezer: put("freezer/"+test.below, "freezer.state")}
			} else {
				put(test.below, "memory.current")
			}
			put(filepath.Join(filepath.Dir(test.below), other), "memory.current")
			got, err := In(root, id)
			if !test.found && (err == nil || !strings.Contains(err.Error(), "there is none below "+root)) {
				t.Errorf("found %+v, %v", got, err)
			}
			if test.found && (err != nil || got != want) {
				t.Errorf("%+v, %v; want %+v", got, err, want)
			}
		})
	}
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "kubepods", id), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := In(root, id); err == nil || !strings.Contains(err.Error(), "the memory controller is not on there") {
		t.Errorf("without the controller: %v", err)
	}
	if got, err := In(root, ""); err == nil {
		t.Errorf("without an id: %+v", got)
	}
}
