package kubernetes

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"stackmeter/stacks"
)

// What a stack uses on a node that is another machine and has no agent, as its containers
// see it.

// unsampled is why there is no figure of the memory of such a stack.
const unsampled = "no agent samples the control groups on the stack's node, which is another machine; kernel_peak is what the kernel kept of its containers"

// used is what the services have used so far.
type used struct {
	cpu   time.Duration
	peak  int64 // bytes: the sum of the kernel's high-water marks, with page cache
	kills int   // processes that the kernel killed for memory
}

// usedFiles are the files of a container's control group that say what it used, of
// version 2 and of version 1.
var usedFiles = [][]string{
	{"/sys/fs/cgroup/cpu.stat", "/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory.peak"},
	{"/sys/fs/cgroup/cpuacct/cpuacct.usage", "/sys/fs/cgroup/memory/memory.oom_control", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes"},
}

// usedInside asks each service's container, which has to have cat.
func (st *stack) usedInside(ctx context.Context) (sum used, err error) {
	for _, s := range st.spec.Services {
		one, err := st.usedBy(ctx, s.Name)
		if err != nil {
			return used{}, fmt.Errorf("service %s: read what it uses: %w", s.Name, err)
		}
		sum.cpu, sum.peak, sum.kills = sum.cpu+one.cpu, sum.peak+one.peak, sum.kills+one.kills
	}
	return sum, nil
}

// usedBy is what one service used.
func (st *stack) usedBy(ctx context.Context, name string) (used, error) {
	var failed error
	for version, files := range usedFiles {
		out, err := st.Exec(ctx, name, append([]string{"cat"}, files...)...)
		// An older kernel has no memory.peak: what cat printed counts.
		if u, known := parseUsed(string(out), version == 0); known {
			return u, nil
		}
		if failed = err; failed == nil {
			failed = fmt.Errorf("its control group says nothing of CPU time: %q", out)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return used{}, failed
}

// parseUsed reads what cat printed of usedFiles, and reports whether the CPU time was
// among it. A figure alone in its line is a file's whole content.
func parseUsed(text string, v2 bool) (u used, known bool) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		value, err := strconv.ParseInt(fields[len(fields)-1], 10, 64)
		switch {
		case err != nil:
		case fields[0] == "usage_usec":
			u.cpu, known = time.Duration(value)*time.Microsecond, true
		case fields[0] == "oom_kill" && len(fields) == 2:
			u.kills = int(value)
		case len(fields) == 1 && !v2 && !known:
			u.cpu, known = time.Duration(value), true // nanoseconds; the first of the files
		case len(fields) == 1:
			u.peak = value
		}
	}
	return u, known
}

// An insideMeter reads what was used at both ends.
type insideMeter struct {
	stack   *stack
	why     error // no agent does it
	before  used
	failed  error
	once    sync.Once
	reading stacks.Reading
}

// Stop implements stacks.Meter.
func (m *insideMeter) Stop() stacks.Reading {
	m.once.Do(func() {
		m.reading.Inside, m.reading.Reason = true, fmt.Sprintf("%s: %v", unsampled, m.why)
		after, err := m.stack.usedInside(context.Background())
		if m.failed == nil {
			m.failed = err
		}
		if m.failed != nil {
			m.reading.Reason += "; " + m.failed.Error()
			return
		}
		m.reading.Method = "container"
		cpu := max(0, after.cpu-m.before.cpu)
		m.reading.CPU, m.reading.OOMKills = &cpu, after.kills-m.before.kills
		if after.peak > m.before.peak { // a mark that is from before says nothing of now
			m.reading.KernelPeak = &after.peak
		}
	})
	return m.reading
}

// Halted implements stacks.Meter. It is not seen from here.
func (*insideMeter) Halted() error { return nil }
