package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/results"
	"stackmeter/results/storetest"
	"stackmeter/scenarios"
)

// TestMemory: the suite is not the SQLite store's own. A store of another kind
// passes it.
func TestMemory(t *testing.T) {
	storetest.Run(t, storetest.Bench{Open: func(*testing.T) results.Store { return &memory{} }})
}

// A memory keeps runs and their records for as long as the process lives. Its
// zero value is an empty store.
type memory struct {
	mu   sync.Mutex
	runs []*run            // in the order in which they began
	tags map[string]string // ids of runs
}

type run struct {
	results.Run
	records []results.Record // in the order in which they were put
}

// find returns the run with the id, nil where there is none.
func (s *memory) find(id string) *run {
	for _, r := range s.runs {
		if r.ID == id {
			return r
		}
	}
	return nil
}

// try changes a run.
func (s *memory) try(what, id string, change func(*run) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := results.ErrNoRun
	if r := s.find(id); r != nil {
		err = change(r)
	}
	if err != nil {
		return fmt.Errorf("%s run %s: %w", what, id, err)
	}
	return nil
}

// set changes a run in a way that cannot fail.
func (s *memory) set(what, id string, change func(*run)) error {
	return s.try(what, id, func(r *run) error {
		change(r)
		return nil
	})
}

// Begin enters a run.
func (s *memory) Begin(ctx context.Context, run results.Run) error { return s.Import(ctx, run, nil) }

// Import enters a run with its records.
func (s *memory) Import(_ context.Context, entered results.Run, records []results.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := results.CheckName(entered.ID)
	if s.find(entered.ID) != nil {
		err = errors.New("the store holds a run with this id already")
	}
	for _, tag := range entered.Tags {
		err = errors.Join(err, results.CheckName(tag))
	}
	if err != nil {
		return fmt.Errorf("begin run %q: %w", entered.ID, err)
	}
	for _, tag := range entered.Tags {
		s.tag(tag, entered.ID)
	}
	entered.Started, entered.Plan, entered.Spent = entered.Started.UTC(), entered.Plan.Redacted(), maps.Clone(entered.Spent)
	r := &run{Run: entered}
	for _, record := range records {
		r.put(record)
	}
	s.runs = append(s.runs, r)
	return nil
}

// Resume marks a run as under way again.
func (s *memory) Resume(_ context.Context, id string, plan scenarios.Plan, owner string) error {
	return s.set("resume", id, func(r *run) {
		r.Finished, r.Outcome, r.Verdict, r.Checks, r.Answers = nil, "", "", nil, nil
		r.Plan, r.Owner = plan.Redacted(), owner
	})
}

// Lanes replaces the run's lanes.
func (s *memory) Lanes(_ context.Context, id string, lanes results.Lanes) error {
	return s.set("record the lanes of", id, func(r *run) { r.Lanes = &lanes })
}

// Answered records what a search found.
func (s *memory) Answered(_ context.Context, id string, answers []results.Answer) error {
	return s.set("record the answers of", id, func(r *run) { r.Answers = answers })
}

// Images replaces the run's images.
func (s *memory) Images(_ context.Context, id string, images map[string]string) error {
	return s.set("record the images of", id, func(r *run) { r.Images = images })
}

// Devices replaces the run's devices.
func (s *memory) Devices(_ context.Context, id string, devices []gpu.Device) error {
	return s.set("record the devices of", id, func(r *run) { r.GPUDevices = devices })
}

// Planned replaces the number of the run's planned cells.
func (s *memory) Planned(_ context.Context, id string, cells int) error {
	return s.set("record the planned cells of", id, func(r *run) { r.Planned = cells })
}

// Spent adds to the wall time that the run spent on a phase.
func (s *memory) Spent(_ context.Context, id, phase string, d time.Duration) error {
	return s.set("add to the time spent by", id, func(r *run) {
		if r.Spent == nil {
			r.Spent = map[string]float64{}
		}
		r.Spent[phase] += d.Seconds()
	})
}

// Finish records how and when the run ended.
func (s *memory) Finish(_ context.Context, id, outcome string, at time.Time) error {
	at = at.UTC()
	return s.set("finish", id, func(r *run) { r.Outcome, r.Finished = outcome, &at })
}

// Judged records what the run's thresholds said.
func (s *memory) Judged(_ context.Context, id, verdict, against string, checks []results.Check) error {
	return s.set("judge", id, func(r *run) { r.Verdict, r.Against, r.Checks = verdict, against, checks })
}

// Put writes a record.
func (s *memory) Put(_ context.Context, record results.Record) error {
	return s.try("store cell "+record.Cell.Name+" of", record.Run, func(r *run) error {
		i := slices.IndexFunc(r.records, func(o results.Record) bool {
			return o.Cell.Name == record.Cell.Name && o.Cell.Repeat == record.Cell.Repeat
		})
		if i >= 0 {
			if old := r.records[i]; old.Status == results.StatusOK && (record.Status != results.StatusOK || !old.Started.Equal(record.Started)) {
				return fmt.Errorf("repeat %d: %w", record.Cell.Repeat, results.ErrHeld)
			}
		}
		r.put(record)
		return nil
	})
}

func (r *run) put(record results.Record) {
	r.records = slices.DeleteFunc(r.records, func(o results.Record) bool {
		return o.Cell.Name == record.Cell.Name && o.Cell.Repeat == record.Cell.Repeat
	})
	for _, text := range []*string{&record.Reason, &record.LogTail} {
		*text = strings.ReplaceAll(strings.ToValidUTF8(*text, "\uFFFD"), "\x00", "\uFFFD")
	}
	record.Started, record.Topology = record.Started.UTC(), record.Topology.Redacted()
	r.records = append(r.records, record)
}

// Tag gives the run a name.
func (s *memory) Tag(_ context.Context, id, tag string) error {
	return s.try("tag", id, func(*run) error {
		if err := results.CheckName(tag); err != nil {
			return err
		}
		s.tag(tag, id)
		return nil
	})
}

func (s *memory) tag(tag, id string) {
	if s.tags == nil {
		s.tags = map[string]string{}
	}
	s.tags[tag] = id
}

// Untag takes a name away.
func (s *memory) Untag(_ context.Context, tag string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, tagged := s.tags[tag]; !tagged {
		return fmt.Errorf("take away tag %s: %w", tag, results.ErrNoRun)
	}
	delete(s.tags, tag)
	return nil
}

// Repeats returns the run's records in the order of their start.
func (s *memory) Repeats(_ context.Context, id string) ([]results.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.find(id); r != nil {
		return r.inOrder(), nil
	}
	return nil, nil
}

func (r *run) inOrder() []results.Record {
	return slices.SortedStableFunc(slices.Values(r.records), func(a, b results.Record) int { return a.Started.Compare(b.Started) })
}

// Find returns the id of what a user calls a run.
func (s *memory) Find(ctx context.Context, which string, scope results.Scope) (string, error) {
	runs, err := s.Runs(ctx, results.Scope{}, 0)
	if err != nil {
		return "", err
	}
	run, err := results.FindRun(runs, which, scope)
	return run.ID, err
}

// Runs lists the last runs within a scope, the one that was started last first.
func (s *memory) Runs(_ context.Context, scope results.Scope, last int) ([]results.Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all, runs []results.Run
	for _, r := range slices.Backward(s.runs) {
		all = append(all, s.whole(r))
	}
	slices.SortStableFunc(all, func(a, b results.Run) int { return b.Started.Compare(a.Started) })
	before := scope.Before == ""
	for _, run := range all {
		if before && (scope.Scenario == "" || run.Scenario == scope.Scenario) && (last == 0 || len(runs) < last) {
			runs = append(runs, run)
		}
		before = before || run.ID == scope.Before
	}
	return runs, nil
}

// whole is a run with its tags and counts.
func (s *memory) whole(r *run) results.Run {
	told, counts := r.Run, r.Count(r.records)
	told.Counts, told.Spent, told.Tags = &counts, maps.Clone(r.Spent), nil
	for _, tag := range slices.Sorted(maps.Keys(s.tags)) {
		if s.tags[tag] == r.ID {
			told.Tags = append(told.Tags, tag)
		}
	}
	return told
}

// ByID returns the run with this whole id.
func (s *memory) ByID(_ context.Context, id string) (results.Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.find(id); r != nil {
		return s.whole(r), nil
	}
	return results.Run{}, fmt.Errorf("read run %s: %w", id, results.ErrNoRun)
}

// Run returns a run and its records in the order of their start.
func (s *memory) Run(ctx context.Context, which string) (results.Run, []results.Record, error) {
	id, err := s.Find(ctx, which, results.Scope{})
	if err != nil {
		return results.Run{}, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(id)
	return s.whole(r), r.inOrder(), nil
}

// History returns the last runs of a scenario and what they say about one metric.
func (s *memory) History(ctx context.Context, scenario, pattern, metric string, last int) ([]results.Run, []results.Observation, error) {
	m, err := results.FindMetric(metric)
	if err != nil {
		return nil, nil, err
	}
	runs, err := s.Runs(ctx, results.Scope{}, 0)
	if err != nil {
		return nil, nil, err
	}
	if scenario == "" && len(runs) > 0 {
		scenario = runs[0].Scenario
	}
	runs = slices.DeleteFunc(runs, func(run results.Run) bool { return run.Scenario != scenario })
	if len(runs) == 0 {
		return nil, nil, fmt.Errorf("%w: the store holds none of scenario %s", results.ErrNoRun, scenario)
	}
	runs = runs[:min(last, len(runs))]
	slices.Reverse(runs)
	var observations []results.Observation
	for _, run := range runs {
		records, err := s.Repeats(ctx, run.ID)
		if err != nil {
			return nil, nil, err
		}
		for _, r := range records {
			if r.Reused == "" && r.Cell.Load.Of == 0 && results.MatchCell(pattern, r.Cell.Name) {
				observations = append(observations, results.Observation{Run: run.ID, Cell: r.Cell.Name, Repeat: r.Cell.Repeat, Clean: r.Clean(), Value: m.Of(&r)})
			}
		}
	}
	return runs, observations, nil
}

// Alike returns records that were measured alike.
func (s *memory) Alike(_ context.Context, fingerprints []string, since time.Time) ([]results.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := &run{}
	for _, r := range s.runs {
		for _, record := range r.records {
			if record.Status == results.StatusOK && record.Reused == "" && !record.Started.Before(since) && slices.Contains(fingerprints, record.Fingerprint) {
				all.records = append(all.records, record)
			}
		}
	}
	return all.inOrder(), nil
}

// Close does nothing.
func (s *memory) Close() error { return nil }
