package orchestrator

import (
	"context"

	"stackmeter/orchestrator/load"
	"stackmeter/orchestrator/load/python"
)

// PythonRequests is the load client of the engine python-requests as a Client.
type PythonRequests struct{ Client *python.Client }

// Image implements Client.
func (p PythonRequests) Image(ctx context.Context, progress func(string)) (string, error) {
	return p.Client.Launcher.Image(ctx, progress)
}

// Prepare implements Client.
func (p PythonRequests) Prepare(ctx context.Context, job load.Job) (Batch, error) {
	batch, err := p.Client.Prepare(ctx, job)
	if err != nil {
		return nil, err // not a typed nil
	}
	return batch, nil
}
