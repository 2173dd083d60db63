//go:build !linux || !cgo

package nvml

import (
	"fmt"

	"stackmeter/orchestrator/gpu"
)

// A Driver cannot be opened here.
type Driver struct{ gpu.Driver }

// Open fails with an error that wraps gpu.ErrNoDriver.
func Open(string) (*Driver, error) {
	return nil, fmt.Errorf("%w: this stackmeter was built without cgo or not for Linux, and NVML needs both", gpu.ErrNoDriver)
}

// Close does nothing.
func (*Driver) Close() error { return nil }
