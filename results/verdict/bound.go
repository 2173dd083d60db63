package verdict

import (
	"cmp"
	"fmt"
	"slices"

	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/verdict/cores"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
)

// What can bound a cell.
const (
	boundGPU     = "gpu"
	boundCPU     = "cpu"     // the stack's
	boundWorkers = "workers" // the server's: requests waited for a free one, for its interpreter, or for their turn in the app
	boundClient  = "client"
	boundRate    = "rate" // of an open loop: all that was offered was served
	boundPool    = "pool" // of a closed loop: no request waited for another
	boundUnclear = "unclear"
)

const (
	// busyShare is the share of a resource that has to be used for it to be the
	// bound. It is below 1 because a batch ramps up and down at its edges.
	busyShare = 0.85

	// busyGPU is the mean utilisation, in percent, from which the GPU is the
	// bound. NVML's figure is the share of time in which at least one kernel
	// ran, and between two requests there is always some time without one.
	busyGPU = 80

	// fewestSamples is the fewest samples of the GPU's utilisation, one each second,
	// that say how busy it was.
	fewestSamples = 5

	// shortest is how many seconds a cell has to last for its CPU time to say
	// anything: the kernel's counters advance in steps of 10 ms.
	shortest = 0.1

	// ServedShare is the share of the offered rate from which it counts as served:
	// the last answers come after the last request.
	ServedShare = 0.95

	// idleShare is the share below which CPU and GPU count as idle.
	idleShare = 0.5

	// waitingShare is the largest share of a core that a worker thread uses while
	// it waits for something other than CPU, where what other programs used is not
	// known: they may be why it had no more.
	waitingShare = 0.2
)

// A Bound is what bound a cell, and the figures that show it.
type Bound struct {
	By  string `json:"bound_by"`  // one of the Bound constants
	Why string `json:"bound_why"` // a sentence
}

// findBound says what bound a record's cell. It looks at the client first,
// because a client that cannot send more says nothing about the server, then at
// the GPU, the stack's CPU and its workers. The limits come from the plan and
// the host. alone is Summary.Alone of the cell.
func findBound(r results.Record, alone *float64, plan scenarios.Plan, host results.Host) Bound {
	u := utilisationOf(r, plan, host)
	if served := r.Throughput(); alone != nil && served != nil {
		u.gain = new(*served / *alone)
	}
	switch {
	case r.Duration == nil || *r.Duration <= 0:
		return Bound{boundUnclear, "there is no duration to divide by"}
	case *r.Duration < shortest:
		return Bound{boundUnclear, fmt.Sprintf("%.3f s are too short to tell", *r.Duration)}
	case r.Cell.Load.Searches():
		return Bound{boundUnclear, "a search sends many batches, and what it used is not known of each"}
	}
	for _, look := range []func(utilisation) *Bound{boundByClient, boundByRate, boundByGPU, boundByCPU, boundByOthers, boundByWorkers} {
		if bound := look(u); bound != nil {
			return *bound
		}
	}
	return Bound{boundUnclear, u.figures()}
}

// A utilisation is how much a record used of each resource. A pointer is nil where
// that is not known. CPU is in cores, the mean over the cell.
type utilisation struct {
	record   results.Record
	stack    *float64 // cores that the stack used
	client   *float64 // cores that the client used
	others   *float64 // cores that other programs used
	cores    int      // the machine's; 0: not known
	limit    float64  // cores that the stack could use; 0: not known
	limitIs  string   // where the limit comes from
	shared   bool     // the client used the same cores
	gpu      *float64 // percent, the busiest device's
	usesGPU  bool
	inFlight *float64 // requests at once, the mean
	gain     *float64 // times as many replies per second as one client alone gets
	workers  int      // interpreters; 0: not known
	slots    int      // requests that the server works on at once; 0: no such limit
	slot     string   // what one of them is called
}

func utilisationOf(r results.Record, plan scenarios.Plan, host results.Host) utilisation {
	u := utilisation{record: r, usesGPU: r.GPU.Validity != "" && (r.GPU.Peak != nil || r.GPU.Reason == results.LaterRound)}
	if r.Duration == nil || *r.Duration <= 0 {
		return u
	}
	u.stack, u.client = per(r.CPU.Stack, *r.Duration), per(r.CPU.Client, *r.Duration)
	u.cores = host.Cores
	if machine := per(r.CPU.Machine, *r.Duration); machine != nil && u.stack != nil && u.client != nil {
		u.others = new(max(0, *machine-*u.stack-*u.client))
	}
	u.limit, u.limitIs, u.shared = cores.Of(r, plan, host)
	for _, d := range r.GPU.Devices {
		if mean := d.Activity.UtilizationMean; mean != nil && r.GPU.TelemetrySamples >= fewestSamples && (u.gpu == nil || *mean > *u.gpu) {
			u.gpu = mean
		}
	}
	if r.Latency != nil && r.Latency.Count() > 0 {
		// By Little's law. In a closed loop it is the number of waiting clients.
		u.inFlight = new(float64(r.Latency.Count()) * r.Latency.Mean().Seconds() / *r.Duration)
	} else if r.Cell.Load.Client != scenarios.ClientOpen && r.Cell.Load.Pool > 0 {
		u.inFlight = new(float64(r.Cell.Load.Pool))
	}
	if r.Stack != nil {
		u.workers, u.slots, u.slot = r.Stack.Interpreters, r.Stack.Slots, "worker thread"
		if r.Stack.Concurrency != nil || r.Stack.Loop != "" {
			u.slot = "request slot"
		}
	}
	return u
}

func per(seconds *float64, duration float64) *float64 {
	if seconds == nil {
		return nil
	}
	return new(*seconds / duration)
}

func boundByClient(u utilisation) *Bound {
	why := ""
	switch flags := u.record.Flags; {
	case slices.Contains(flags, load.FlagClientBound):
		why = "the client used nearly all the CPU that it could get"
	case slices.Contains(flags, load.FlagClientStarved):
		why = "other programs had the cores that the client was ready to run on"
	case slices.Contains(flags, load.FlagClientLate):
		why = "the client fell behind its schedule"
	default:
		return nil
	}
	if u.client != nil {
		why += fmt.Sprintf(": %.2f cores", *u.client)
	}
	if u.stack != nil {
		why += fmt.Sprintf(", beside %.2f of the stack", *u.stack)
	}
	return &Bound{boundClient, why}
}

// boundByRate is for an open loop that was served as fast as it asked. Nothing
// was offered that could have waited, so nothing was saturated.
func boundByRate(u utilisation) *Bound {
	rate, served := u.record.Cell.Load.Rate, u.record.Throughput()
	if u.record.Cell.Load.Client != scenarios.ClientOpen || rate <= 0 || served == nil || *served < ServedShare*rate {
		return nil
	}
	return &Bound{boundRate, fmt.Sprintf("%.4g of %.4g requests that were offered each second were answered: more may be served; %s", *served, rate, u.figures())}
}

func boundByGPU(u utilisation) *Bound {
	if u.gpu == nil || *u.gpu < busyGPU {
		return nil
	}
	return &Bound{boundGPU, fmt.Sprintf("the GPU was busy for %.0f%% of the time", *u.gpu)}
}

func boundByCPU(u utilisation) *Bound {
	if u.stack == nil || u.limit <= 0 || u.usesGPU && (u.gpu == nil || *u.gpu >= 100*idleShare) {
		return nil // a CPU that waits for the GPU can be as busy as one that computes
	}
	if *u.stack >= busyShare*u.limit {
		return &Bound{boundCPU, fmt.Sprintf("the stack used %.2f of %.3g cores (%s)", *u.stack, u.limit, u.limitIs)}
	}
	if u.shared && u.client != nil && *u.stack+*u.client >= busyShare*u.limit {
		if *u.client > *u.stack {
			return &Bound{boundClient, fmt.Sprintf("the client used %.2f and the stack %.2f of %.3g cores that they share", *u.client, *u.stack, u.limit)}
		}
		return &Bound{boundCPU, fmt.Sprintf("the stack used %.2f and the client %.2f of %.3g cores that they share", *u.stack, *u.client, u.limit)}
	}
	// Fewer requests than cores, and each of them computes all the time on one: faster
	// cores would help, more of them would not.
	if u.inFlight != nil && *u.inFlight >= busyShare && *u.inFlight < u.limit && *u.stack >= busyShare**u.inFlight && *u.stack <= (2-busyShare)**u.inFlight {
		return &Bound{boundCPU, fmt.Sprintf("%.1f requests at once kept %.2f cores busy: a faster core would help, more of them would not", *u.inFlight, *u.stack)}
	}
	return nil
}

// boundByOthers is for a machine that other programs kept busy. That the stack
// used little CPU then does not show that it needed no more.
func boundByOthers(u utilisation) *Bound {
	if u.others == nil || u.cores <= 0 {
		return nil
	}
	busy, cores := *u.others+*u.stack+*u.client, float64(u.cores)
	if busy < busyShare*cores || *u.others < (1-busyShare)*cores {
		return nil
	}
	return &Bound{boundUnclear, fmt.Sprintf("other programs kept %.2f of the machine's %s busy, and the stack had %.2f", *u.others, show.Plural(u.cores, "core"), *u.stack)}
}

func boundByWorkers(u utilisation) *Bound {
	if u.stack == nil || u.limit <= 0 || u.inFlight == nil || u.usesGPU && u.gpu == nil {
		return nil
	}
	if u.gpu != nil && *u.gpu >= 100*idleShare {
		return nil
	}
	gpu := ""
	if u.gpu != nil {
		gpu = fmt.Sprintf(" and the GPU %.0f%% of the time", *u.gpu)
	}
	atOnce, used := fmt.Sprintf("%.1f requests at once", *u.inFlight), fmt.Sprintf("while the stack used %.2f of %.3g cores%s", *u.stack, u.limit, gpu)
	waited, oneByOne := false, false
	if u.gain != nil {
		asFast := fmt.Sprintf("%.2f times as fast as those of one client alone", *u.gain)
		waited = *u.gain < busyShare**u.inFlight
		if !waited {
			return &Bound{boundPool, fmt.Sprintf("%s were answered %s, %s: more clients may get more", atOnce, asFast, used)}
		}
		if oneByOne = *u.gain <= 2-busyShare && u.slots != 1; oneByOne {
			atOnce += " were answered one at a time, " + asFast
		}
	}
	// A Python process runs Python code on one core at a time, however many
	// threads it has. What its libraries compute without the interpreter comes
	// on top.
	if stack := *u.stack; u.workers > 0 && float64(u.workers) < u.limit && *u.inFlight > float64(u.workers) &&
		stack >= busyShare*float64(u.workers) && stack <= (2-busyShare)*float64(u.workers) {
		return &Bound{boundWorkers, fmt.Sprintf("%s, and %s kept %.2f of %.3g cores busy: about one core is what a Python process uses, more of them could use the rest",
			atOnce, show.Plural(u.workers, "worker"), stack, u.limit)}
	}
	// The server would take more: the app computes in its event loop, or has a lock.
	if oneByOne {
		return &Bound{boundWorkers, atOnce + ", " + used}
	}
	slots, waitedFor := float64(u.slots), ""
	switch {
	case u.slots > 0 && u.workers > 0:
		waitedFor = fmt.Sprintf("waited for %s (%d × %d)", show.Plural(u.slots, u.slot), u.workers, u.slots/u.workers)
	case u.slots == 0 && waited:
		// The server takes any number. How many the app works on at a time shows only
		// in how much faster many clients are answered than one.
		slots = *u.gain
		waitedFor = fmt.Sprintf("were answered %.1f times as fast as those of one client alone: as if the app worked on so many at a time", slots)
	default:
		return nil
	}
	waiting := waitingShare * slots
	if u.others != nil { // and boundByOthers found that they used little
		waiting = max(waiting, busyShare*float64(u.workers))
	}
	if *u.inFlight > slots && *u.stack < idleShare*u.limit && *u.stack < waiting {
		return &Bound{boundWorkers, atOnce + " " + waitedFor + ", " + used}
	}
	return nil
}

// figures lists what is known, for a cell whose bound is unclear.
func (u utilisation) figures() string {
	text := "CPU of the stack not measured"
	if u.stack != nil {
		text = fmt.Sprintf("the stack used %.2f cores", *u.stack)
		if u.limit > 0 {
			text = fmt.Sprintf("the stack used %.2f of %.3g cores", *u.stack, u.limit)
		}
	}
	switch {
	case u.gpu != nil:
		text += fmt.Sprintf(", the GPU was busy for %.0f%% of the time", *u.gpu)
	case u.usesGPU:
		text += ", how busy the GPU was is not known"
	}
	if u.inFlight != nil {
		text += fmt.Sprintf(", %.1f requests at once", *u.inFlight)
		if u.slots > 0 {
			text += " for " + show.Plural(u.slots, u.slot)
		}
	}
	return text
}

// BoundOf is what bound a cell over its repeats, with the figures of the repeat
// with the median duration. It is unclear where the repeats disagree.
func BoundOf(s Summary, plan scenarios.Plan, host results.Host) Bound {
	if len(s.Speaking) == 0 || s.Duration == nil {
		return Bound{boundUnclear, "nothing was measured"}
	}
	repeats := slices.SortedStableFunc(slices.Values(s.Speaking), func(a, b results.Record) int {
		return cmp.Compare(*cmp.Or(a.Duration, new(0.0)), *cmp.Or(b.Duration, new(0.0)))
	})
	bound := findBound(repeats[(len(repeats)-1)/2], s.Alone, plan, host)
	for _, r := range repeats {
		if other := findBound(r, s.Alone, plan, host); other.By != bound.By {
			return Bound{boundUnclear, fmt.Sprintf("the repeats disagree: in one the bound is %s (%s), in another %s (%s)", bound.By, bound.Why, other.By, other.Why)}
		}
	}
	return bound
}
