//go:build !linux

package native

import (
	"context"
	"errors"
	"io"

	"stackmeter/orchestrator/load"
)

// WorkerArgument is the hidden subcommand of a client process.
const WorkerArgument = "load-worker"

var errLinuxOnly = errors.New("the native engine sends loads on Linux only: run stackmeter there, or take client.engine python-requests")

// A Client prepares nothing here.
type Client struct{}

// Image returns nothing.
func (*Client) Image(context.Context, func(string)) (string, error) { return "", nil }

// Prepare refuses.
func (*Client) Prepare(context.Context, load.Job) (load.Batch, error) { return nil, errLinuxOnly }

// Worker refuses.
func Worker(io.Reader, io.Writer) error { return errLinuxOnly }

// Cores are not known here.
func Cores() ([]int, error) { return nil, nil }
