package strategy

import (
	"slices"
	"strings"
	"testing"

	"stackmeter/results"
	"stackmeter/scenarios"
)

func TestFailFast(t *testing.T) {
	p := twoByTwo(t, "")
	listed, _ := New(p, nil)
	s := FailFast(scenarios.Plan{})(listed)
	want := []string{"start a#1", "a/mt2/n10#1", "a/mt4/n10#1", "stop a"}
	if did := follow(t, s, map[string]string{"a/mt4/n10#1": results.StatusFailed}); !slices.Equal(did, want) {
		t.Errorf("%v, want %v", did, want)
	}
	if why := s.Why(); len(why) != 1 || !strings.Contains(why[0].Text, "a/mt4/n10, repeat 1") {
		t.Errorf("reasons: %+v", why)
	}
	untouched, _ := New(p, nil)
	if did := follow(t, FailFast(scenarios.Plan{})(untouched), nil); len(did) != 8 {
		t.Errorf("where nothing fails: %v", did)
	}
}
