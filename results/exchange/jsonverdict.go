package exchange

import (
	"io"
	"slices"

	"stackmeter/results"
	"stackmeter/results/words"
)

type jsonVerdict struct {
	Schema   int             `json:"schema"`
	Scenario string          `json:"scenario"`
	Run      string          `json:"run"`
	Started  string          `json:"started"`
	Outcome  string          `json:"outcome"`
	Standing string          `json:"standing"` // one word: passed, ok, failed, interrupted …
	Verdict  string          `json:"verdict"`  // with the reasons, as everywhere
	Against  string          `json:"against,omitempty"`
	Tags     []string        `json:"tags"`
	Cells    jsonCounts      `json:"cells"`
	Broken   []results.Check `json:"broken"`
}

// A jsonCounts are cells, each repeat by itself.
type jsonCounts struct {
	Planned int `json:"planned"`
	OK      int `json:"ok"`
	Failed  int `json:"failed"`
	Pruned  int `json:"pruned"`
	Missing int `json:"missing"`
}

// WriteVerdictJSON writes what a run came to, and the checks that it broke, without
// its figures.
func WriteVerdictJSON(w io.Writer, run results.Run, records []results.Record) error {
	counts := run.Count(records)
	standing := words.StandingOf(run, &counts)
	return encode(w, jsonVerdict{
		Schema: schema, Scenario: run.Scenario, Run: run.ID, Started: newJSONCompared(run).Started, Outcome: run.Outcome,
		Standing: standing.Word, Verdict: standing.String(), Against: run.Against, Tags: append([]string{}, run.Tags...),
		Cells:  jsonCounts{counts.Planned, counts.OK, counts.Failed, counts.Pruned, counts.Missing()},
		Broken: slices.DeleteFunc(append([]results.Check{}, run.Checks...), func(c results.Check) bool { return !c.Broken() }),
	})
}
