//go:build linux && cgo

package nvml

import (
	"maps"
	"slices"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"stackmeter/orchestrator/gpu"
)

// notAvailable is NVML's value for a figure that the driver does not have: all
// bits set (NVML_VALUE_NOT_AVAILABLE).
const notAvailable = ^uint64(0)

// A reader reads one device. NVML is thread-safe.
type reader struct {
	driver *Driver
	handle nvml.Device
	parent nvml.Device // of a MIG instance: power, clocks and temperature are the whole GPU's
	device gpu.Device
}

// Device implements gpu.Reader.
func (r *reader) Device() gpu.Device { return r.device }

// fault is the error of a call.
func (r *reader) fault(call, code string) error {
	return &gpu.Error{Device: r.device.UUID, Call: call, Code: code}
}

// Memory reads the memory by version 2 of the call if the driver has it.
func (r *reader) Memory() (gpu.Memory, error) {
	if r.driver.has("nvmlDeviceGetMemoryInfo_v2") {
		m, ret := r.handle.GetMemoryInfo_v2()
		switch ret {
		case nvml.SUCCESS:
			reserved := int64(m.Reserved)
			return r.plausible("nvmlDeviceGetMemoryInfo_v2", gpu.Memory{Method: gpu.MethodNVMLv2, Reserved: &reserved}, m.Used, m.Total)
		case nvml.ERROR_FUNCTION_NOT_FOUND, nvml.ERROR_ARGUMENT_VERSION_MISMATCH:
			// The library is newer than the kernel's driver.
		default:
			return gpu.Memory{}, r.fault("nvmlDeviceGetMemoryInfo_v2", code(ret))
		}
	}
	m, ret := r.handle.GetMemoryInfo()
	if ret != nvml.SUCCESS {
		return gpu.Memory{}, r.fault("nvmlDeviceGetMemoryInfo", code(ret))
	}
	return r.plausible("nvmlDeviceGetMemoryInfo", gpu.Memory{Method: gpu.MethodNVMLv1}, m.Used, m.Total)
}

// plausible fills in a reading. It fails if the figures are impossible, for
// example if a device has no size.
func (r *reader) plausible(call string, m gpu.Memory, used, total uint64) (gpu.Memory, error) {
	if used == notAvailable || total == notAvailable || total == 0 || used > total {
		return gpu.Memory{}, r.fault(call, "NOT_AVAILABLE")
	}
	m.Used, m.Total = int64(used), int64(total)
	return m, nil
}

// Processes merges the lists of compute, graphics and MPS processes by PID. A
// process in several lists has the same memory in each, so the largest counts, not
// the sum. Processes fails if no list could be read, or if one failed for another
// reason than that it is not supported: without it a busy device would look idle.
func (r *reader) Processes() ([]gpu.Process, error) {
	lists := []struct {
		mps  bool
		call string
		get  func() ([]nvml.ProcessInfo, nvml.Return)
	}{
		{false, "nvmlDeviceGetComputeRunningProcesses", r.handle.GetComputeRunningProcesses},
		{false, "nvmlDeviceGetGraphicsRunningProcesses", r.handle.GetGraphicsRunningProcesses},
		{true, "nvmlDeviceGetMPSComputeRunningProcesses", r.handle.GetMPSComputeRunningProcesses},
	}
	procs := map[int]gpu.Process{}
	var unsupported error = r.fault(lists[0].call, "FUNCTION_NOT_FOUND")
	read := false
	for _, l := range lists {
		if !r.driver.has(l.call) {
			continue
		}
		infos, ret := guarded(l.get)
		switch ret {
		case nvml.SUCCESS:
			read = true
		case nvml.ERROR_NOT_SUPPORTED:
			unsupported = r.fault(l.call, code(ret))
			continue
		default:
			return nil, r.fault(l.call, code(ret))
		}
		for _, i := range infos {
			p := procs[int(i.Pid)]
			p.PID = int(i.Pid)
			p.MPS = p.MPS || l.mps
			if i.UsedGpuMemory != notAvailable && (p.Memory == nil || int64(i.UsedGpuMemory) > *p.Memory) {
				p.Memory = new(int64(i.UsedGpuMemory))
			}
			procs[p.PID] = p
		}
	}
	if !read {
		return nil, unsupported
	}
	merged := make([]gpu.Process, 0, len(procs))
	for _, pid := range slices.Sorted(maps.Keys(procs)) {
		merged = append(merged, procs[pid])
	}
	return merged, nil
}

// guarded calls a list function of go-nvml. It trusts the count that the driver
// returns: a wrong one makes it slice beyond its buffer and panic. That is one of
// the driver's errors, and no reason to end a run.
func guarded(get func() ([]nvml.ProcessInfo, nvml.Return)) (infos []nvml.ProcessInfo, ret nvml.Return) {
	defer func() {
		if recover() != nil {
			infos, ret = nil, nvml.ERROR_UNKNOWN
		}
	}()
	return get()
}

// Telemetry implements gpu.Reader.
func (r *reader) Telemetry() (gpu.Telemetry, error) {
	var t gpu.Telemetry
	h, has := r.handle, r.driver.has
	if r.parent != nil {
		h = r.parent
	}
	var last error = r.fault("telemetry", "FUNCTION_NOT_FOUND")
	got := false
	for _, f := range []struct {
		into **float64
		call string
		unit float64
		get  func() (float64, nvml.Return)
	}{
		{&t.Utilization, "nvmlDeviceGetUtilizationRates", 1, func() (float64, nvml.Return) {
			u, ret := h.GetUtilizationRates()
			return float64(u.Gpu), ret
		}},
		{&t.Power, "nvmlDeviceGetPowerUsage", 1000, number(h.GetPowerUsage)},
		{&t.PowerLimit, "nvmlDeviceGetEnforcedPowerLimit", 1000, number(h.GetEnforcedPowerLimit)},
		{&t.Energy, "nvmlDeviceGetTotalEnergyConsumption", 1000, number(h.GetTotalEnergyConsumption)},
		{&t.SMClock, "nvmlDeviceGetClockInfo", 1, number(func() (uint32, nvml.Return) { return h.GetClockInfo(nvml.CLOCK_SM) })},
		{&t.MemoryClock, "nvmlDeviceGetClockInfo", 1, number(func() (uint32, nvml.Return) { return h.GetClockInfo(nvml.CLOCK_MEM) })},
		{&t.Temperature, "nvmlDeviceGetTemperature", 1, number(func() (uint32, nvml.Return) { return h.GetTemperature(nvml.TEMPERATURE_GPU) })},
	} {
		if !has(f.call) {
			continue
		}
		if v, ret := f.get(); ret == nvml.SUCCESS {
			*f.into, got = new(v/f.unit), true
		} else {
			last = r.fault(f.call, code(ret))
		}
	}
	reasons, ret := uint64(0), nvml.ERROR_FUNCTION_NOT_FOUND
	switch {
	case has("nvmlDeviceGetCurrentClocksEventReasons"):
		reasons, ret = h.GetCurrentClocksEventReasons()
	case has("nvmlDeviceGetCurrentClocksThrottleReasons"):
		reasons, ret = h.GetCurrentClocksThrottleReasons()
	}
	if ret == nvml.SUCCESS {
		t.Throttle, got = throttles(reasons), true
	}
	if !got {
		return gpu.Telemetry{}, last
	}
	return t, nil
}

// number makes one kind of number of a call's answer.
func number[T uint32 | uint64](get func() (T, nvml.Return)) func() (float64, nvml.Return) {
	return func() (float64, nvml.Return) {
		v, ret := get()
		return float64(v), ret
	}
}

// throttles names the reasons that slow down a busy GPU. They do not include being
// idle and clocks that were set on purpose.
func throttles(reasons uint64) []string {
	var names []string
	for _, r := range []struct {
		bit  uint64
		name string
	}{
		{nvml.ClocksEventReasonSwPowerCap, "power-cap"},
		{nvml.ClocksThrottleReasonHwSlowdown, "hardware-slowdown"},
		{nvml.ClocksEventReasonSyncBoost, "sync-boost"},
		{nvml.ClocksEventReasonSwThermalSlowdown, "software-thermal"},
		{nvml.ClocksThrottleReasonHwThermalSlowdown, "hardware-thermal"},
		{nvml.ClocksThrottleReasonHwPowerBrakeSlowdown, "power-brake"},
	} {
		if reasons&r.bit != 0 {
			names = append(names, r.name)
		}
	}
	return names
}

// Busy implements gpu.Reader. MIG instances have no such samples.
func (r *reader) Busy() ([]gpu.Busy, error) {
	const call = "nvmlDeviceGetProcessUtilization"
	if !r.driver.has(call) {
		return nil, nil
	}
	samples, ret := r.handle.GetProcessUtilization(0)
	switch ret {
	case nvml.SUCCESS:
	case nvml.ERROR_NOT_FOUND, nvml.ERROR_NOT_SUPPORTED, nvml.ERROR_INSUFFICIENT_SIZE: // none, or more than a moment ago
		return nil, nil
	default:
		return nil, r.fault(call, code(ret))
	}
	var busy []gpu.Busy
	for _, s := range samples {
		busy = append(busy, gpu.Busy{PID: int(s.Pid), Percent: float64(s.SmUtil), Stamp: s.TimeStamp})
	}
	return busy, nil
}

// Accounting implements gpu.Reader. It needs an administrator to have turned
// accounting on.
func (r *reader) Accounting(pid int) (*int64, error) {
	if !r.driver.has("nvmlDeviceGetAccountingMode") || !r.driver.has("nvmlDeviceGetAccountingStats") {
		return nil, nil
	}
	mode, ret := r.handle.GetAccountingMode()
	switch {
	case ret == nvml.ERROR_NOT_SUPPORTED || ret == nvml.SUCCESS && mode != nvml.FEATURE_ENABLED:
		return nil, nil
	case ret != nvml.SUCCESS:
		return nil, r.fault("nvmlDeviceGetAccountingMode", code(ret))
	}
	stats, ret := r.handle.GetAccountingStats(uint32(pid))
	switch {
	case ret == nvml.ERROR_NOT_FOUND, ret == nvml.SUCCESS && (stats.MaxMemoryUsage == notAvailable || stats.MaxMemoryUsage == 0):
		// Newer drivers seem to answer 0 for processes in containers. That is not
		// a figure: a process on the device has a context.
		return nil, nil
	case ret != nvml.SUCCESS:
		return nil, r.fault("nvmlDeviceGetAccountingStats", code(ret))
	}
	return new(int64(stats.MaxMemoryUsage)), nil
}
