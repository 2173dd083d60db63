package exchange

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/gate"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

// WritePrometheus is the text exposition format, for a textfile collector. A
// figure that was not measured has no line. See
// https://prometheus.io/docs/instrumenting/exposition_formats/.
func WritePrometheus(w io.Writer, run results.Run, records []results.Record) error {
	var b strings.Builder
	family := func(name, help string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n%s\n", name, help, name, strings.Join(lines, "\n"))
		}
	}
	scenario := `{scenario="` + labelText(run.Scenario) + `"}`
	flag := func(is bool) string {
		if is {
			return " 1"
		}
		return " 0"
	}
	family("stackmeter_run_info", "The run that these figures are of.", []string{
		`stackmeter_run_info{scenario="` + labelText(run.Scenario) + `",run="` + labelText(run.ID) + `",imported="` + labelText(run.Imported) + `"} 1`})
	family("stackmeter_run_start_timestamp_seconds", "When the run started.", []string{
		"stackmeter_run_start_timestamp_seconds" + scenario + " " + strconv.FormatInt(run.Started.Unix(), 10)})
	counts := run.Count(records)
	standing := words.StandingOf(run, &counts)
	family("stackmeter_run_verdict", "What the run came to, as a label: 1 for the verdict that it has.", []string{
		fmt.Sprintf(`stackmeter_run_verdict{scenario="%s",verdict="%s"} 1`, labelText(run.Scenario), labelText(standing.Word))})
	if standing.Fails() || standing.Word == results.VerdictPassed {
		family("stackmeter_run_passed", "1 when every cell is ok and no threshold is broken; an undecided run that the scenario lets pass has none.", []string{
			"stackmeter_run_passed" + scenario + flag(!standing.Fails())})
	}
	cells := func(status string, n int) string {
		return fmt.Sprintf(`stackmeter_run_cells{scenario="%s",status="%s"} %d`, labelText(run.Scenario), status, n)
	}
	family("stackmeter_run_cells", "Cells of the run, each repeat by itself, by status.", []string{
		cells("ok", counts.OK), cells("failed", counts.Failed), cells("pruned", counts.Pruned), cells("missing", counts.Missing())})
	if search := words.SearchOf(run, records); search != nil {
		var sure []string
		for _, a := range search.Answers {
			if a.Decided && a.Sure == 0 && a.Topology != "" { // by one start of each: nothing says how sure that is
				continue
			}
			sure = append(sure, fmt.Sprintf(`stackmeter_search_sure_ratio{scenario="%s",load="%s",topology="%s"} %s`,
				labelText(run.Scenario), labelText(a.Load), labelText(a.Topology), words.Plainly(a.Sure)))
		}
		family("stackmeter_search_sure_ratio", "How sure the search is of the topology that is best for the load; without a topology none is within the budgets.", sure)
	}
	summaries := verdict.SummariseRun(run, records)
	labels := func(s verdict.Summary) string {
		return fmt.Sprintf(`{scenario="%s",topology="%s",load="%s"}`, labelText(run.Scenario), labelText(s.Topology.Name), labelText(s.Load.Name()))
	}
	for _, m := range results.Metrics() {
		name := "stackmeter_cell_" + m.Name + prometheusUnit(m.Unit)
		var lines []string
		for _, s := range summaries {
			if sample := s.Sample(m); sample != nil && m.Name != results.MetricErrors {
				lines = append(lines, name+labels(s)+" "+words.Plainly(sample.Median))
			}
		}
		family(name, words.Capital(m.Title)+", the median over the repeats.", lines)
	}
	var errors, repeats, reused []string
	for _, s := range summaries {
		if s.OK > 0 {
			errors = append(errors, fmt.Sprintf("stackmeter_cell_errors%s %d", labels(s), s.Errors))
		}
		if n := len(slices.DeleteFunc(slices.Clone(s.Speaking), func(r results.Record) bool { return r.Reused == "" })); n > 0 {
			reused = append(reused, fmt.Sprintf("stackmeter_cell_reused_repeats%s %d", labels(s), n))
		}
		repeats = append(repeats, fmt.Sprintf("stackmeter_cell_failed_repeats%s %d", labels(s), s.Failed))
	}
	family("stackmeter_cell_errors", "Answers that were not as expected, over all repeats.", errors)
	family("stackmeter_cell_reused_repeats", "Repeats among the figures that another run measured.", reused)
	family("stackmeter_cell_failed_repeats", "Repeats of the cell that failed.", repeats)
	var broken []string
	for _, c := range run.Checks {
		fails := c.Broken() || c.Status == results.CheckUndecided && run.Plan.Undecided == gate.Fail
		broken = append(broken, fmt.Sprintf(`stackmeter_threshold_broken{scenario="%s",cell="%s",threshold="%s",status="%s"}%s`,
			labelText(run.Scenario), labelText(c.Cell), labelText(c.Threshold), labelText(c.Status), flag(fails)))
	}
	slices.Sort(broken)
	family("stackmeter_threshold_broken", "1 when the threshold fails the run at the cell: broken, not measured, or undecided where the scenario says so. The status tells what was kept (ok) from what is undecided.", slices.Compact(broken))
	_, err := io.WriteString(w, b.String())
	return err
}

func prometheusUnit(unit units.Unit) string {
	switch unit {
	case units.Seconds:
		return "_seconds"
	case units.Bytes:
		return "_bytes"
	case units.Joules:
		return "_joules"
	case units.PerSecond:
		return "_per_second"
	}
	return ""
}

// labelText escapes the value of a label.
func labelText(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(show.Line(text))
}
