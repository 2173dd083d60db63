package gpu

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var (
	idA = strings.Repeat("a1", 32)
	idB = strings.Repeat("b2", 32)
)

// proc writes processes into a folder that stands for /proc.
type proc struct {
	tb   testing.TB
	root string
}

// put writes one process.
func (p proc) put(pid, parent, session int, start uint64, cgroup string) {
	p.tb.Helper()
	dir := filepath.Join(p.root, fmt.Sprint(pid))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		p.tb.Fatal(err)
	}
	stat := fmt.Sprintf("%d (a (b) c) S %d 1 %d 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0\n", pid, parent, session, start)
	for name, text := range map[string]string{"stat": stat, "cgroup": cgroup} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			p.tb.Fatal(err)
		}
	}
}

func TestContainersOf(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"v2, systemd", "0::/system.slice/docker-" + idA + ".scope\n", []string{idA}},
		{"v2, cgroupfs", "0::/docker/" + idA + "\n", []string{idA}},
		{"v1, cgroupfs", "9:name=systemd:/docker/" + idA + "\n8:pids:/docker/" + idA + "\n", []string{idA}},
		{"v1, systemd", "2:cpu,cpuacct:/system.slice/docker-" + idA + ".scope\n", []string{idA}},
		{"podman", "0::/user.slice/libpod-" + idA + ".scope/container\n", []string{idA}},
		{"a container in a container", "0::/docker/" + idA + "/docker/" + idB + "\n", []string{idA, idB}},
		{"beside the caller's own group", "0::/../docker-" + idB + ".scope\n", []string{idB}},
		{"a path with a colon", "1:name=x:/a:b/" + idA + "\n", []string{idA}},
		{"no container", "0::/user.slice/user-0.slice/session-3.scope\n", nil},
		{"a short id", "0::/docker/" + idA[:12] + "\n", nil},
		{"digits of another base", "0::/docker/" + strings.Repeat("g1", 32) + "\n", nil},
		{"empty", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := containersOf(tt.text); !slices.Equal(got, tt.want) {
				t.Errorf("containersOf = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestAttribution(t *testing.T) {
	p := proc{t, t.TempDir()}
	p.put(100, 1, 100, 50, "0::/user.slice\n")
	p.put(101, 100, 100, 60, "0::/user.slice\n")
	p.put(102, 101, 102, 70, "0::/user.slice\n") // a session of its own
	p.put(103, 1, 100, 80, "0::/user.slice\n")   // its parent has ended
	p.put(104, 1, 104, 80, "0::/user.slice\n")
	p.put(105, 1, 100, 40, "0::/user.slice\n") // older than the root: the PID was used before
	p.put(200, 1, 200, 90, "0::/docker/"+idA+"\n")
	p.put(201, 1, 201, 90, "0::/docker/"+idB+"\n")
	p.put(202, 1, 202, 90, "0::/docker/"+idA+"/docker/"+idB+"\n")

	a := newAttribution(procRoot(p.root), false)
	if who, ok := a.of(200); !ok || who.service != "" {
		t.Errorf("before owners are known: %+v, %v", who, ok)
	}
	a.own([]Owner{{Service: "local", PID: 100}, {Service: "app", Role: "app", Container: idA}})
	for pid, want := range map[int]string{100: "local", 101: "local", 102: "local", 103: "local", 104: "", 105: "", 200: "app", 201: "", 202: "app"} {
		if who, ok := a.of(pid); !ok || who.service != want {
			t.Errorf("process %d belongs to %q, %v; want %q", pid, who.service, ok, want)
		}
	}
	if who, _ := a.of(202); who.container != idB || who.name != "a (b) c" {
		t.Errorf("process 202 is %+v, want the inner container", who)
	}
	if _, ok := a.of(999); ok {
		t.Error("a process that does not exist was attributed")
	}

	// The PID is used again, by somebody else.
	p.put(200, 1, 200, 95, "0::/user.slice\n")
	if who, ok := a.of(200); !ok || who.service != "" {
		t.Errorf("the new process 200 belongs to %q", who.service)
	}
	if gone := a.dead(); len(gone) != 1 || gone[0].id != (identity{200, 90}) {
		t.Errorf("dead = %+v, want the old process 200", gone)
	}
}

func TestAttributionOfAnEndedRoot(t *testing.T) {
	p := proc{t, t.TempDir()}
	p.put(103, 1, 100, 80, "0::/\n")
	a := newAttribution(procRoot(p.root), false)
	a.own([]Owner{{Service: "local", PID: 100}})
	if who, _ := a.of(103); who.service != "local" {
		t.Errorf("a child of an ended root belongs to %q", who.service)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("7 (a (b) c) S 1 1 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 99 0 0")
	f.Add("")
	f.Add("7 ) (")
	f.Fuzz(func(t *testing.T, text string) {
		st, err := parseStat(text)
		if err == nil && !strings.Contains(text, "("+st.name+")") {
			t.Errorf("name %q is not in %q", st.name, text)
		}
	})
}

func FuzzContainersOf(f *testing.F) {
	f.Add("0::/system.slice/docker-" + idA + ".scope\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, id := range containersOf(text) {
			if len(id) != 64 || !strings.Contains(text, id) {
				t.Errorf("%q is no id of %q", id, text)
			}
		}
	})
}
