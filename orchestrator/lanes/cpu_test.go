package lanes

import (
	"runtime"
	"testing"
	"time"
)

func TestCPU(t *testing.T) {
	got := parseCPU("cpu  1000 200 300 90000 5000 40 50 10 700 20\ncpu0 1 2 3 4 5 6 7 8 9 10\n", "cpu")
	if got == nil || *got != 16*time.Second {
		t.Errorf("%v, want the 1600 ticks of user, nice, system, irq, softirq and steal", got)
	}
	if got := parseCPU("cpu  1000 200 300 90000 5000 40 50 10 700 20\ncpu1 100 0 0 4 5 0 0 0 9 10\n", "cpu1"); got == nil || *got != time.Second {
		t.Errorf("%v of core 1", got)
	}
	for _, line := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8 9", "cpu a b c d e f g h i"} {
		if got := parseCPU(line, "cpu"); got != nil {
			t.Errorf("%q became %v", line, *got)
		}
	}
	before := CPU(nil)
	if runtime.GOOS == "linux" && before == nil {
		t.Error("/proc/stat was not read")
	}
	if used := UsedMeanwhile(before, CPU(nil), time.Second, time.Second); runtime.GOOS == "linux" && (used == nil || *used < 0) {
		t.Errorf("used meanwhile: %v", used)
	}
	if first := CPU([]int{0, 0}); runtime.GOOS == "linux" && (first == nil || *first > *CPU(nil)) {
		t.Errorf("core 0 used %v, and all of them %v", first, before)
	}
	if UsedMeanwhile(nil, before, time.Second, time.Second) != nil {
		t.Error("a difference to nothing")
	}
	if UsedMeanwhile(before, CPU(nil), 2*time.Second, time.Second) != nil {
		t.Error("the time before and after the load counts as the load's")
	}
}
