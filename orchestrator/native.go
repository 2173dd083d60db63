package orchestrator

import (
	"context"

	"stackmeter/orchestrator/load"
)

// Native is stackmeter's own load client as a Client.
type Native struct{ Client *load.Client }

// Prepare implements Client.
func (n Native) Prepare(ctx context.Context, job load.Job) (Batch, error) {
	batch, err := n.Client.Prepare(ctx, job)
	if err != nil {
		return nil, err // not a typed nil
	}
	return batch, nil
}
