package words

import (
	"fmt"
	"strings"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios/show"
)

// Reused says which of a run's records other runs measured, and when; "" for none.
func Reused(records []results.Record) string {
	var from []string
	n := 0
	for _, of := range verdict.GroupBy(records, func(r results.Record) string { return r.Reused }) {
		if of[0].Reused != "" {
			n += len(of)
			from = append(from, fmt.Sprintf("%d from run %s of %s", len(of), of[0].Reused, of[0].Started.UTC().Format("2006-01-02 15:04:05 UTC")))
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %s, reused and not measured by this run: %s", n, show.Plural(len(records), "record"), strings.Join(from, ", "))
}
