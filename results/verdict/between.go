package verdict

import (
	"context"
	"math"

	"stackmeter/results"
	"stackmeter/results/stats"
)

// Between puts into a comparison how much one night differs from another: the repeats of
// a night have it in common, and say nothing of that. nights are earlier ones of the
// scenario, of the head's kind. Changes, intervals and p-values become those between
// nights, see stats.Depart, of each cell and figure that stats.FewestNights or more of
// them have. mean says that the head is held against the mean of the nights, as by a
// gate, and not against the one that is the base.
func (c *Comparison) Between(nights [][]Summary, mean bool) {
	var head []Summary
	for _, cell := range c.Cells {
		if cell.Head != nil {
			head = append(head, *cell.Head)
		}
	}
	w := newWindow(head, nights)
	c.Mean = mean
	for _, m := range c.Metrics {
		known := w.of(m)
		for _, cell := range c.Cells {
			for i := range cell.Changes {
				change := &cell.Changes[i]
				one, has := known[cell.Name]
				if change.Metric.Name != m.Name || change.Base == nil || change.Head == nil || change.Erring || !has {
					continue
				}
				change.between(one, mean)
				c.Nights = max(c.Nights, change.Nights)
			}
		}
		c.correct(m)
	}
}

// between is by the night's departure from those before it, or from the base alone.
func (c *Change) between(one nightly, mean bool) {
	d := one.Departure
	if !mean {
		before, has := meanLog(c.Base)
		if !has {
			return
		}
		d = d.Since(one.series.Head - before)
	}
	interval := d.Interval()
	c.Nights, c.Interval = d.Nights, &interval
	c.Difference.Change, c.Difference.Up, c.Difference.Down = new(math.Expm1(d.By)), d.Up, d.Down
	c.Difference.P = min(1, 2*min(d.Up, d.Down))
}

// A nightsStore is what is read of a results.Store.
type nightsStore interface {
	Runs(ctx context.Context, scope results.Scope, last int) ([]results.Run, error)
	Run(ctx context.Context, which string) (results.Run, []results.Record, error)
}

// ReadNights is Between with the nights that a store has of the head's scenario: those
// before it that are of its kind and did not fail, the base not among them. Where there
// are too few, the changes stay those of repeats alone.
func ReadNights(ctx context.Context, store nightsStore, c *Comparison) error {
	runs, err := store.Runs(ctx, results.Scope{Scenario: c.Head.Scenario}, mostLooked)
	if err != nil {
		return err
	}
	var nights [][]Summary
	for _, run := range runs {
		usable := run.Verdict != results.VerdictFailed && run.Verdict != results.VerdictRefused && run.Outcome == results.OutcomeOK && run.Started.Before(c.Head.Started)
		if !usable || len(nights) == mostBetween || run.ID == c.Base.ID || run.ID == c.Head.ID || len(Disparities(run, c.Head)) > 0 {
			continue
		}
		_, records, err := store.Run(ctx, run.ID)
		if err != nil {
			return err
		}
		nights = append(nights, SummariseRun(run, records))
	}
	if len(nights) >= stats.FewestNights {
		c.Between(nights, false)
	}
	return nil
}

// mostBetween is how many nights tell how much they differ: older ones are of another
// time. They are looked for among the last mostLooked.
const (
	mostBetween = 10
	mostLooked  = 60
)
