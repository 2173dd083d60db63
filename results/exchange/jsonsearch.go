package exchange

import (
	"io"
	"math"

	"stackmeter/results"
	"stackmeter/results/words"
)

// A jsonSearch is what a search found, as its records say. Figures are in base units.
type jsonSearch struct {
	WholeS *float64   `json:"whole_matrix_s"` // an estimate; null where it is not known
	Loads  []jsonLoad `json:"loads"`
}

type jsonLoad struct {
	results.Answer
	Objective  string          `json:"objective"`
	Copies     *int            `json:"copies,omitempty"` // of the answer that the rate takes which was asked for
	Candidates []jsonCandidate `json:"candidates"`       // the answer first
}

type jsonCandidate struct {
	Topology string   `json:"topology"`
	State    string   `json:"state"`
	Round    int      `json:"round,omitempty"` // whose rounds the ratio is from
	Value    *float64 `json:"value"`           // the objective's median at the whole load
	Ratio    *float64 `json:"of_best"`
	Low      *float64 `json:"of_best_low"`
	High     *float64 `json:"of_best_high"`
	Short    int      `json:"short_repeats"`
	Whole    int      `json:"whole_repeats"`
	Reason   string   `json:"reason"`
}

// WriteFoundJSON writes what a search found, and how many of each answer a rate takes, in
// requests per second, unless that is 0.
func WriteFoundJSON(w io.Writer, run results.Run, records []results.Record, rate float64) error {
	out := struct {
		Schema  int         `json:"schema"`
		Run     string      `json:"run"`
		Verdict string      `json:"verdict"`  // the run's, with the reasons
		For     *float64    `json:"for_rate"` // requests per second that copies are counted for
		Search  *jsonSearch `json:"search"`
	}{schema, run.ID, words.StandingOf(run, run.Counts).String(), nil, newJSONSearch(run, records, rate)}
	if rate > 0 {
		out.For = &rate
	}
	return encode(w, out)
}

// newJSONSearch is nil of a run that is no search.
func newJSONSearch(run results.Run, records []results.Record, rate float64) *jsonSearch {
	search := words.SearchOf(run, records)
	if search == nil {
		return nil
	}
	out := &jsonSearch{}
	if search.Whole > 0 {
		out.WholeS = &search.Whole
	}
	recommended := search.Recommended(records)
	for i, c := range search.Contests {
		load := jsonLoad{Answer: search.Answers[i], Objective: c.Objective.Name, Candidates: []jsonCandidate{}}
		for _, candidate := range c.Candidates {
			one := jsonCandidate{
				Topology: candidate.Topology, State: words.StateOf(c, candidate), Value: candidate.Value,
				Short: candidate.Short, Whole: candidate.Whole, Reason: candidate.Reason,
			}
			if e := candidate.Evidence; e != nil {
				one.Round, one.Ratio = e.Round, &e.Ratio
				if e.Low > 0 && !math.IsInf(e.High, 1) {
					one.Low, one.High = &e.Low, &e.High
				}
			}
			load.Candidates = append(load.Candidates, one)
		}
		if copies := recommended[i].Copies(rate); copies > 0 {
			load.Copies = &copies
		}
		out.Loads = append(out.Loads, load)
	}
	return out
}
