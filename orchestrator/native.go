package orchestrator

import (
	"context"

	"stackmeter/orchestrator/load"
)

// Native is stackmeter's own load client as a Client.
type Native struct{ Client *load.Client }

// Image implements Client: it is this program.
func (Native) Image(context.Context, func(string)) (string, error) { return "", nil }

// Prepare implements Client. A load that has a rate to be found is searched: the
// Batch then fires as many batches as that takes.
func (n Native) Prepare(ctx context.Context, job load.Job) (Batch, error) {
	if job.Load.Searches() {
		search, err := n.Client.Search(ctx, job)
		if err != nil {
			return nil, err // not a typed nil
		}
		return search, nil
	}
	batch, err := n.Client.Prepare(ctx, job)
	if err != nil {
		return nil, err // not a typed nil
	}
	return batch, nil
}
