package threshold

import (
	"strings"
	"testing"
)

// TestTight: what an unchanged build breaks in half of the nights, or always, is told
// apart from what it keeps.
func TestTight(t *testing.T) {
	for text, want := range map[string]string{
		"duration < base":                              "duration is a little more",
		"duration <= base":                             "duration is a little more",
		"duration < base * 100%":                       "duration is a little more",
		"duration / base <= 1":                         "duration is a little more",
		"throughput >= base":                           "throughput is a little more",
		"not (duration > base)":                        "duration is a little more",
		"p99 < 2s and (duration < base or p99 < base)": "duration and p99 is a little more",
		"duration < base * 0.95":                       "asks for another duration",
		"duration == base":                             "asks for another duration",
		"duration < base * 1.05":                       "",
		"throughput > base * 95%":                      "",
		"duration < base + 100ms":                      "",
		"errors <= base":                               "",
		"errors < base and duration < 2s":              "",
		"p99 < 2s":                                     "",
	} {
		condition, err := figures.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		why, hint := condition.Tight()
		if want == "" != (why == "") || !strings.Contains(why, want) || (why == "") != (hint == "") {
			t.Errorf("%s: %q (%s), want %q", text, why, hint, want)
		}
	}
}
