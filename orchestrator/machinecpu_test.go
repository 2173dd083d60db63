package orchestrator

import (
	"runtime"
	"testing"
	"time"
)

func TestMachineCPU(t *testing.T) {
	got := parseMachineCPU("cpu  1000 200 300 90000 5000 40 50 10 700 20")
	if got == nil || *got != 16*time.Second {
		t.Errorf("%v, want the 1600 ticks of user, nice, system, irq, softirq and steal", got)
	}
	for _, line := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8 9", "cpu a b c d e f g h i"} {
		if got := parseMachineCPU(line); got != nil {
			t.Errorf("%q became %v", line, *got)
		}
	}
	before := machineCPU()
	if runtime.GOOS == "linux" && before == nil {
		t.Error("/proc/stat was not read")
	}
	if used := usedMeanwhile(before, machineCPU(), time.Second, time.Second); runtime.GOOS == "linux" && (used == nil || *used < 0) {
		t.Errorf("used meanwhile: %v", used)
	}
	if usedMeanwhile(nil, before, time.Second, time.Second) != nil {
		t.Error("a difference to nothing")
	}
	if usedMeanwhile(before, machineCPU(), 2*time.Second, time.Second) != nil {
		t.Error("the time before and after the load counts as the load's")
	}
}
