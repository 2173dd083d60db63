package stacks_test

import (
	"testing"

	"stackmeter/stacks"
)

// TestThreat4TailOfALog: no tail begins within a line, where the rest of a
// secret would not be known as one.
func TestThreat4TailOfALog(t *testing.T) {
	for _, test := range []struct{ log, want string }{
		{"", ""},
		{"a\nb", "a\nb"},
		{"TOKEN=secret\nb\nc", "b\nc"},
		{"secret\n12345678\n1", "12345678\n1"},
		{"secret-secret", "(a line of more than 10 bytes)"},
		{"secret-secret\n", "(a line of more than 10 bytes)"},
		{"é\nb\n12345678", "b\n12345678"},
	} {
		if got := string(stacks.Tail([]byte(test.log), 10)); got != test.want {
			t.Errorf("%q: %q, want %q", test.log, got, test.want)
		}
	}
}
