package wire

import (
	"testing"
)

func TestErrorLimit(t *testing.T) {
	for _, test := range []struct {
		text     string
		requests int
		allowed  int
	}{
		{"0", 100, 0},
		{"10", 5, 10},
		{"0%", 100, 0},
		{"7%", 100, 7},
		{"2.5%", 100, 2},
		{"2.5 %", 1000, 25},
		{"0.1%", 999, 0},
		{"100%", 3, 3},
		{"29%", 100, 29}, // 28.999999999999996 as a float
	} {
		limit, err := parseErrorLimit(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if got := limit.Allowed(test.requests); got != test.allowed {
			t.Errorf("%s of %d requests allows %d, want %d", test.text, test.requests, got, test.allowed)
		}
		if again, err := parseErrorLimit(limit.String()); err != nil || again != limit {
			t.Errorf("%s is written %s, which is %+v, %v", test.text, limit, again, err)
		}
	}
	for _, wrong := range []string{"", "-1", "+1", "010", "1e3", "1.5", "x", "101%", "-1%", "NaN%", "0x1p3%", "1_0%", "%", "10000001"} {
		if limit, err := parseErrorLimit(wrong); err == nil {
			t.Errorf("%q is read as %+v", wrong, limit)
		}
	}
}
