package storetest

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/scenarios"
)

// Nights of a store of Million, and cells of each.
const (
	nights  = 10
	eachHas = 100
	more    = 1_000_000/eachHas - nights
)

// Million measures how long it takes to list runs, and to read one and its history, in
// a store of a thousand cells and in one of a million: by turns, so that what else the
// machine does is in both, and reports the medians and the median of their ratios. open
// returns an empty store, and what the driver of database/sql knows its database by.
func Million(b *testing.B, driver string, open func(b *testing.B) (results.Store, string, error)) {
	var stores []results.Store
	for _, others := range []int{0, more} {
		store, name, err := open(b)
		if err != nil {
			b.Fatal(err)
		}
		db, err := sql.Open(driver, name)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := errors.Join(store.Close(), db.Close()); err != nil {
				b.Error(err)
			}
		})
		for night := range nights {
			run, records := aNight(night)
			if err := store.Import(b.Context(), run, records); err != nil {
				b.Fatal(err)
			}
		}
		multiply(b, db, others)
		stores = append(stores, store)
	}
	for name, do := range map[string]func(results.Store) (int, error){
		"list": func(store results.Store) (int, error) {
			runs, err := store.Runs(b.Context(), results.Scope{}, nights)
			return len(runs), err
		},
		"history": func(store results.Store) (int, error) {
			runs, _, err := store.History(b.Context(), "nightly", "", results.MetricDuration, nights)
			return len(runs), err
		},
		"report": func(store results.Store) (int, error) {
			_, records, err := store.Run(b.Context(), results.Latest)
			return len(records) / eachHas * nights, err
		},
	} {
		b.Run(name, func(b *testing.B) {
			var took [2][]float64
			var ratios []float64
			for b.Loop() {
				for i, store := range stores {
					began := time.Now()
					if n, err := do(store); err != nil || n != nights {
						b.Fatal(n, err)
					}
					took[i] = append(took[i], time.Since(began).Seconds())
				}
				ratios = append(ratios, took[1][len(took[1])-1]/took[0][len(took[0])-1])
			}
			b.ReportMetric(1000*median(took[0]), "ms/thousand")
			b.ReportMetric(1000*median(took[1]), "ms/million")
			b.ReportMetric(median(ratios), "million/thousand")
		})
	}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// aNight is a run of a hundred cells, started on that night.
func aNight(night int) (results.Run, []results.Record) {
	id := fmt.Sprint("night-", night)
	run := results.Run{ID: id, Scenario: "nightly", Started: time.Date(2026, 1, 1+night, 0, 0, 0, 0, time.UTC), Planned: eachHas,
		Outcome: results.OutcomeOK, Verdict: results.VerdictPassed, Spent: map[string]float64{results.PhaseMeasure: 100}}
	var records []results.Record
	for i := range eachHas {
		r := Record(id, results.StatusOK, 1)
		spec := scenarios.LoadSpec{Requests: 10, Client: scenarios.ClientMT, Pool: i + 1}
		r.Cell = scenarios.Cell{Name: "flask/" + spec.Name(), Repeat: 1, Load: spec}
		r.Duration, r.Replies, r.Memory.Peak = new(1+float64((i*7+night*13)%100)/1000), 10, new(int64(i)<<20)
		r.Latency = new(load.Latency)
		for n := range 10 {
			r.Latency.Record(time.Duration(n+i) * time.Millisecond)
		}
		records = append(records, r)
		run.Plan.Trials = append(run.Plan.Trials, scenarios.Trial{Topology: r.Topology, Repeat: 1, Cells: []scenarios.Cell{r.Cell}})
	}
	return run, records
}

// multiply adds runs like the first night, of before it: of fifty scenarios, one of which is
// the nights' own.
func multiply(b *testing.B, db *sql.DB, runs int) {
	b.Helper()
	if runs == 0 {
		return
	}
	for _, table := range []struct {
		name string
		own  []string
	}{{"runs", []string{"id", "scenario", "started"}}, {"counts", []string{"run"}}, {"spent", []string{"run"}}, {"cells", []string{"run"}}} {
		rows, err := db.Query("SELECT * FROM " + table.name + " WHERE 1 = 0")
		if err != nil {
			b.Fatal(err)
		}
		columns, err := rows.Columns()
		if err := errors.Join(err, rows.Close()); err != nil {
			b.Fatal(err)
		}
		columns = slices.DeleteFunc(columns, func(name string) bool { return name == "rowid" || slices.Contains(table.own, name) })
		made := []string{"'fill-' || n", "CASE WHEN n % 50 = 0 THEN 'nightly' ELSE 'other-' || n % 50 END", "'2025-01-01T00:00:00.000000000Z'"}[:len(table.own)]
		if _, err := db.Exec(fmt.Sprintf(`INSERT INTO %s (%s) WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < %d) SELECT %s FROM %s, g WHERE %s = 'night-0'`,
			table.name, strings.Join(slices.Concat(table.own, columns), ", "), runs, strings.Join(slices.Concat(made, columns), ", "), table.name, table.own[0])); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := db.Exec("ANALYZE"); err != nil { // as PostgreSQL does by itself, in time
		b.Fatal(err)
	}
}
