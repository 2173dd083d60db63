package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/lanes"
	"stackmeter/orchestrator/strategy"
	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
	"stackmeter/scenarios/units"
	"stackmeter/stacks"
	"stackmeter/stacks/servers"
)

// A lane is a device, or the machine, on which one cell at a time is measured.
type lane struct {
	*loop
	phases
	number int      // from 1; 0: it is the only one
	gpus   []string // UUIDs of the devices that its stacks get
	cores  lanes.Cores
	idle   map[string]int64       // bytes in use on each device, by UUID, before the first stack
	floor  *gpu.Floor             // of fresh: run: the devices without any stack
	up     map[stackKey]*live     // stacks that run
	again  map[results.Key]string // cells that were void once, and why
	round  int                    // of fresh: run: that of the last cell
	noRoom error                  // of the check: why its stack has no place
	failed bool                   // a cell, since it was last looked whether the devices answer

	reserved need // what the stacks take that it is about to start, with fresh: run
}

// divide divides the machine's cores between the lanes.
func (l *loop) divide() ([]lanes.Cores, error) {
	return lanes.Divide(len(l.devices), lanes.Of("/sys/devices/system", l.Cores), l.plan)
}

// open makes the lanes.
func (l *loop) open() error {
	cores, err := l.divide()
	if err != nil {
		return err
	}
	l.lanes, l.gone = nil, make([]bool, len(l.devices))
	for i, gpus := range l.devices {
		one := &lane{loop: l, gpus: gpus, cores: cores[i], up: map[stackKey]*live{}, again: map[results.Key]string{}}
		if len(l.devices) > 1 {
			one.number = i + 1
		}
		if i > 0 && !slices.Equal(cores[0].Stacks, cores[i].Stacks) {
			l.apart = true
		}
		l.lanes = append(l.lanes, one)
	}
	return nil
}

// have is what the lanes have, for the record.
func (l *loop) have() []results.Lane {
	var have []results.Lane
	for _, one := range l.lanes {
		have = append(have, results.Lane{Devices: one.gpus, Cores: units.FormatCpuset(one.cores.Stacks), Client: units.FormatCpuset(one.cores.Client)})
	}
	return have
}

// sideBySide makes the lanes that the plan asks for, no more than there are stacks to
// measure. It closes them again if cells disturb each other, and says what it found.
func (l *loop) sideBySide(ctx context.Context, todo []scenarios.Trial) error {
	stacks := len(verdict.GroupBy(todo, func(t scenarios.Trial) stackKey {
		key := l.key(t)
		if l.stays() { // a topology's starts follow each other
			key.repeat = 0
		}
		return key
	}))
	asked, found := len(l.devices), results.Lanes{}
	l.devices = l.devices[:max(1, min(asked, stacks))]
	if err := l.open(); err != nil {
		return err
	}
	switch {
	case stacks == 0:
		return nil
	case len(l.lanes) > 1:
		var err error
		if found.Check, found.Off, err = l.believe(ctx, todo); err != nil {
			return err
		}
	case l.plan.Lanes == 0 || l.plan.Lanes == 1:
		l.sayApart()
		return nil
	case asked > 1:
		found.Off = "there is one stack to measure"
	default:
		found.Off = "there is nothing to divide: without devices, lanes has to be a number"
		if l.share.Room != "" {
			found.Off = "there is room for one: " + l.share.Room
		} else if len(l.devices[0]) > 0 {
			found.Off = "there are devices for one"
		}
	}
	found.Have = l.have()
	l.notify(Event{Kind: EventNote, Message: "lanes: " + found.String()})
	return l.Recorder.Lanes(ctx, l.id, found)
}

// believe checks the lanes, and leaves one if they are not to be believed, with the reason.
// Those whose devices do not answer, or whose stacks find no room, are left out.
func (l *loop) believe(ctx context.Context, todo []scenarios.Trial) (*results.LaneCheck, string, error) {
	for asked := len(l.lanes); ; {
		check, off, err := l.check(ctx, todo)
		if err != nil || off == "" {
			return check, off, err
		}
		left, why := l.able(ctx)
		again := len(left) > 1 && len(left) < len(l.lanes)
		switch {
		case again:
			l.devices = left
		case len(left) == 0: // the cells will say why
			l.devices = l.devices[:1]
		case len(left) == 1:
			off = fmt.Sprintf("of %d %s", asked, why)
			fallthrough
		default:
			l.devices = left[:1]
		}
		l.apart = false
		if err := l.open(); err != nil || !again {
			return check, off, err
		}
	}
}

// able are the devices of the lanes that can measure, and why the last of the others
// cannot.
func (l *loop) able(ctx context.Context) (devices [][]string, why string) {
	for _, one := range l.lanes {
		var because string
		switch {
		case one.noRoom != nil:
			because, why = one.noRoom.Error(), "one has room: "+one.noRoom.Error()
		case !one.answers(ctx):
			because, why = strings.Join(one.gpus, ", ")+" does not answer", "only the devices of one answer"
		default:
			devices = append(devices, one.gpus)
			continue
		}
		l.notify(Event{Kind: EventNote, Message: fmt.Sprintf("lane %d is left out, because %s", one.number, because)})
	}
	return devices, why
}

// sayApart says on which cores the client and the stacks run of a run with one lane,
// unless the scenario says it.
func (l *loop) sayApart() {
	if own := l.lanes[0].cores; l.plan.Resources.Cpuset == "" && len(own.Stacks) > 0 {
		l.notify(Event{Kind: EventNote, Message: fmt.Sprintf("the client runs on core %s and the stacks on %s; client.cpuset and resources.cpuset can say otherwise",
			units.FormatCpuset(own.Client), units.FormatCpuset(own.Stacks))})
	}
}

// watched are the cores whose CPU time a cell has. What other lanes use disturbs nothing
// on a lane's own; nil: those of the machine.
func (l *lane) watched() []int {
	if !l.apart {
		return nil
	}
	return slices.Concat(l.cores.Client, l.cores.Stacks)
}

// expand is the spec of a topology's stack, with the lane's devices and cores.
func (l *lane) expand(t scenarios.Topology) (stacks.Spec, error) {
	plan := l.plan
	if l.plan.Lanes != 0 && len(l.gpus) > 0 {
		plan.Resources.GPU.Count, plan.Resources.GPU.Devices = 0, l.gpus
	}
	if len(l.cores.Stacks) > 0 {
		plan.Resources.Cpuset = units.FormatCpuset(l.cores.Stacks)
	}
	return l.specOf(plan, t)
}

// specOf is the spec of a topology's stack, with the client of the run.
func (l *loop) specOf(plan scenarios.Plan, t scenarios.Topology) (stacks.Spec, error) {
	spec, err := servers.Expand(l.id, plan, t)
	spec.Client = plan.Client
	return spec, err
}

// notify reports an event of the lane.
func (l *lane) notify(e Event) {
	e.Lane = l.number
	l.loop.notify(e)
}

// enter begins a step of the lane.
func (l *lane) enter(bound time.Duration, what ...string) (leave func()) {
	return l.watchdog.enterOn(l.number, bound, what...)
}

// phasesOfLanes are what the time of each lane went into.
func (l *loop) phasesOfLanes() []*phases {
	var all []*phases
	for _, one := range l.lanes {
		all = append(all, &one.phases)
	}
	return all
}

// lanesWork has all lanes work until nothing is left to find out, or one of them
// fails. No stack is up afterwards.
func (l *loop) lanesWork(ctx context.Context) error {
	failures := make([]error, len(l.lanes))
	var all sync.WaitGroup
	for i, one := range l.lanes {
		all.Go(func() {
			failures[i] = one.work(ctx)
			if failures[i] != nil {
				l.deciding.Lock()
				l.over = true
				l.decided.Broadcast()
				l.deciding.Unlock()
			}
			failures[i] = errors.Join(failures[i], one.removeAll(ctx, one.others(nil)))
		})
	}
	all.Wait()
	return errors.Join(failures...)
}

// work does what the strategy says.
func (l *lane) work(ctx context.Context) error {
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		step, more := l.next(ctx)
		if !more {
			return nil
		}
		if err := l.do(ctx, step); err != nil {
			return err
		}
		if left, err := l.leave(ctx); left || err != nil {
			return err
		}
	}
}

// leave ends the lane if its devices do not answer any more and another lane goes on:
// one without devices would fail all that is left.
func (l *lane) leave(ctx context.Context) (bool, error) {
	failed := l.failed
	l.failed = false
	if !failed || l.number == 0 || l.answers(ctx) || ctx.Err() != nil {
		return false, nil
	}
	if err := l.removeAll(ctx, l.others(nil)); err != nil {
		return true, err
	}
	l.deciding.Lock()
	defer l.deciding.Unlock()
	if l.lanesLeft() == 1 {
		return false, nil
	}
	l.gone[l.number-1] = true
	l.waiting = 0
	l.decided.Broadcast()
	l.notify(Event{Kind: EventNote, Message: fmt.Sprintf("lane %d measures nothing more, because %s does not answer; the other lanes go on with what is left",
		l.number, strings.Join(l.gpus, ", "))})
	return true, nil
}

// lanesLeft is how many lanes go on; deciding is held.
func (l *loop) lanesLeft() int {
	left := 0
	for _, gone := range l.gone {
		if !gone {
			left++
		}
	}
	return left
}

// next is the lane's next step. One that has nothing to do waits until all have: what
// another finds may be for it.
func (l *lane) next(ctx context.Context) (strategy.Step, bool) {
	l.deciding.Lock()
	defer l.deciding.Unlock()
	for !l.over {
		step, more := l.strategy.Next(strategy.Capacity{Lane: max(0, l.number-1), Lanes: len(l.lanes), Gone: l.gone, Stacks: mostUp - len(l.up), Up: l.isUp, Fits: l.fits(ctx), Left: l.left()})
		if more {
			l.reserve(step.Start)
			return step, true
		}
		if l.waiting++; l.waiting == l.lanesLeft() {
			l.over = true
			l.decided.Broadcast()
			break
		}
		l.decided.Wait()
	}
	return strategy.Step{}, false
}

// add tells the strategy of a record, and the lanes that wait for one.
func (l *loop) add(rec results.Record) {
	l.deciding.Lock()
	defer l.deciding.Unlock()
	l.strategy.Add(rec)
	l.waiting = 0
	l.decided.Broadcast()
	if l.plan.Search != nil {
		l.found(rec)
	}
}

// do does one step.
func (l *lane) do(ctx context.Context, step strategy.Step) error {
	for _, trial := range step.Skip {
		if !l.stays() {
			l.trialNumber(trial)
		}
		l.notify(Event{Kind: EventSkip, Topology: trial.Topology.Name, Repeat: trial.Repeat, Requests: requests([]scenarios.Trial{trial})})
	}
	for _, pruned := range step.Prune {
		if err := l.brokenFor(pruned.Trial.Topology); err != nil { // it could not have been started at all
			one := pruned.Trial
			one.Cells = []scenarios.Cell{pruned.Cell}
			if err := l.failAll(ctx, one, err, "", nil); err != nil {
				return err
			}
			continue
		}
		rec := l.unmeasured(pruned.Trial, pruned.Cell)
		rec.Status, rec.Reason = results.StatusPruned, pruned.Reason
		if err := l.put(ctx, rec); err != nil {
			return err
		}
	}
	err := l.startAll(ctx, step.Start)
	l.reserve(nil)
	if err != nil {
		return err
	}
	if step.Measure != nil {
		if err := l.measureOn(ctx, *step.Measure); err != nil {
			return err
		}
	}
	var stop []*live
	for _, trial := range step.Stop {
		if s := l.up[l.key(trial)]; s != nil {
			stop = append(stop, s)
		}
	}
	if err := l.removeAll(ctx, stop); err != nil {
		return err
	}
	switch {
	case len(l.up) == 0:
		return l.flush(ctx, l.plannedCells())
	case l.plan.Search != nil: // one that is killed has taken the time that it took
		return l.account(ctx, l.planned, l.phasesOfLanes()...)
	}
	return nil
}
