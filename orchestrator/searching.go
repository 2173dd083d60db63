package orchestrator

import (
	"context"
	"fmt"
	"strings"
	"time"

	"stackmeter/results"
	"stackmeter/results/race"
	"stackmeter/scenarios/show"
)

// searching is what a loop knows of a search.
type searching struct {
	race     *race.Race
	before   time.Duration        // that the run took until it was resumed
	recorded map[results.Key]bool // by the cell's name
	out      map[results.Key]bool // candidates that were told to be, by the load's name
}

// made are the records of the run so far. Those of a search are whole: what is measured
// next follows from their figures.
func (l *loop) made(ctx context.Context) ([]results.Record, error) {
	if l.plan.Search == nil {
		return l.Recorder.Repeats(ctx, l.id)
	}
	run, records, err := l.Recorder.Run(ctx, l.id)
	if err != nil {
		return nil, err
	}
	l.search = searching{
		race: race.New(l.plan), before: time.Duration(run.SpentTotal() * float64(time.Second)),
		recorded: map[results.Key]bool{}, out: map[results.Key]bool{},
	}
	for _, r := range records {
		l.search.race.Add(r)
		l.search.recorded[keyOf(r)] = true
	}
	l.search.left() // what was known when the run was resumed is no news
	return records, nil
}

func keyOf(r results.Record) results.Key {
	return results.Key{Topology: r.Topology.Name, Load: r.Cell.Name, Repeat: r.Cell.Repeat}
}

// left is the time that a search still has, nil if it has no limit.
func (l *loop) left() *time.Duration {
	if l.plan.Search == nil || l.plan.Search.Time == 0 {
		return nil
	}
	return new(l.plan.Search.Time - l.search.before - time.Since(l.began))
}

// found adds a record, and tells of the candidates that the search gave up for it.
func (l *loop) found(rec results.Record) {
	l.search.race.Add(rec)
	l.search.recorded[keyOf(rec)] = true
	for _, e := range l.search.left() {
		l.notify(e)
	}
}

// left are the candidates that are out and that nobody was told of.
func (s *searching) left() (events []Event) {
	for _, contest := range s.race.Contests() {
		for _, c := range contest.Candidates {
			key := results.Key{Topology: c.Topology, Load: contest.Load.Name()}
			out := c.State != race.StateRacing && c.State != race.StateWaiting && c.State != race.StateSettled
			if out && !s.out[key] {
				events = append(events, Event{Kind: EventLeft, Topology: c.Topology, Cell: c.Topology + "/" + key.Load, Status: c.State, Message: c.Reason})
			}
			s.out[key] = out
		}
	}
	return events
}

// standing says how a search stands: for each load how many may be better than the best.
func (s *searching) standing() string {
	if s.race == nil {
		return ""
	}
	var all []string
	for _, contest := range s.race.Contests() {
		racing := 0
		for _, c := range contest.Candidates {
			if c.State == race.StateRacing || c.State == race.StateWaiting {
				racing++
			}
		}
		text := fmt.Sprintf("%s: %d of %d in the race", contest.Load.Name(), racing, len(contest.Candidates))
		if contest.Answer != "" {
			text += ", the best is " + show.Line(contest.Answer)
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}
