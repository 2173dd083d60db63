package gpu

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// A lateDriver has one idle device, which it fails to open so many times.
type lateDriver struct{ failures int }

var errLate = errors.New("late")

func (d *lateDriver) Devices() ([]Device, error) { return []Device{{UUID: "GPU-1"}}, nil }
func (d *lateDriver) Sight() (Sight, string)     { return SightHost, "" }

func (d *lateDriver) Reader(string) (Reader, error) {
	if d.failures != 0 {
		d.failures--
		return nil, errLate
	}
	return idleReader{}, nil
}

// An idleReader is asked for its memory and its processes only.
type idleReader struct{ Reader }

func (idleReader) Device() Device                { return Device{UUID: "GPU-1"} }
func (idleReader) Memory() (Memory, error)       { return Memory{Total: 1 << 30}, nil }
func (idleReader) Processes() ([]Process, error) { return nil, nil }

// TestWaitCleanLooksAgain: a driver that does not answer once refuses nobody,
// one that never does is named when the wait is over.
func TestWaitCleanLooksAgain(t *testing.T) {
	once := Sampler{Driver: &lateDriver{failures: 1}, ProcessInterval: time.Millisecond}
	if err := once.WaitClean(t.Context(), []string{"GPU-1"}, nil, time.Minute); err != nil {
		t.Errorf("late once: %v", err)
	}
	never := Sampler{Driver: &lateDriver{failures: -1}, ProcessInterval: time.Millisecond}
	err := never.WaitClean(t.Context(), []string{"GPU-1"}, nil, 20*time.Millisecond)
	if !errors.Is(err, errLate) || !strings.Contains(err.Error(), "could not be looked at, after 20ms still") {
		t.Errorf("always late: %v", err)
	}
}
