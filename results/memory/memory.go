// Package memory keeps runs and their records for as long as the process lives:
// for a run whose results nobody keeps, and for tests.
package memory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"stackmeter/results"
	"stackmeter/scenarios"
)

// A Store is a results.Store. Its zero value is an empty one.
type Store struct {
	mu   sync.Mutex
	runs []*held           // in the order in which they began
	tags map[string]string // ids of runs
}

// held is a run with its records, in the order in which they were put.
type held struct {
	run     results.Run
	records []results.Record
}

// write changes a run that is there.
func (s *Store) write(what, id string, change func(*held) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := results.ErrNoRun
	if h := s.held(id); h != nil {
		err = change(h)
	}
	if err != nil {
		return fmt.Errorf("%s run %s: %w", what, id, err)
	}
	return nil
}

// held returns the run with the id, nil where there is none.
func (s *Store) held(id string) *held {
	for _, h := range s.runs {
		if h.run.ID == id {
			return h
		}
	}
	return nil
}

// Begin enters a run.
func (s *Store) Begin(ctx context.Context, run results.Run) error { return s.Import(ctx, run, nil) }

// Import enters a run with its records.
func (s *Store) Import(_ context.Context, run results.Run, records []results.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := results.CheckName(run.ID)
	if err == nil && s.held(run.ID) != nil {
		err = errors.New("the store holds a run with this id already")
	}
	for _, tag := range run.Tags {
		err = errors.Join(err, results.CheckName(tag))
	}
	if err != nil {
		return fmt.Errorf("begin run %q: %w", run.ID, err)
	}
	for _, tag := range run.Tags {
		s.tag(tag, run.ID)
	}
	run.Started, run.Plan, run.Spent = run.Started.UTC(), run.Plan.Redacted(), maps.Clone(run.Spent)
	h := &held{run: run}
	for _, record := range records {
		h.put(record)
	}
	s.runs = append(s.runs, h)
	return nil
}

// Resume marks a run as under way again.
func (s *Store) Resume(_ context.Context, run string, plan scenarios.Plan, owner string) error {
	return s.write("resume", run, func(h *held) error {
		h.run.Finished, h.run.Outcome, h.run.Verdict, h.run.Against, h.run.Checks = nil, "", "", "", nil
		h.run.Plan, h.run.Owner = plan.Redacted(), owner
		return nil
	})
}

// Images replaces the run's images.
func (s *Store) Images(_ context.Context, run string, images map[string]string) error {
	return s.write("record the images of", run, func(h *held) error {
		h.run.Images = images
		return nil
	})
}

// Planned replaces the number of planned cells.
func (s *Store) Planned(_ context.Context, run string, cells int) error {
	return s.write("record the planned cells of", run, func(h *held) error {
		h.run.Planned = cells
		return nil
	})
}

// Spent adds to the wall time that the run spent on a phase.
func (s *Store) Spent(_ context.Context, run, phase string, d time.Duration) error {
	return s.write("add to the time spent by", run, func(h *held) error {
		if h.run.Spent == nil {
			h.run.Spent = map[string]float64{}
		}
		h.run.Spent[phase] += d.Seconds()
		return nil
	})
}

// Put writes a record.
func (s *Store) Put(_ context.Context, record results.Record) error {
	return s.write("store cell "+record.Cell.Name+" of", record.Run, func(h *held) error {
		i := h.index(record.Cell)
		if i < 0 {
			h.put(record)
			return nil
		}
		old := h.records[i]
		if old.Status == results.StatusOK && (record.Status != results.StatusOK || !old.Started.Equal(record.Started)) {
			return fmt.Errorf("repeat %d: %w", record.Cell.Repeat, results.ErrHeld)
		}
		h.records = slices.Delete(h.records, i, i+1)
		h.put(record)
		return nil
	})
}

func (h *held) put(record results.Record) {
	record.Started, record.Topology = record.Started.UTC(), record.Topology.Redacted()
	h.records = append(h.records, record)
}

// index is that of the cell's record, -1 where there is none.
func (h *held) index(cell scenarios.Cell) int {
	return slices.IndexFunc(h.records, func(r results.Record) bool {
		return r.Cell.Name == cell.Name && r.Cell.Repeat == cell.Repeat
	})
}

// Finish records how and when the run ended.
func (s *Store) Finish(_ context.Context, run, outcome string, at time.Time) error {
	return s.write("finish", run, func(h *held) error {
		at := at.UTC()
		h.run.Outcome, h.run.Finished = outcome, &at
		return nil
	})
}

// Judged records what the run's thresholds said.
func (s *Store) Judged(_ context.Context, run, verdict, against string, checks []results.Check) error {
	return s.write("judge", run, func(h *held) error {
		h.run.Verdict, h.run.Against, h.run.Checks = verdict, against, checks
		return nil
	})
}

// Tag gives the run a name.
func (s *Store) Tag(_ context.Context, run, tag string) error {
	return s.write("tag", run, func(*held) error {
		if err := results.CheckName(tag); err != nil {
			return err
		}
		s.tag(tag, run)
		return nil
	})
}

func (s *Store) tag(tag, run string) {
	if s.tags == nil {
		s.tags = map[string]string{}
	}
	s.tags[tag] = run
}

// Untag takes a name away.
func (s *Store) Untag(_ context.Context, tag string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, tagged := s.tags[tag]; !tagged {
		return fmt.Errorf("take away tag %s: %w", tag, results.ErrNoRun)
	}
	delete(s.tags, tag)
	return nil
}

// Repeats returns the run's records in the order of their start.
func (s *Store) Repeats(_ context.Context, run string) ([]results.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.held(run); h != nil {
		return h.inOrder(), nil
	}
	return nil, nil
}

func (h *held) inOrder() []results.Record {
	return slices.SortedStableFunc(slices.Values(h.records), func(a, b results.Record) int { return a.Started.Compare(b.Started) })
}

// Find returns the id of what a user calls a run.
func (s *Store) Find(ctx context.Context, which string, scope results.Scope) (string, error) {
	runs, err := s.Runs(ctx)
	if err != nil {
		return "", err
	}
	run, err := results.FindRun(runs, which, scope)
	return run.ID, err
}

// Runs lists the runs, the one that was started last first.
func (s *Store) Runs(context.Context) ([]results.Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var runs []results.Run
	for _, h := range slices.Backward(s.runs) {
		runs = append(runs, s.of(h))
	}
	slices.SortStableFunc(runs, func(a, b results.Run) int { return b.Started.Compare(a.Started) })
	return runs, nil
}

// of is a run as it is told: with its tags and counts.
func (s *Store) of(h *held) results.Run {
	run, counts := h.run, h.run.Count(h.records)
	run.Counts, run.Spent, run.Tags = &counts, maps.Clone(run.Spent), nil
	for _, tag := range slices.Sorted(maps.Keys(s.tags)) {
		if s.tags[tag] == run.ID {
			run.Tags = append(run.Tags, tag)
		}
	}
	return run
}

// ByID returns the run with this whole id.
func (s *Store) ByID(_ context.Context, id string) (results.Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.held(id)
	if h == nil {
		return results.Run{}, fmt.Errorf("read run %s: %w", id, results.ErrNoRun)
	}
	return s.of(h), nil
}

// Run returns a run and its records in the order of their start.
func (s *Store) Run(ctx context.Context, which string) (results.Run, []results.Record, error) {
	id, err := s.Find(ctx, which, results.Scope{})
	if err != nil {
		return results.Run{}, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.held(id)
	return s.of(h), h.inOrder(), nil
}

// History returns the last runs of a scenario and what they say about one metric.
func (s *Store) History(ctx context.Context, scenario, pattern, metric string, last int) ([]results.Run, []results.Observation, error) {
	m, err := results.FindMetric(metric)
	if err != nil {
		return nil, nil, err
	}
	runs, err := s.Runs(ctx)
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
			if results.MatchCell(pattern, r.Cell.Name) {
				observations = append(observations, results.Observation{Run: run.ID, Cell: r.Cell.Name, Repeat: r.Cell.Repeat, Clean: r.Clean(), Value: m.Of(r)})
			}
		}
	}
	return runs, observations, nil
}

// Close does nothing.
func (s *Store) Close() error { return nil }
