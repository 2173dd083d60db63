//go:build !linux

package process

import (
	"context"
	"errors"
	"io"

	"stackmeter/stacks"
)

var errUnsupported = errors.New("local processes need Linux: elsewhere nothing keeps a server's processes together; use the runtime docker")

// Runtime is stacks.Runtime over local processes, which only Linux has. There is
// none here.
type Runtime struct{ stacks.Runtime }

// New fails: this system has no such runtime.
func New() (*Runtime, error) { return nil, errUnsupported }

// Launcher fails: this system has no such runtime.
func Launcher([]string, io.Reader, io.Writer) error { return errUnsupported }

// Has does nothing.
func (r *Runtime) Has([]stacks.Device, string) {}

// Describe names the runtime.
func (r *Runtime) Describe(context.Context) string { return Name }

// Programs finds nothing.
func (r *Runtime) Programs() []Located { return nil }

// Leftovers fails: this system has no such runtime.
func (r *Runtime) Leftovers() ([]string, error) { return nil, errUnsupported }

// Ungrouped says why there are no control groups.
func (r *Runtime) Ungrouped() error { return errUnsupported }
