package doctor

import (
	"errors"
	"strings"
	"testing"

	"stackmeter/orchestrator/gpu"
)

func TestDeviceFindings(t *testing.T) {
	device := gpu.Device{Index: 1, UUID: "GPU-1", Name: "FAKE GPU", Memory: 16 << 30, Driver: "550.0"}
	held := int64(500 << 20)
	idle := &gpu.Memory{Used: 12 << 20, Total: 16 << 30}
	for _, test := range []struct {
		name string
		shot gpu.Snapshot
		want []string // one for each finding: its state and a part of its text
	}{
		{"idle", gpu.Snapshot{Device: device, Memory: idle}, []string{"ok 12 MiB in use"}},
		{"held by two", gpu.Snapshot{Device: device, Memory: idle, Holders: []gpu.Holder{
			{PID: 7, Name: "python3", Memory: &held}, {PID: 8, Name: "Xorg", Container: strings.Repeat("c", 64)},
		}}, []string{"ok GPU-1", "note process 7 (python3) holds 500 MiB", "note process 8 (Xorg) in container cccccccccccc holds an amount"}},
		{"unreadable", gpu.Snapshot{Device: device, Err: errors.New("GPU_IS_LOST")}, []string{"ok GPU-1", "note cannot be read: GPU_IS_LOST"}},
		{"in a container", gpu.Snapshot{Device: device, Memory: idle, ProcessReason: "another PID namespace"}, []string{"ok GPU-1", "note another PID namespace"}},
		{"an instance", gpu.Snapshot{Device: gpu.Device{UUID: "MIG-1", Parent: "GPU-1"}, Memory: idle}, []string{"ok MIG-1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			found := deviceFindings(test.shot)
			if len(found) != len(test.want) {
				t.Fatalf("%d findings, want %d: %+v", len(found), len(test.want), found)
			}
			for i, f := range found {
				state, text, _ := strings.Cut(test.want[i], " ")
				if f.state != state || !strings.Contains(f.text, text) {
					t.Errorf("%s %q, want %q", f.state, f.text, test.want[i])
				}
			}
			if last := found[len(found)-1]; last.state == stateNote && last.remedy == "" {
				t.Error("nothing is said to do about it")
			}
		})
	}
}
