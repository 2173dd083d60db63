package cgroup

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"
)

const (
	mountsV1 = `30 23 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
36 30 0:32 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
38 30 0:34 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
`
	mountsV1Container = `36 30 0:32 /docker/outer /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct
38 30 0:34 /docker/outer /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
`
	mountsV2 = `28 22 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate
`
)

func TestMountDir(t *testing.T) {
	m := mount{point: "/sys/fs/cgroup", root: "/docker/outer"}
	for group, want := range map[string]string{
		"/docker/outer":       "/sys/fs/cgroup",
		"/docker/outer/inner": "/sys/fs/cgroup/inner",
		"/docker/outer2":      "/sys/fs/cgroup/docker/outer2", // not to be seen from here, and not the group "2"
	} {
		if got := m.dir(group); got != want {
			t.Errorf("%s is at %s, want %s", group, got, want)
		}
	}
}

func TestFind(t *testing.T) {
	tests := []struct {
		name, mounts, membership string
		file                     string // that has to exist for version 2
		want                     Group
		fails                    bool
	}{
		{
			name: "version 1, cgroupfs driver", mounts: mountsV1,
			membership: "9:memory:/docker/abc\n5:cpu,cpuacct:/docker/abc\n0::/\n",
			want:       Group{Method: methodV1, memory: "/sys/fs/cgroup/memory/docker/abc", cpu: "/sys/fs/cgroup/cpu,cpuacct/docker/abc"},
		},
		{
			name: "version 1, inside a container", mounts: mountsV1Container,
			membership: "9:memory:/docker/outer/docker/abc\n5:cpuacct:/docker/outer/docker/abc\n",
			want:       Group{Method: methodV1, memory: "/sys/fs/cgroup/memory/docker/abc", cpu: "/sys/fs/cgroup/cpuacct/docker/abc"},
		},
		{
			name: "version 2, systemd driver", mounts: mountsV2,
			membership: "0::/system.slice/docker-abc.scope\n",
			file:       "sys/fs/cgroup/system.slice/docker-abc.scope/memory.current",
			want:       Group{Method: methodV2, memory: "/sys/fs/cgroup/system.slice/docker-abc.scope", cpu: "/sys/fs/cgroup/system.slice/docker-abc.scope"},
		},
		{
			name: "version 2 without the memory controller", mounts: mountsV2,
			membership: "0::/user.slice\n", fails: true,
		},
		{name: "nothing mounted", membership: "0::/\n", fails: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := fstest.MapFS{
				"proc/self/mountinfo": {Data: []byte(test.mounts)},
				"proc/7/cgroup":       {Data: []byte(test.membership)},
			}
			if test.file != "" {
				root[test.file] = &fstest.MapFile{Data: []byte("0\n")}
			}
			got, err := find(root, 7)
			if (err != nil) != test.fails || got != test.want {
				t.Errorf("got %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
	if _, err := find(fstest.MapFS{}, 7); err == nil {
		t.Error("a process that is gone has a group")
	}
}

// folder is a group made of files.
func folder(t *testing.T, method string, files map[string]string) Group {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Group{Method: method, memory: dir, cpu: dir}
}

func TestRead(t *testing.T) {
	groups := map[string]Group{
		methodV1: folder(t, methodV1, map[string]string{
			"memory.usage_in_bytes": "1000\n", "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
			"memory.stat":   "cache 700\ntotal_cache 700\ntotal_shmem 100\n",
			"cpuacct.usage": "1500000000\n",
		}),
		methodV2: folder(t, methodV2, map[string]string{
			"memory.current": "1000\n", "memory.events": "low 0\noom 3\noom_kill 2\n",
			"memory.stat": "anon 300\nfile 700\nshmem 100\n",
			"cpu.stat":    "usage_usec 1500000\nuser_usec 1\n",
		}),
	}
	for name, g := range groups {
		t.Run(name, func(t *testing.T) {
			// 1000 in use, 700 of it page cache, of which 100 are shared memory.
			if got, err := g.Memory(); err != nil || got != 400 {
				t.Errorf("memory: %d, %v; want 400", got, err)
			}
			if got, err := g.CPU(); err != nil || got != 1500*time.Millisecond {
				t.Errorf("CPU: %v, %v; want 1.5s", got, err)
			}
			if got := Killed([]string{g.memory}); got != 2 {
				t.Errorf("kills: %d; want 2", got)
			}
		})
	}
}

func TestMeterWithoutFiles(t *testing.T) {
	gone := Group{Method: methodV1, memory: filepath.Join(t.TempDir(), "gone")}
	u := Start([]Service{{"app", gone}}).Stop()
	if u.Memory != nil || u.CPU != nil || u.KernelPeak != nil || u.Start != nil {
		t.Errorf("figures of a group that is not there: %+v", u)
	}
	if u.Reason == "" {
		t.Error("no reason is given")
	}
}

func TestMeterSums(t *testing.T) {
	files := map[string]string{
		"memory.usage_in_bytes": "1000\n", "memory.stat": "total_cache 0\n", "memory.oom_control": "oom_kill 0\n",
		"memory.max_usage_in_bytes": "0\n", "cpuacct.usage": "10\n",
	}
	a, b := folder(t, methodV1, files), folder(t, methodV1, files)
	m := Start([]Service{{"app", a}, {"nginx", b}})
	write := func(g Group, name, text string) {
		if err := os.WriteFile(filepath.Join(g.memory, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(a, "memory.usage_in_bytes", "5000\n")
	write(a, "cpuacct.usage", "30\n")
	write(a, "memory.max_usage_in_bytes", "6000\n")
	write(b, "memory.max_usage_in_bytes", "1500\n")
	u := m.Stop()
	if u.Memory == nil || *u.Memory != 6000 || u.Start == nil || *u.Start != 2000 {
		t.Errorf("memory: %v from %v; want 6000 from 2000", u.Memory, u.Start)
	}
	if u.CPU == nil || *u.CPU != 20 {
		t.Errorf("CPU: %v; want 20ns", u.CPU)
	}
	if u.KernelPeak == nil || *u.KernelPeak != 7500 {
		t.Errorf("kernel's mark: %v; want 7500", u.KernelPeak)
	}
	if len(u.Services) != 2 || u.Services["app"] != 5000 {
		t.Errorf("services: %+v", u.Services)
	}
}
