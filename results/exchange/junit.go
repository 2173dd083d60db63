package exchange

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/gate"
	"stackmeter/scenarios/show"
)

// The JUnit format is the one that CI systems agree on: a test case for the
// verdict, for each cell and for each threshold at a cell; a failed cell is an error,
// a broken threshold a failure, and a pruned cell is skipped. See https://github.com/testmoapp/junitxml.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr"`
	Timestamp  string          `xml:"timestamp,attr"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr,omitempty"`
	Failure *junitMessage `xml:"failure"`
	Error   *junitMessage `xml:"error"`
	Skipped *junitMessage `xml:"skipped"`
	Out     string        `xml:"system-out,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes a run as test cases.
func WriteJUnit(w io.Writer, run results.Run, records []results.Record) error {
	counts := run.Count(records)
	suite := newJUnitSuite(run, words.StandingOf(run, &counts))
	suite.property("outcome", run.Outcome)
	suite.property("reused", words.Reused(records))
	suite.property("against", run.Against)
	if total := run.SpentTotal(); total > 0 {
		suite.Time = strconv.FormatFloat(total, 'f', 3, 64)
	}
	suite.search(run, records)
	for _, r := range records {
		one := junitCase{Class: show.Line(run.Scenario + "." + r.Topology.Name), Name: show.Line(fmt.Sprintf("%s, repeat %d", r.Cell.Name, r.Cell.Repeat))}
		if r.Duration != nil {
			one.Time = words.Plainly(*r.Duration)
		}
		switch {
		case r.Status == results.StatusOK:
		case r.Status == results.StatusPruned:
			one.Skipped = &junitMessage{Message: show.Line("pruned: " + r.Reason)}
		case run.Plan.Search != nil && r.OutOfMemory != "":
			one.Skipped = &junitMessage{Message: show.Line("out of memory: " + r.Reason)} // what a search is to find out
		default:
			reason := cmp.Or(r.Reason, "no reason was recorded")
			first, _, _ := strings.Cut(reason, "\n")
			one.Error = &junitMessage{Message: show.Line(first), Type: "failed cell", Text: show.Clean(reason + "\n" + strings.Join(show.LogEnd(r.LogTail), "\n"))}
		}
		suite.Cases = append(suite.Cases, one)
	}
	suite.check(run.Checks, run.Plan.Undecided)
	return suite.write(w)
}

// WriteComparisonJUnit has a test case for each cell of either run, which fails
// where the base had it and the head does not give it any more, and one for
// each threshold at a cell.
func WriteComparisonJUnit(w io.Writer, c verdict.Comparison, checks []results.Check) error {
	suite := newJUnitSuite(c.Head, words.StandingOfComparison(c, checks))
	suite.property("against", c.Base.ID)
	for _, d := range c.Disparities {
		suite.property("differ in", d.String())
	}
	for _, n := range c.Notes {
		suite.property("note", "another "+n.String())
	}
	for _, cell := range c.Cells {
		one := junitCase{Class: suite.Name + "." + show.Line(cell.Topology().Name), Name: show.Line(cell.Name)}
		text := words.State(cell)
		for _, change := range cell.Changes {
			if change.Difference.Shown {
				text += "; " + change.Metric.Title + " " + words.Shown(change)
			}
		}
		for _, side := range words.SidesOf(cell) {
			if len(side.Summary.Flags) > 0 {
				text += "; flags of the " + side.Name + ": " + strings.Join(side.Summary.Flags, ", ")
			}
		}
		switch text = show.Line(text); cell.State {
		case verdict.CellBoth, verdict.CellNewlyOK:
			one.Out = text
		default:
			if verdict.CellRegressed(cell.State) {
				one.Failure = &junitMessage{Message: text, Type: cell.State, Text: text}
				break
			}
			one.Skipped = &junitMessage{Message: text}
		}
		suite.Cases = append(suite.Cases, one)
	}
	suite.check(checks, c.Head.Plan.Undecided)
	return suite.write(w)
}

// WriteRefusedJUnit writes, for a CI system that reads the file and not the
// exit status, that a run was not compared, and why.
func WriteRefusedJUnit(w io.Writer, run results.Run, refused words.Standing) error {
	return newJUnitSuite(run, refused).write(w)
}

// newJUnitSuite is a suite with what is known of the run, and with a case that
// fails where a gate must not let it pass.
func newJUnitSuite(run results.Run, standing words.Standing) *junitSuite {
	s := &junitSuite{Name: show.Line(run.Scenario), Time: "0", Timestamp: run.Started.UTC().Format("2006-01-02T15:04:05")}
	s.property("run", run.ID)
	s.property("runtime", run.Runtime)
	s.property("engine", run.Host.Engine)
	s.property("machine", strings.TrimSpace(run.Host.Name+" "+run.Host.CPU))
	s.property("imported", run.Imported)
	for _, device := range run.GPUDevices {
		s.property("gpu", device.Name+", driver "+device.Driver)
	}
	said := show.Line(standing.String())
	s.property("verdict", said)
	one := junitCase{Class: s.Name, Name: "verdict"}
	switch {
	case standing.Fails():
		one.Failure = &junitMessage{Message: said, Type: standing.Word, Text: said}
	case standing.Good:
		one.Out = said
	default:
		one.Skipped = &junitMessage{Message: said}
	}
	s.Cases = append(s.Cases, one)
	return s
}

func (s *junitSuite) property(name, value string) {
	if value != "" {
		s.Properties = append(s.Properties, junitProperty{name, show.Line(value)})
	}
}

// search adds a case for each load of a search, which fails where it found nothing.
func (s *junitSuite) search(run results.Run, records []results.Record) {
	search := words.SearchOf(run, records)
	if search == nil {
		return
	}
	for _, a := range search.Answers {
		one := junitCase{Class: s.Name + ".search", Name: show.Line("an answer for " + a.Load), Out: show.Line(a.Topology + ": " + a.Why)}
		if a.Topology == "" {
			one.Out, one.Failure = "", &junitMessage{Message: show.Line(a.Why), Type: "no answer", Text: show.Line(a.Why)}
		}
		s.Cases = append(s.Cases, one)
	}
}

// check adds a case for each threshold at a cell. What is undecided fails where the
// scenario says so, and is otherwise skipped, as what had nothing to be compared with.
func (s *junitSuite) check(checks []results.Check, undecided string) {
	for _, c := range checks {
		one := junitCase{Class: s.Name + ".thresholds", Name: show.Line(c.Threshold + " at " + c.Cell)}
		text := show.Line(words.Check(c))
		switch {
		case c.Broken(), c.Status == results.CheckUndecided && undecided == gate.Fail:
			one.Failure = &junitMessage{Message: text, Type: c.Status, Text: text}
		case c.Status == results.CheckUndecided:
			one.Skipped = &junitMessage{Message: c.Status + ": " + text}
		case c.Status == results.CheckNoBaseline:
			one.Skipped = &junitMessage{Message: text}
		default:
			one.Out = text
		}
		s.Cases = append(s.Cases, one)
	}
}

// write counts the cases and writes the suite as a file of its own.
func (s *junitSuite) write(w io.Writer) error {
	s.Tests = len(s.Cases)
	for _, one := range s.Cases {
		switch {
		case one.Error != nil:
			s.Errors++
		case one.Failure != nil:
			s.Failures++
		case one.Skipped != nil:
			s.Skipped++
		}
	}
	text, err := xml.MarshalIndent(junitSuites{Name: "stackmeter", Tests: s.Tests, Failures: s.Failures, Errors: s.Errors, Suites: []junitSuite{*s}}, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, text)
	return err
}
