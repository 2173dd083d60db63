package gpu

import (
	"fmt"
	"strings"
)

// DefaultTolerance is how far a device's memory may lie above its idle
// baseline and still count as back: less than any CUDA context holds (the
// smallest seen was 287 MB), more than a driver's own comings and goings.
const DefaultTolerance = 128 << 20

// A Holder is a process that holds memory on a device.
type Holder struct {
	Device    string `json:"device"` // UUID
	PID       int    `json:"pid"`
	Name      string `json:"name"`
	Service   string `json:"service,omitempty"`   // of the stack, where it belongs to one
	Container string `json:"container,omitempty"` // the innermost, where it runs in one
	Memory    *int64 `json:"memory"`
	Server    bool   `json:"mps_server,omitempty"` // of the MPS that the stack uses
}

// String names the holder for an error's text.
func (h Holder) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "process %d", h.PID)
	if h.Name != "" {
		fmt.Fprintf(&b, " (%s)", h.Name)
	}
	if h.Container != "" {
		fmt.Fprintf(&b, " in container %.12s", h.Container)
	}
	if h.Memory != nil {
		fmt.Fprintf(&b, " holds %s", mib(*h.Memory))
	} else {
		b.WriteString(" holds an amount that the driver does not report")
	}
	return b.String()
}

// A Snapshot is one device at one moment.
type Snapshot struct {
	Device        Device
	Memory        *Memory // nil: it could not be read, see Err
	Err           error   // of reading the memory
	Holders       []Holder
	Sight         Sight
	ProcessReason string // why Holders says nothing
}

// Dirt returns what keeps devices from being clean, one sentence each; none
// means that a measurement can begin. The idle baseline of each device, by
// UUID, is what its memory is held against; a device that has none yet is
// clean when nobody holds memory on it. Holders that belong to a service of
// the stack under measurement do not count, and neither does the server of the
// MPS that it uses, which starts with the first client and then stays.
//
// It is pure: Sampler.WaitClean is what looks at the machine and waits.
func Dirt(now []Snapshot, idle map[string]int64, tolerance int64) []string {
	var dirt []string
	for _, s := range now {
		if s.Memory == nil {
			dirt = append(dirt, fmt.Sprintf("GPU %s cannot be read: %v", s.Device.UUID, s.Err))
			continue
		}
		own, server := false, int64(0)
		for _, h := range s.Holders {
			if h.Server {
				if h.Memory != nil {
					server += *h.Memory
				}
				continue
			}
			if h.Service != "" {
				own = true
				continue
			}
			dirt = append(dirt, fmt.Sprintf("GPU %s: %s", s.Device.UUID, h))
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
