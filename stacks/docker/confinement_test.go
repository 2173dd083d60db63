package docker

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/stackstest"
)

// confined starts a stack of two services and gives each of its containers,
// as the engine has it, to look.
func confined(t *testing.T, r *Runtime, look func(stacks.Stack, container.InspectResponse)) {
	t.Helper()
	run := "test-confined-" + filepath.Base(t.TempDir())
	spec := stackstest.Spec(t, run, stackstest.Nginx, func(p *scenarios.Plan) { p.Resources.Memory, p.Resources.CPUs = 300<<20, 1.5 })
	if err := r.Prepare(t.Context(), spec, func(string) {}); err != nil {
		t.Fatal(err)
	}
	stack, err := r.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer stack.Stop(context.Background())
	if err := stacks.WaitReady(t.Context(), spec, stack); err != nil {
		t.Fatal(err)
	}
	// The client of the engine python-requests is a container too.
	client, err := r.RunClient(t.Context(), stack.URL(), []string{"sh", "-c", "echo up; read line"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Wait()
	defer client.Kill()
	waitFor(t, client, "up\n")
	all, err := r.list(t.Context(), filters.NewArgs(filters.Arg("label", LabelRun+"="+run)))
	if err != nil || len(all.containers) != 3 {
		t.Fatalf("%d containers, %v", len(all.containers), err)
	}
	for _, c := range all.containers {
		found, err := r.api.ContainerInspect(t.Context(), c.ID)
		if err != nil {
			t.Fatal(err)
		}
		look(stack, found)
	}
}

// TestThreat2Confinement: every container is given no capability and no way
// to gain one, limits, and no port on an address that others reach.
func TestThreat2Confinement(t *testing.T) {
	for _, publish := range []bool{false, true} {
		t.Run(fmt.Sprintf("published %v", publish), func(t *testing.T) {
			r := engine(t)
			r.Publish = publish
			confined(t, r, func(_ stacks.Stack, c container.InspectResponse) {
				h := c.HostConfig
				if len(h.CapDrop) != 1 || h.CapDrop[0] != "ALL" || len(h.CapAdd) > 0 || h.Privileged {
					t.Errorf("%s: drops %v, adds %v, privileged %v", c.Name, h.CapDrop, h.CapAdd, h.Privileged)
				}
				if len(h.SecurityOpt) != 1 || !strings.HasPrefix(h.SecurityOpt[0], "no-new-privileges") {
					t.Errorf("%s: security options %v", c.Name, h.SecurityOpt)
				}
				if h.PidsLimit == nil || *h.PidsLimit <= 0 || *h.PidsLimit > stacks.PIDsLimit {
					t.Errorf("%s: limit of processes %v", c.Name, h.PidsLimit)
				}
				if h.LogConfig.Type != "none" && (h.LogConfig.Config["max-size"] == "" || h.LogConfig.Config["max-file"] != "1") {
					t.Errorf("%s: logs without a limit: %+v", c.Name, h.LogConfig)
				}
				if !slices.Contains(c.Config.Env, noGPU) {
					t.Errorf("%s: nothing in its environment %v keeps a default runtime from giving it all GPUs", c.Name, c.Config.Env)
				}
				service := c.Config.Labels[labelService]
				if service != clientService && (h.Memory != 300<<20 || h.MemorySwap != h.Memory || h.NanoCPUs != 1.5e9) {
					t.Errorf("%s: memory %d, with swap %d, CPUs %d", c.Name, h.Memory, h.MemorySwap, h.NanoCPUs)
				}
				for kind, mode := range map[string]string{"network": string(h.NetworkMode), "PID": string(h.PidMode), "IPC": string(h.IpcMode),
					"UTS": string(h.UTSMode), "user": string(h.UsernsMode)} {
					if mode == "host" {
						t.Errorf("%s: it has the host's %s namespace", c.Name, kind)
					}
				}
				if len(h.Devices)+len(h.DeviceRequests)+len(h.DeviceCgroupRules)+len(h.VolumesFrom)+len(h.Links)+len(h.Sysctls)+len(h.GroupAdd)+len(h.ExtraHosts) > 0 {
					t.Errorf("%s: it was given more than it needs: %+v", c.Name, h)
				}
				for port, bindings := range c.NetworkSettings.Ports {
					for _, b := range bindings {
						if b.HostIP != "127.0.0.1" || !publish || service != "nginx" {
							t.Errorf("%s: port %s is published on %s", c.Name, port, b.HostIP)
						}
					}
				}
				if h.PublishAllPorts || h.AutoRemove || !h.RestartPolicy.IsNone() {
					t.Errorf("%s: publishes all %v, removes itself %v, restarts %v", c.Name, h.PublishAllPorts, h.AutoRemove, h.RestartPolicy)
				}
			})
		})
	}
}

// TestThreat2KernelAgrees asks the kernel, from inside of a service, what the
// engine made of it.
func TestThreat2KernelAgrees(t *testing.T) {
	r := engine(t)
	stack := runningStack(t, r, "test-kernel-"+filepath.Base(t.TempDir()))
	status, err := stack.Exec(t.Context(), stacks.AppService, "cat", "/proc/1/status")
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if strings.Trim(fields[set], "0") != "" || fields[set] == "" {
			t.Errorf("%s is %s", set, fields[set])
		}
	}
	if fields["NoNewPrivs"] != "1" || fields["Seccomp"] != "2" {
		t.Errorf("NoNewPrivs %s, Seccomp %s", fields["NoNewPrivs"], fields["Seccomp"])
	}
	if _, err := stack.Exec(t.Context(), stacks.AppService, "python3", "-c", "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)"); err == nil {
		t.Error("a raw socket could be opened")
	}
}

// TestAttackCapabilities: a scenario gets the user and the capabilities that it
// asks for, and no others.
func TestAttackCapabilities(t *testing.T) {
	r := engine(t)
	for name, test := range map[string]struct {
		user      string
		caps      []string
		uid, held string // as /proc has them
	}{
		"a user":       {user: "1234:1234", uid: "1234", held: "0000000000000000"},
		"capabilities": {user: "root", caps: []string{"SETGID", "SETUID"}, uid: "0", held: "00000000000000c0"},
	} {
		t.Run(name, func(t *testing.T) {
			run := "test-caps-" + filepath.Base(t.TempDir())
			stack := running(t, r, run, stackstest.Spec(t, run, stackstest.Flask, func(p *scenarios.Plan) {
				p.App.User, p.App.Capabilities = test.user, test.caps
			}))
			status, err := stack.Exec(t.Context(), stacks.AppService, "cat", "/proc/1/status")
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"Uid:\t" + test.uid + "\t", "CapEff:\t" + test.held + "\n", "CapBnd:\t" + test.held + "\n"} {
				if !strings.Contains(string(status), want) {
					t.Errorf("no %q in\n%s", want, status)
				}
			}
			_, err = stack.Exec(t.Context(), stacks.AppService, "python3", "-c", "import os; os.setgid(7); os.setuid(7)")
			if (err == nil) != (len(test.caps) > 0) {
				t.Errorf("changing the user: %v", err)
			}
		})
	}
}

// TestThreat3NoSocketInside: nothing of the host is mounted into a container,
// the engine's socket least of all.
func TestThreat3NoSocketInside(t *testing.T) {
	r := engine(t)
	confined(t, r, func(stack stacks.Stack, c container.InspectResponse) {
		if len(c.HostConfig.Binds)+len(c.HostConfig.Mounts) > 0 {
			t.Errorf("%s: binds %v, mounts %v", c.Name, c.HostConfig.Binds, c.HostConfig.Mounts)
		}
		for _, m := range c.Mounts {
			t.Errorf("%s: %s %s is mounted at %s", c.Name, m.Type, m.Source, m.Destination)
		}
		service := c.Config.Labels[labelService]
		if service == clientService {
			return // it is no service of the stack, to run something in
		}
		mounts, err := stack.Exec(t.Context(), service, "cat", "/proc/1/mounts")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(mounts), ".sock") {
			t.Errorf("%s: a socket is mounted:\n%s", c.Name, mounts)
		}
		for _, socket := range []string{"/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"} {
			if _, err := stack.Exec(t.Context(), service, "cat", socket); err == nil || !strings.Contains(err.Error(), "No such file") {
				t.Errorf("%s: %s: %v", c.Name, socket, err)
			}
		}
	})
}

// TestFault08NoFixedPorts: see stackstest.NoFixedPorts.
func TestFault08NoFixedPorts(t *testing.T) {
	for _, publish := range []bool{false, true} {
		t.Run(fmt.Sprintf("published %v", publish), func(t *testing.T) {
			r := engine(t)
			r.Publish = publish
			stackstest.NoFixedPorts(t, stackstest.Bench{Runtime: r, Leftovers: r.leftovers})
		})
	}
}
