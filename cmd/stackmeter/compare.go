package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/console"
	"stackmeter/cmd/stackmeter/files"
	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/results"
	"stackmeter/results/exchange"
	"stackmeter/results/report/pages"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/threshold"
)

var (
	errVerdict       = errors.New("verdict")
	errNotComparable = errors.New("verdict") // of another exit status
)

type compareOptions struct {
	db             string
	failOn, across []string
	out            outputOptions
}

func (a *app) compareCommand() *cobra.Command {
	var o compareOptions
	cmd := &cobra.Command{
		Use:   "compare BASE HEAD",
		Short: "Compare two runs cell by cell, and say what is worse",
		Long: `compare shows how each figure of each cell differs between two runs: the change,
its interval, and the p-value of a rank test, corrected for the number of cells.
BASE and HEAD are each a run's id or the beginning of it, a tag, latest, latest~1
(the one of the same scenario before it), last-passed (for each cell the last run of
HEAD's scenario before HEAD that holds it and passed), or a JSON file that stackmeter
report --format json wrote.

Runs that differ in kind (` + strings.Join(verdict.Kinds(), ", ") + `)
are refused with exit status 1, unless --across names the kinds.

Exit status 4: a condition of --fail-on is broken (without any, one of HEAD's
scenario), or undecided if that scenario says undecided: fail, a cell that was ok fails,
has errors, was pruned or is missing, or nothing could be compared.`,
		Example: `  stackmeter compare last-passed latest
  stackmeter compare latest~1 latest --fail-on 'duration < base * 1.05' --fail-on 'errors == 0'
  stackmeter compare release-1.2 result.json --format markdown --across cpu`,
		Args: usage.Arguments(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.compare(cmd.Context(), args[0], args[1], o)
		},
	}
	storeFlag(cmd, &o.db)
	failOnFlag(cmd, &o.failOn)
	acrossFlag(cmd, &o.across)
	o.out.flags(cmd, pages.ComparisonFormats(verdict.Comparison{}, nil).Names())
	o.out.chartsFlag(cmd)
	return cmd
}

func failOnFlag(cmd *cobra.Command, failOn *[]string) {
	cmd.Flags().StringArrayVar(failOn, "fail-on", nil, "fail unless every cell meets this condition, `EXPR`, such as 'p99 < 2s' or 'duration < base * 1.05'; may be repeated")
}

func acrossFlag(cmd *cobra.Command, across *[]string) {
	cmd.Flags().StringSliceVar(across, "across", nil, "compare runs even if they differ in these kinds, `KIND,…`: "+strings.Join(verdict.Kinds(), ", ")+", or all")
}

// parseThresholds reads conditions. Its errors are usage errors.
func parseThresholds(texts []string, flag string) ([]*threshold.Threshold, error) {
	var parsed []*threshold.Threshold
	for _, text := range texts {
		t, err := results.Vocabulary().Parse(text)
		if err != nil {
			return nil, usage.Errorf("%s %q: %w", flag, text, err)
		}
		parsed = append(parsed, t)
	}
	return parsed, nil
}

func checkKinds(across []string) error {
	for _, kind := range across {
		if kind != "all" && !slices.Contains(verdict.Kinds(), kind) {
			return usage.Unknown("across", kind, append(verdict.Kinds(), "all"))
		}
	}
	return nil
}

func (a *app) compare(ctx context.Context, base, head string, o compareOptions) error {
	if err := checkKinds(o.across); err != nil {
		return err
	}
	thresholds, err := parseThresholds(o.failOn, "--fail-on")
	if err != nil {
		return err
	}
	side := sides{db: o.db}
	defer side.close()
	after, err := side.open(ctx, head, results.Scope{})
	if err != nil {
		return fmt.Errorf("HEAD: %w", err)
	}
	if len(thresholds) == 0 {
		if thresholds, err = parseThresholds(after.Run.Plan.Thresholds, "threshold of "+after.Run.ID); err != nil {
			return err
		}
	}
	before, refused := side.base(ctx, base, results.Scope{}, after, thresholds, o.across)
	if refused == nil && before.Run.ID == "" {
		refused = fmt.Errorf("%w: no run of scenario %s that has its cells passed yet", results.ErrNoRun, show.Clean(after.Run.Scenario))
	}
	if refused != nil && !errors.Is(refused, errNotComparable) {
		return fmt.Errorf("BASE: %w", refused)
	}
	if refused != nil {
		if o.out.format != "junit" {
			return refused
		}
		return errors.Join(refused, files.Write(a.stdout, o.out.file, func(w io.Writer) error {
			standing, _ := words.Refused(before.Run, after.Run, o.across)
			return exchange.WriteRefusedJUnit(w, after.Run, standing)
		}))
	}
	comparison := verdict.CompareRuns(before.Run, after.Run, before.Records, after.Records)
	if err := side.between(ctx, &comparison); err != nil {
		return err
	}
	checks := verdict.CheckThresholds(thresholds, verdict.Judged(after.Run, after.Records), before.nights...)
	if err := a.write(o.out, func(dir string) ([]string, error) {
		return pages.WriteComparisonCharts(dir, comparison)
	}, func(w io.Writer) error {
		return pages.ComparisonFormats(comparison, checks).Write(w, o.out.format, console.ReportOptions(w))
	}); err != nil {
		return err
	}
	return judged(words.StandingOfComparison(comparison, checks))
}

// between puts the spread between nights into a comparison, where the store knows of it.
// Two files need no store.
func (s *sides) between(ctx context.Context, c *verdict.Comparison) error {
	if s.store == nil {
		if _, err := os.Stat(s.db); err != nil {
			return nil
		}
		if err := s.openStore(ctx); err != nil {
			return err
		}
	}
	return verdict.ReadNights(ctx, s.store, c)
}

// comparable refuses runs that differ in kind.
func comparable(base, head results.Run, across []string) error {
	if refused, is := words.Refused(base, head, across); is {
		return fmt.Errorf("%w: %s", errNotComparable, refused)
	}
	return nil
}

// judged is the error of a verdict that fails a gate.
func judged(s words.Standing) error {
	if !s.Fails() {
		return nil
	}
	return fmt.Errorf("%w: %s", errVerdict, s)
}

// sides opens what is compared: stored runs or files.
type sides struct {
	db    string
	store results.Store
}

func (s *sides) close() {
	if s.store != nil {
		s.store.Close()
	}
}

func (s *sides) open(ctx context.Context, which string, scope results.Scope) (exchange.Imported, error) {
	if isFile(which) {
		return readOne(which)
	}
	if err := s.openStore(ctx); err != nil {
		return exchange.Imported{}, err
	}
	id, err := s.store.Find(ctx, which, scope)
	if err != nil {
		return exchange.Imported{}, err
	}
	run, records, err := s.store.Run(ctx, id)
	return exchange.Imported{Run: run, Records: records}, err
}

// base opens what the head is compared with. It refuses what differs in kind, and
// returns it too. It is empty for last-passed where no run with the head's cells has
// passed.
func (s *sides) base(ctx context.Context, which string, scope results.Scope, head exchange.Imported, thresholds []*threshold.Threshold, across []string) (based, error) {
	if which == results.LastPassed {
		if err := s.openStore(ctx); err != nil {
			return based{}, err
		}
		return lastPassed(ctx, s.store, head, verdict.CellsOf(head.Run, head.Records), thresholds, across, 1)
	}
	base, err := s.open(ctx, which, scope)
	if err == nil {
		err = comparable(base.Run, head.Run, across)
	}
	return basedOn(base), err
}

func (s *sides) openStore(ctx context.Context) error {
	if s.store != nil {
		return nil
	}
	store, err := openStore(ctx, s.db)
	if err == nil {
		s.store = store
	}
	return err
}

// isFile reports whether a file is meant and not a run of the store.
func isFile(which string) bool {
	info, err := os.Stat(which)
	return err == nil && info.Mode().IsRegular() && strings.ContainsAny(which, "./")
}

// readOne reads a file that holds one run.
func readOne(file string) (exchange.Imported, error) {
	all, err := readResults(file, "")
	if err != nil {
		return exchange.Imported{}, err
	}
	if len(all) != 1 {
		return exchange.Imported{}, usage.Errorf("%s holds %d tables; import it, and compare the runs", file, len(all))
	}
	return all[0], nil
}
