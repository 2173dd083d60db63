//go:build linux

package process

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"stackmeter/stacks"
)

func TestEnvironment(t *testing.T) {
	operator := []string{"PATH=/opt/bin:/usr/bin", "HOME=/home/me", "LANG=C", "LC_TIME=C", "LD_LIBRARY_PATH=/cuda", "CUDA_HOME=/cuda",
		"CUDA_VISIBLE_DEVICES=0,1", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=10", "NVIDIA_TF32_OVERRIDE=0", "TMPDIR=/scratch",
		"AWS_SECRET_ACCESS_KEY=x", "GITHUB_TOKEN=x", "PYTHONPATH=/lib", "LD_PRELOAD=/evil.so", "HTTP_PROXY=http://me:x@proxy", "LCX=x"}
	tests := []struct {
		name    string
		service stacks.Service
		want    []string
		without []string
	}{
		{"what is passed on", stacks.Service{}, []string{"PATH=/opt/bin:/usr/bin", "HOME=/home/me", "LANG=C", "LC_TIME=C",
			"LD_LIBRARY_PATH=/cuda", "CUDA_HOME=/cuda", "NVIDIA_TF32_OVERRIDE=0", "TMPDIR=/scratch", "PYTHONUNBUFFERED=1",
			"STACKMETER_RUN=run", "STACKMETER_SERVICE=mark-0"},
			[]string{"AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "PYTHONPATH", "LD_PRELOAD", "HTTP_PROXY", "LCX", "VIRTUAL_ENV"}},
		{"no GPU hides those that are there", stacks.Service{}, []string{"CUDA_VISIBLE_DEVICES="}, nil},
		{"GPUs by UUID", stacks.Service{GPUs: []string{"GPU-1", "GPU-2"}}, []string{"CUDA_VISIBLE_DEVICES=GPU-1,GPU-2"}, nil},
		{"a virtual environment", stacks.Service{Venv: "/venv"}, []string{"VIRTUAL_ENV=/venv", "PATH=/venv/bin:/opt/bin:/usr/bin"}, nil},
		{"a proxy is looked for where root has it", stacks.Service{Role: stacks.RoleProxy}, []string{"PATH=/opt/bin:/usr/bin:/usr/local/sbin:/usr/sbin:/sbin"}, nil},
		{"the scenario's win", stacks.Service{Venv: "/venv", Env: map[string]string{"PATH": "/own", "LANG": "de", "NEW": "a=b"}},
			[]string{"PATH=/own", "LANG=de", "NEW=a=b"}, nil},
		{"and neither the scenario nor the operator over MPS", stacks.Service{GPUs: []string{"GPU-1"}, Env: map[string]string{"CUDA_MPS_PIPE_DIRECTORY": "/evil"}},
			[]string{"CUDA_MPS_PIPE_DIRECTORY=" + stacks.NoMPS}, []string{"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"}},
		{"but not over the marks", stacks.Service{Env: map[string]string{"STACKMETER_SERVICE": "other"}}, []string{"STACKMETER_SERVICE=mark-0"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			env := environment(test.service, "run", "mark-0", operator)
			for _, pair := range test.want {
				if !slices.Contains(env, pair) {
					t.Errorf("no %s in %q", pair, env)
				}
			}
			for _, name := range test.without {
				if slices.ContainsFunc(env, func(pair string) bool { return strings.HasPrefix(pair, name+"=") }) {
					t.Errorf("%s is passed on: %q", name, env)
				}
			}
		})
	}
}

// autobind asks the kernel for any port of a range of one.
func autobind(t *testing.T, port int) error {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_LOCAL_PORT_RANGE, port<<16|port); err != nil {
		t.Skipf("needs a kernel with IP_LOCAL_PORT_RANGE (Linux 6.3): %v", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	return unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
}

func TestReservation(t *testing.T) {
	r, err := reserve()
	if err != nil {
		t.Fatal(err)
	}
	defer r.release()
	if err := autobind(t, r.port); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("another process was given the reserved port: %v", err)
	}
	// net.Listen sets SO_REUSEADDR, as the servers do.
	server, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", r.port))
	if err != nil {
		t.Fatalf("the server cannot listen on its port: %v", err)
	}
	defer server.Close()
	if _, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", r.port)); err == nil {
		t.Error("a second server listens on the same port")
	}
	server.Close()
	r.release()
	r.release()
	if err := autobind(t, r.port); err != nil {
		t.Errorf("a released port cannot be had: %v", err)
	}
}

func TestShares(t *testing.T) {
	tests := []struct {
		name    string
		service stacks.Service
		want    bool
	}{
		{"a server that stackmeter knows", stacks.Service{Role: stacks.RoleApp, Module: "flask"}, true},
		{"a proxy", stacks.Service{Proxy: &stacks.Proxy{}}, true},
		{"a command", stacks.Service{Role: stacks.RoleApp}, false},
		{"a service", stacks.Service{Role: stacks.RoleOther}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := shares(test.service); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func TestNamed(t *testing.T) {
	tests := []struct {
		text string
		want bool
	}{
		{"back:8000", true}, {"http://back/", true}, {"http://back", true}, {"redis://back:6379/0", true}, {"--to=back:80", true}, {"a,back:1", true},
		{"back", false}, {"--mode=back", false}, {"back:", false}, {"back:app", false}, {"feedback:1", false}, {"back-end:1", false},
		{"http://back-end/", false}, {"http://back.example/", false}, {"{host:back}:{port:back}", false}, {"/srv/back", false}, {"", false},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			if got := named(test.text, "back"); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func TestPrivateFolder(t *testing.T) {
	dir := t.TempDir()
	open, link, file := filepath.Join(dir, "open"), filepath.Join(dir, "link"), filepath.Join(dir, "file")
	mine := filepath.Join(dir, "mine")
	for _, err := range []error{os.Mkdir(open, 0o700), os.Chmod(open, 0o777), os.Mkdir(mine, 0o700), os.Symlink(mine, link), os.WriteFile(file, nil, 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	fresh := filepath.Join(dir, "fresh")
	if got, err := openFolder([]string{open, link, file, filepath.Join(dir, "no", "parent"), fresh, mine}); err != nil || got != fresh {
		t.Errorf("opened %s, %v", got, err)
	}
	if got, err := openFolder([]string{open, link}); err == nil {
		t.Errorf("opened %s, which others can write to", got)
	}
}

// The last supervisor of another stack removes the folder whenever it is empty.
func TestFolderThatOthersRemove(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shared")
	stop := make(chan struct{})
	var others sync.WaitGroup
	for range 2 {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = os.Remove(dir)
				}
			}
		})
	}
	defer func() { close(stop); others.Wait() }()
	for i := range 2000 {
		if got, err := openFolder([]string{dir}); err != nil || got != dir {
			t.Fatalf("time %d: opened %q: %v", i, got, err)
		}
		file := filepath.Join(dir, "a.json")
		if err := (record{Run: "r"}).write(file); err != nil {
			t.Fatalf("time %d: %v", i, err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRecords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	if records, err := readRecords(dir); err != nil || len(records) > 0 {
		t.Errorf("a folder that is not there: %v, %v", records, err)
	}
	want := record{Run: "r", Service: "app", Owner: "o", First: identity{1, 2}, Groups: []string{"/a"}}
	file := filepath.Join(dir, "a.json")
	if err := want.write(file); err != nil {
		t.Fatal(err)
	}
	records, err := readRecords(dir)
	if err != nil || len(records) != 1 || records[file].First != want.First || records[file].Groups[0] != "/a" {
		t.Errorf("read back: %+v, %v", records, err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readRecords(dir); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a record that cannot be read: %v", err)
	}
}

// TestSweepable takes records that are another's: nothing of them is touched
// unless it is certain whose they are.
func TestSweepable(t *testing.T) {
	self, err := stacks.Self()
	if err != nil {
		t.Fatal(err)
	}
	r := &Runtime{owner: self}
	gone, elsewhere, rebooted := self, self, self
	gone.Start++
	elsewhere.Namespace = "pid:[1]"
	rebooted.Boot = "earlier"
	tests := []struct {
		name  string
		owner string
		run   string
		want  bool
		fails bool
	}{
		{"alive", self.String(), "", false, false},
		{"alive, and asked for", self.String(), "mine", true, false},
		{"another run", self.String(), "other", false, false},
		{"gone", gone.String(), "", true, false},
		{"before a reboot", rebooted.String(), "", true, false},
		{"another PID namespace", elsewhere.String(), "", false, false},
		{"another PID namespace, and asked for", elsewhere.String(), "mine", false, true},
		{"nonsense", "nonsense", "", false, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := r.sweepable(record{Run: "mine", Owner: test.owner}, test.run)
			if got != test.want || (err != nil) != test.fails {
				t.Errorf("%v, %v; want %v", got, err, test.want)
			}
		})
	}
	// Its PIDs are those of this boot's processes: this test among them.
	me := identity{self.PID, self.Start}
	if err := (record{Owner: rebooted.String(), Supervisor: me, First: me, Mark: "x"}).end(t.Context(), filepath.Join(t.TempDir(), "none")); err != nil {
		t.Error(err)
	}
}

func TestSignalNeedsTheSameProcess(t *testing.T) {
	other := identity{os.Getpid(), 1}
	if err := other.signal(unix.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signalled process %d that is another one: %v", other.PID, err)
	}
}

func TestBelowInAll(t *testing.T) {
	fast, all := below(1), walk(1, childrenAmong(everyone()))
	has := func(list []member) bool {
		return slices.ContainsFunc(list, func(m member) bool { return m.PID == os.Getpid() })
	}
	if !has(all) || !has(fast) {
		t.Error("this process is not below process 1")
	}
}

// TestLeftovers: what a dead run left is named and stays; what a live one has is not.
func TestLeftovers(t *testing.T) {
	self, err := stacks.Self()
	if err != nil {
		t.Fatal(err)
	}
	gone := self
	gone.Start++
	folder := filepath.Join(t.TempDir(), "stackmeter") // made by the first record, as private as it has to be
	r := &Runtime{owner: self, folders: []string{folder}}
	for file, rec := range map[string]record{
		"dead.json":  {Run: "dead", Owner: gone.String()},
		"alive.json": {Run: "alive", Owner: self.String()},
	} {
		if err := rec.write(filepath.Join(folder, file)); err != nil {
			t.Fatal(err)
		}
	}
	names, err := r.Leftovers()
	if err != nil || len(names) != 1 || names[0] != (record{Run: "dead"}).name() {
		t.Errorf("%q, %v", names, err)
	}
	if records, err := readRecords(folder); err != nil || len(records) != 2 {
		t.Errorf("%v, %v are left", records, err)
	}
}
