package history

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/results"
)

// nightsOf are runs of a scenario with three cells, each measured twice; level is a
// cell's duration in a night.
func nightsOf(n int, level func(cell, night int) float64) (runs []results.Run, observations []results.Observation) {
	for night := range n {
		run := results.Run{ID: fmt.Sprintf("night-%02d", night), Started: time.Date(2026, 11, 1+night, 2, 0, 0, 0, time.UTC)}
		runs = append(runs, run)
		for cell := range 3 {
			for repeat := range 2 {
				value := level(cell, night) * (1 + 0.002*float64((night*7+cell*5+repeat*3)%11-5))
				observations = append(observations, results.Observation{Run: run.ID, Cell: fmt.Sprintf("cell-%d", cell), Repeat: repeat + 1, Clean: true, Value: &value})
			}
		}
	}
	return runs, observations
}

// TestHistoryTogether: what all cells did is said of all of them first, and what came
// with it of the record.
func TestHistoryTogether(t *testing.T) {
	runs, observations := nightsOf(30, func(cell, night int) float64 {
		level := math.Pow(10, float64(cell))
		if night >= 20 {
			level *= 1.05
		}
		return level
	})
	for i := range runs {
		runs[i].Images = map[string]string{"flask/app": "sha256:0123456789abcdef", "nginx+flask/app": "sha256:0123456789abcdef", "nginx+flask/nginx": "sha256:77"}
		runs[i].GPUDevices = []gpu.Device{{Name: "A", Driver: "550"}}
		runs[i].Host.Kernel = "6.1"
		runs[i].Host.Stackmeter = "1.0"
		if i >= 20 {
			runs[i].Images["flask/app"], runs[i].Images["nginx+flask/app"] = "sha256:fedcba9876543210", "sha256:fedcba9876543210"
			runs[i].GPUDevices[0].Driver, runs[i].Host.Kernel, runs[i].Host.Stackmeter = "560", "6.2", "1.1"
		}
	}
	h := New("nightly", results.Metric(results.MetricDuration), runs, observations)
	all := h.All()
	if len(all) != 4 || all[0].Name != TogetherName || len(all[0].Steps) != 1 {
		t.Fatalf("%+v", all[0])
	}
	step := all[0].Steps[0]
	if change := step.After/step.Before - 1; step.At != 20 || !step.Worse || math.Abs(change-0.05) > 0.01 || step.Interval.Low > 0.05 || step.Interval.High < 0.05 {
		t.Errorf("%+v, interval %+v", step, step.Interval)
	}
	var kinds []string
	for _, d := range step.Disparities {
		kinds = append(kinds, d.String())
	}
	want := []string{"driver (550 against 560)", "kernel (6.1 against 6.2)", "image of app (sha256:0123456789ab against sha256:fedcba987654)", "stackmeter (1.0 against 1.1)"}
	if !slices.Equal(kinds, want) {
		t.Errorf("with it came %s, want %s", strings.Join(kinds, ", "), strings.Join(want, ", "))
	}
}

// TestHistoryTogetherOfSome: a cell that came later, and a night that was cut short, do
// not move all of them; a figure that can be 0 is no share of anything.
func TestHistoryTogetherOfSome(t *testing.T) {
	runs, observations := nightsOf(30, func(cell, _ int) float64 { return math.Pow(10, float64(cell)) })
	some := slices.DeleteFunc(slices.Clone(observations), func(o results.Observation) bool {
		return o.Cell == "cell-2" && o.Run < "night-20" || o.Run == "night-25" && o.Cell != "cell-2"
	})
	h := New("nightly", results.Metric(results.MetricDuration), runs, some)
	if h.Whole == nil || len(h.Whole.Points) != 29 || len(h.Whole.Steps) != 0 || h.Whole.Drift != nil {
		t.Errorf("%+v", h.Whole)
	}
	*observations[0].Value = 0
	if h = New("nightly", results.Metric(results.MetricErrors), runs, observations); h.Whole != nil {
		t.Error("errors have a geometric mean")
	}
}

// A figuresStore has the same observations for the metrics it knows.
type figuresStore struct {
	runs         []results.Run
	observations []results.Observation
	metrics      []string
}

func (s figuresStore) History(_ context.Context, _, _, metric string, _ int) ([]results.Run, []results.Observation, error) {
	if slices.Contains(s.metrics, metric) {
		return s.runs, s.observations, nil
	}
	return s.runs, nil, nil
}

func TestReadHistories(t *testing.T) {
	runs, observations := nightsOf(3, func(int, int) float64 { return 1 })
	for _, test := range []struct {
		name                  string
		measured, asked, want []string
	}{
		{"with a GPU", []string{"duration", "gpu_peak", "memory_peak"}, nil, []string{"duration", "gpu_peak"}},
		{"without", []string{"duration", "memory_peak"}, nil, []string{"duration", "memory_peak"}},
		{"no memory", []string{"duration"}, nil, []string{"duration"}},
		{"nothing", nil, nil, []string{"duration"}},
		{"asked for", nil, []string{"p99", "errors"}, []string{"p99", "errors"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var asked []results.Figure
			for _, name := range test.asked {
				asked = append(asked, results.Metric(name))
			}
			all, err := Read(t.Context(), figuresStore{runs, observations, test.measured}, "nightly", "", asked, 30)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, h := range all {
				got = append(got, h.Metric.Name)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}
