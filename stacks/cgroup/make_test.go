package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
)

func TestPlaces(t *testing.T) {
	tests := []struct {
		name, mounts, membership string
		subtree                  map[string]string // cgroup.subtree_control by folder
		method                   string
		parents                  map[string]string
		candidates               []string
		fails                    bool
	}{
		{
			name: "version 1", mounts: mountsV1, membership: "9:memory:/user/me\n5:cpu,cpuacct:/\n",
			method: methodV1,
			parents: map[string]string{
				"memory": "/sys/fs/cgroup/memory/user/me", "cpu": "/sys/fs/cgroup/cpu,cpuacct", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
			},
		},
		{
			name: "version 2, a user's session", mounts: mountsV2, membership: "0::/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope\n",
			subtree: map[string]string{
				"sys/fs/cgroup": "cpu memory pids", "sys/fs/cgroup/user.slice": "cpu memory pids", "sys/fs/cgroup/user.slice/user-1000.slice": "pids",
				"sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service":           "memory pids",
				"sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice": "memory pids",
			},
			method: methodV2,
			candidates: []string{
				"/sys/fs/cgroup/user.slice", "/sys/fs/cgroup",
				"/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice",
				"/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service",
			},
		},
		{
			name: "version 2, inside a container", mounts: mountsV2, membership: "0::/\n",
			subtree: map[string]string{"sys/fs/cgroup": ""}, method: methodV2,
		},
		{name: "nothing mounted", membership: "0::/\n", fails: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := fstest.MapFS{
				"proc/self/mountinfo": {Data: []byte(test.mounts)},
				"proc/self/cgroup":    {Data: []byte(test.membership)},
			}
			for dir, text := range test.subtree {
				root[dir+"/cgroup.subtree_control"] = &fstest.MapFile{Data: []byte(text + "\n")}
			}
			m, candidates, err := places(root)
			if (err != nil) != test.fails {
				t.Fatal(err)
			}
			if m.Method != test.method || fmt.Sprint(m.parents) != fmt.Sprint(test.parents) || !reflect.DeepEqual(candidates, test.candidates) {
				t.Errorf("got %+v, %v; want %s %v, %v", m, candidates, test.method, test.parents, test.candidates)
			}
		})
	}
}

func TestPlan(t *testing.T) {
	v1 := Maker{Method: methodV1, parents: map[string]string{"memory": "/m", "cpu": "/c", "cpuacct": "/c", "pids": "/p"}}
	v2 := Maker{Method: methodV2, parents: map[string]string{"memory": "/u", "cpu": "/u", "pids": "/u"}}
	tests := []struct {
		name   string
		maker  Maker
		limits Limits
		want   string
		group  Group
		fails  string
	}{
		{"version 1", v1, Limits{CPUs: 1.5, Memory: 4096, PIDs: 10},
			"/m/x memory.limit_in_bytes=4096 memory.memsw.limit_in_bytes=4096?; /c/x cpu.cfs_period_us=100000 cpu.cfs_quota_us=150000; /p/x pids.max=10?",
			Group{Method: methodV1, memory: "/m/x", cpu: "/c/x"}, ""},
		{"version 1, no limits", v1, Limits{}, "/m/x; /c/x; /p/x", Group{Method: methodV1, memory: "/m/x", cpu: "/c/x"}, ""},
		{"version 2", v2, Limits{CPUs: 0.25, Memory: 4096, PIDs: 10},
			"/u/x memory.max=4096 memory.swap.max=0? cpu.max=25000 100000 pids.max=10?", Group{Method: methodV2, memory: "/u/x", cpu: "/u/x"}, ""},
		{"no CPU controller, no limit", Maker{Method: methodV2, parents: map[string]string{"memory": "/u"}}, Limits{PIDs: 10}, "/u/x", Group{Method: methodV2, memory: "/u/x", cpu: "/u/x"}, ""},
		{"no CPU controller", Maker{Method: methodV2, parents: map[string]string{"memory": "/u"}}, Limits{CPUs: 1}, "", Group{}, "the cpu controller cannot be used"},
		{"version 1 without CPU accounting", Maker{Method: methodV1, parents: map[string]string{"memory": "/m"}}, Limits{}, "/m/x", Group{Method: methodV1, memory: "/m/x"}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			folders, group, err := test.maker.Plan("x", test.limits)
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("error %v, want %q", err, test.fails)
				}
				return
			}
			var parts []string
			for _, f := range folders {
				part := f.Path
				for _, s := range f.Settings {
					part += " " + s.File + "=" + s.Value
					if s.Optional {
						part += "?"
					}
				}
				parts = append(parts, part)
			}
			if got := strings.Join(parts, "; "); err != nil || got != test.want || group != test.group {
				t.Errorf("got %s, %+v, %v\nwant %s, %+v", got, group, err, test.want, test.group)
			}
		})
	}
}

func TestMakeInAnOrdinaryFolder(t *testing.T) {
	// Nothing but the kernel makes the files of a group.
	path := filepath.Join(t.TempDir(), "group")
	if err := Make([]Folder{{Path: path, Settings: []Setting{{File: "a", Value: "1", Optional: true}}}}); err != nil {
		t.Errorf("a file that may be missing: %v", err)
	}
	if err := Make([]Folder{{Path: path}}); err == nil {
		t.Error("a group of someone else's was taken")
	}
	if err := Remove([]string{path, path}); err != nil {
		t.Errorf("removed twice: %v", err)
	}
	if err := Make([]Folder{{Path: path, Settings: []Setting{{File: "memory.max", Value: "1"}}}}); err == nil || !strings.Contains(err.Error(), "memory.max") {
		t.Errorf("a limit that cannot be set: %v", err)
	}
	if err := os.WriteFile(filepath.Join(path, "cgroup.procs"), []byte("12\n7\n12\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := Processes([]string{path, filepath.Join(path, "gone")}); !reflect.DeepEqual(got, []int{12, 7}) {
		t.Errorf("processes %v", got)
	}
	if err := Remove([]string{path}); err == nil {
		t.Error("a folder that is not empty was removed")
	}
}

// TestRealGroup makes a group of this machine's, where this user may.
func TestRealGroup(t *testing.T) {
	m, err := NewMaker()
	if err != nil {
		t.Skipf("needs control groups that this user may make: %v", err)
	}
	folders, group, err := m.Plan(fmt.Sprintf("stackmeter-test-%d", os.Getpid()), Limits{Memory: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range folders {
		paths = append(paths, f.Path)
	}
	t.Cleanup(func() {
		if err := Remove(paths); err != nil {
			t.Error(err)
		}
	})
	if err := Make(folders); err != nil {
		t.Fatal(err)
	}
	if used, err := group.Memory(); err != nil || used > 1<<20 {
		t.Errorf("an empty group uses %d bytes, %v", used, err)
	}
	if n := Killed(paths); n != 0 || len(Processes(paths)) > 0 {
		t.Errorf("%d killed, processes %v", n, Processes(paths))
	}
}
