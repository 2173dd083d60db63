package stacks

import (
	"errors"
	"testing"
	"time"
)

// A script is a gauge that answers with one figure after the other, and fails
// when they are used up.
type script struct{ left []int64 }

func (s *script) Memory() (int64, error) {
	if len(s.left) == 0 {
		return 0, errors.New("gone")
	}
	next := s.left[0]
	s.left = s.left[1:]
	return next, nil
}

func (s *script) CPU() (time.Duration, error) { return 0, nil }
func (s *script) Halted() string              { return "" }
func (s *script) Begin()                      {}
func (s *script) End() (*int64, int)          { return nil, 0 }

// TestMeterSeries has two services, one of which ends: the series has the sum
// while there was one, and a sample without a figure afterwards, never 0.
func TestMeterSeries(t *testing.T) {
	// The interval is longer than the test: there is the sample of the start
	// and the one of the end.
	meter := StartMeter("test", time.Hour, []Gauged{
		{Service: "app", Gauge: &script{[]int64{100, 200}}},
		{Service: "nginx", Gauge: &script{[]int64{11}}},
	})
	u := meter.Stop()
	if len(u.Series) != 2 || u.Series[0].Memory == nil || *u.Series[0].Memory != 111 || u.Series[1].Memory != nil {
		t.Errorf("series %+v, want 111 and nothing", u.Series)
	}
	if u.Samples != 1 || u.Memory == nil || *u.Memory != 111 || u.Reason == "" {
		t.Errorf("usage %+v, want the one sample and why there was no other", u)
	}
}
