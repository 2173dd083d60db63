package load

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"stackmeter/scenarios/expect"
	"stackmeter/scenarios/wire"
)

// TestAttackJSONNumbers: numbers are compared by their exact values, however they are
// written, at any depth. A double does not tell 2^53 from 2^53 + 1.
func TestAttackJSONNumbers(t *testing.T) {
	for _, test := range []struct {
		want, got string
		equal     bool
	}{
		{"9007199254740992", "9007199254740993", false},
		{"9007199254740993", "9007199254740993", true},
		{"[1,2]", "[1.0,2.0]", true},
		{`{"a":{"b":[1]},"c":0}`, `{"c":-0.0,"a":{"b":[1.00]}}`, true},
		{"[1,2]", "[1,2,3]", false},
		{`{"a":1}`, `{"a":1,"b":2}`, false},
		{`{"a":1}`, `{"b":1}`, false},
		{"1e2", "100", true},
		{"1E+2", "100.00", true},
		{"120", "1.2e2", true},
		{"0.001", "1e-3", true},
		{"1e400", "1e401", false},
		{"1e400", "10e399", true},
		{"0e5", "0", true},
		{"0.3", "0.30000000000000004", false},
		{"0.1", "0.1000000000000000055511151231257827", false},
		{"-1", "1", false},
		{"1e99999999999999999999", "1", false},
		{"1", `"1"`, false},
		{"1", "true", false},
		{"null", "0", false},
		{`"null"`, "null", false},
		{"[]", "{}", false},
		{`"1.0"`, `"1"`, false},
	} {
		c, err := NewChecker(wire.Request{Expect: expect.Answer{JSON: map[string]string{"x": test.want}}}, func(int) (*atomic.Uint64, string) { return nil, "" })
		if err != nil {
			t.Fatal(err)
		}
		failure := c.Check(0, 200, []byte(`{"x": `+test.got+`}`), nil)
		if (failure == nil) != test.equal {
			t.Errorf("%s for %s: %v", test.got, test.want, failure)
		}
	}
	c, err := NewChecker(wire.Request{Expect: expect.Answer{JSON: map[string]string{"x": "7"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if failure := c.Check(0, 200, []byte(`{"x": "7"}`), nil); failure == nil || !strings.Contains(fmt.Sprint(failure), `json x is "7" instead of 7`) {
		t.Errorf("a text instead of a number: %v", failure)
	}
}
