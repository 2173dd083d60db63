package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/loadflags"
	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
	"stackmeter/scenarios/units"
	"stackmeter/stacks/servers"
)

// TestUnitsAreTheSameEverywhere writes each quantity as a key of a scenario, in
// a threshold, as a budget and as a flag: it has the value that units says, or
// is refused in its words.
func TestUnitsAreTheSameEverywhere(t *testing.T) {
	key := func(set string, value func(*scenarios.Scenario) float64) func(string) (float64, error) {
		return func(text string) (float64, error) {
			s, err := scenarios.Loader{Servers: servers.Known()}.Parse("units.yaml", []byte(`{name: units, app: {image: x, wsgi: "a:b"}, topologies: [flask], matrix: {requests: [1], client: [open]}}`),
				fmt.Sprintf("%s=%q", set, text), "matrix.rate="+rateBeside(set, text))
			if err != nil {
				return 0, err
			}
			return value(s), nil
		}
	}
	flag := func(name string, value func(*scenarios.Scenario) float64) func(string) (float64, error) {
		return func(text string) (float64, error) {
			cmd := new(app).loadCommand()
			if err := cmd.ParseFlags([]string{"--" + name + "=" + text}); err != nil {
				return 0, err
			}
			_, s, err := loadflags.Scenario("http://127.0.0.1/", cmd.Flags())
			if err != nil {
				return 0, err
			}
			return value(s), nil
		}
	}
	threshold := func(figure string) func(string) (float64, error) {
		return func(text string) (float64, error) {
			threshold, err := results.Vocabulary().Parse(figure + " == " + text)
			if err != nil {
				return 0, err
			}
			want, _ := units.Parse(text, results.Metric(figure).Unit)
			if holds, err := threshold.Holds(map[string]float64{figure: want}, nil); !holds || err != nil {
				return 0, fmt.Errorf("%s is not %v (%v)", text, want, err)
			}
			return want, nil
		}
	}
	budget := func(metric string) func(string) (float64, error) {
		return func(text string) (float64, error) {
			b, err := verdict.NewBudget(metric, text)
			return b.Limit, err
		}
	}
	for _, kind := range []struct {
		unit   units.Unit
		texts  []string
		places map[string]func(string) (float64, error)
	}{
		{units.Seconds, []string{"2s", "500ms", "1m30s", "1m 30s", "1.5 h", ".5s", "1e3ms", "2 s", "5", "2 sec", "5GiB", "1m 30", "1_0s", "5S", "1.5.5s"},
			map[string]func(string) (float64, error){
				"key":          key("request.timeout", func(s *scenarios.Scenario) float64 { return s.Request.Timeout.Seconds() }),
				"threshold":    threshold("p99"),
				"budget":       budget("p99"),
				"flag of load": flag("timeout", func(s *scenarios.Scenario) float64 { return s.Request.Timeout.Seconds() }),
				"flag of run": func(text string) (float64, error) {
					var wait time.Duration
					cmd := &cobra.Command{}
					usage.TimeFlag(cmd, &wait, "wait", 0, "")
					err := cmd.ParseFlags([]string{"--wait=" + text})
					return wait.Seconds(), err
				},
			}},
		{units.Bytes, []string{"512MiB", "2 GiB", ".5GiB", "1e3MiB", "8000000B", "1.5GiB", "8000000000", "5GB", "5gib", "5s", "0x10MiB", "5 MiBs"},
			map[string]func(string) (float64, error){
				"key":       key("resources.memory", func(s *scenarios.Scenario) float64 { return float64(s.Resources.Memory) }),
				"threshold": threshold("memory_peak"),
				"budget":    budget("memory_peak"),
			}},
		{units.PerSecond, []string{"20/s", "0.5 /s", ".5/s", "1e3/s", "5s", "20 rps"},
			map[string]func(string) (float64, error){
				"key":       key("matrix.rate", func(s *scenarios.Scenario) float64 { return s.Loads[0].Rate }),
				"threshold": threshold("throughput"),
				"budget":    budget("throughput"),
				"flag":      flag("rate", func(s *scenarios.Scenario) float64 { return s.Loads[0].Rate }),
			}},
		{units.Percent, []string{"5%", "2.5 %", ".5%", "1e1%", "5_0%"},
			map[string]func(string) (float64, error){
				"key":         key("request.max_errors", func(s *scenarios.Scenario) float64 { return s.Request.MaxErrors.Percent }),
				"another key": key("resources.gpu.mps.active_threads", func(s *scenarios.Scenario) float64 { return s.Resources.GPU.MPS.ActiveThreads }),
				"threshold": func(text string) (float64, error) {
					_, err := results.Vocabulary().Parse("duration < base * " + text)
					want, _ := units.Parse(text, units.Percent)
					return want, err
				},
				"flag": flag("max-errors", func(s *scenarios.Scenario) float64 { return s.Request.MaxErrors.Percent }),
			}},
	} {
		for _, text := range kind.texts {
			want, refusal := units.Parse(text, kind.unit)
			for place, read := range kind.places {
				got, err := read(text)
				var wrong *units.Error
				switch {
				case refusal == nil && (err != nil || got != want):
					t.Errorf("%q as a %s: %v, %v; want %v", text, place, got, err, want)
				case errors.As(refusal, &wrong) && (err == nil || !strings.Contains(err.Error(), wrong.Message) || !strings.Contains(err.Error(), wrong.Hint)):
					t.Errorf("%q as a %s: %v, %v; want %v", text, place, got, err, refusal)
				}
			}
		}
	}
}

// rateBeside is the rate that an open loop needs where another key is set.
func rateBeside(set, text string) string {
	if set == "matrix.rate" {
		return fmt.Sprintf("%q", text)
	}
	return "max"
}
