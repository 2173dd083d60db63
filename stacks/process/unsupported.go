//go:build !linux

package process

import (
	"context"
	"errors"
	"io"

	"stackmeter/stacks"
)

var errUnsupported = errors.New("local processes need Linux: elsewhere nothing keeps a server's processes together; use the runtime docker")

// Runtime is stacks.Runtime over local processes, which only Linux has.
type Runtime struct {
	stacks.Machine

	Command []string
	NoGroup bool
}

// New says that there is no such runtime on this system.
func New() (*Runtime, error) { return nil, errUnsupported }

// Launcher says that there is no such runtime on this system.
func Launcher([]string, io.Reader, io.Writer) error { return errUnsupported }

// Local reports true: the services would be processes of this machine.
func (r *Runtime) Local(context.Context) (bool, error) { return true, nil }

// Describe names the runtime.
func (r *Runtime) Describe(context.Context) string { return Name }

// Close does nothing.
func (r *Runtime) Close() error { return nil }

// Located is a program that the presets start, and where it is.
type Located struct{ Name, Path, Remedy string }

// Programs finds nothing.
func (r *Runtime) Programs() []Located { return nil }

// Ungrouped is why there are no control groups.
func (r *Runtime) Ungrouped() error { return errUnsupported }

// Leftovers finds nothing.
func (r *Runtime) Leftovers(context.Context, string) ([]string, error) { return nil, errUnsupported }

// Check implements stacks.Runtime.
func (r *Runtime) Check(context.Context) error { return errUnsupported }

// Prepare implements stacks.Runtime.
func (r *Runtime) Prepare(context.Context, stacks.Spec, func(string)) error { return errUnsupported }

// Start implements stacks.Runtime.
func (r *Runtime) Start(context.Context, stacks.Spec) (stacks.Stack, error) {
	return nil, errUnsupported
}

// Sweep implements stacks.Runtime.
func (r *Runtime) Sweep(context.Context, string) ([]string, error) { return nil, errUnsupported }
