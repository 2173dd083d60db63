package gpu

import (
	"fmt"
)

// tolerance is how far above its idle baseline a device's memory may be
// and still count as idle. It is less than any CUDA context holds (the smallest
// seen was 287 MB) and more than a driver's own variation.
const tolerance = 128 << 20

// A Holder is a process that holds memory on a device.
type Holder struct {
	Device    string // UUID
	PID       int
	Name      string
	Service   string // of the stack, if it belongs to one
	Container string // the innermost, if it runs in one
	Memory    *int64
	Server    bool // of the MPS that the stack uses
}

// String describes the holder for an error's text.
func (h Holder) String() string {
	text := fmt.Sprintf("process %d", h.PID)
	if h.Name != "" {
		text += " (" + h.Name + ")"
	}
	if h.Container != "" {
		text += fmt.Sprintf(" in container %.12s", h.Container)
	}
	if h.Memory == nil {
		return text + " holds an amount that the driver does not report"
	}
	return text + " holds " + mib(*h.Memory)
}

// A Snapshot is one device at one moment.
type Snapshot struct {
	Device        Device
	Memory        *Memory // nil: it could not be read, see Err
	Err           error   // of reading the memory
	Holders       []Holder
	ProcessReason string // why Holders cannot be trusted
}

// Dirt returns what keeps the devices from being clean, one sentence each.
// Without any, a measurement can begin. idle is the idle baseline of each device,
// by UUID. A device without one is clean if nobody holds memory on it. Services
// of the stack under measurement may hold memory, and so may the server of the
// MPS that the stack uses: it starts with the first client and then stays.
//
// Dirt is pure: Sampler.WaitClean looks at the machine and waits.
func Dirt(now []Snapshot, idle map[string]int64) []string {
	var dirt []string
	for _, s := range now {
		if s.Memory == nil {
			dirt = append(dirt, fmt.Sprintf("GPU %s cannot be read: %v", s.Device.UUID, s.Err))
			continue
		}
		own, server := false, int64(0)
		for _, h := range s.Holders {
			switch {
			case h.Server && h.Memory != nil:
				server += *h.Memory
			case h.Server:
			case h.Service != "":
				own = true
			default:
				dirt = append(dirt, fmt.Sprintf("GPU %s: %s", s.Device.UUID, h))
			}
		}
		base, known := idle[s.Device.UUID]
		if known && !own && s.Memory.Used-server > base+tolerance {
			dirt = append(dirt, fmt.Sprintf("GPU %s has %s in use, %s more than when it was idle",
				s.Device.UUID, mib(s.Memory.Used), mib(s.Memory.Used-base)))
		}
	}
	return dirt
}

// mib prints bytes for an error's text.
func mib(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }
