package verdict

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/scenarios"
)

// A Deployed is the topology to deploy, with what was measured of it.
type Deployed struct {
	Topology scenarios.Topology
	For      []Recommendation // the loads for which it was chosen; none if it was named

	// Of all loads and repeats that are ok.
	Peaks     map[string]int64    // the highest main memory of each service, in bytes; only those that were measured
	Digests   map[string]string   // the image of each service, where it is known
	Processes map[string][]string // the command lines that ran in each service
	Devices   int                 // GPUs that its stack was given
}

// ErrUndecided is the error of Choose where loads have different answers.
var ErrUndecided = errors.New("the loads have different answers")

// ErrNothingFits is the error of Choose where no cell is within the budgets.
var ErrNothingFits = errors.New("no cell is within the budgets")

// Choose finds the topology that is best for all loads, or one by its name. Its records
// have to say that it worked: nothing is decided for a topology without a cell that is
// ok.
func Choose(records []results.Record, loads []Recommendation, named string) (Deployed, error) {
	var d Deployed
	if named == "" {
		var answers []string
		for _, r := range loads {
			if r.Best == nil {
				continue
			}
			named = r.Best.Topology.Name
			d.For = append(d.For, r)
			answers = append(answers, ModeName(r.Load)+" "+named)
		}
		if len(answers) == 0 {
			return d, ErrNothingFits
		}
		if slices.ContainsFunc(d.For, func(r Recommendation) bool { return r.Best.Topology.Name != named }) {
			return d, fmt.Errorf("%w: %s", ErrUndecided, strings.Join(answers, ", "))
		}
	}
	d.Peaks, d.Digests, d.Processes = map[string]int64{}, map[string]string{}, map[string][]string{}
	known := map[string]bool{}
	found := false
	for _, r := range records {
		known[r.Topology.Name] = true
		if r.Topology.Name != named || r.Status != results.StatusOK {
			continue
		}
		found, d.Topology = true, r.Topology
		d.Devices = max(d.Devices, len(r.GPU.Devices))
		for name, peak := range r.Memory.Services {
			d.Peaks[name] = max(d.Peaks[name], peak)
		}
		if r.Stack == nil {
			continue
		}
		for _, s := range r.Stack.Services {
			d.Digests[s.Name], d.Processes[s.Name] = s.Digest, s.Processes
		}
	}
	switch {
	case found:
		return d, nil
	case known[named]:
		return d, fmt.Errorf("the run has no cell of topology %s that is ok", named)
	}
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	return d, fmt.Errorf("the run has no topology %s: it has %s", named, strings.Join(names, ", "))
}
