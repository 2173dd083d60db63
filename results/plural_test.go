package results

import "testing"

func TestPlural(t *testing.T) {
	for n, want := range map[int]string{0: "0 worker threads", 1: "1 worker thread", 2: "2 worker threads"} {
		if got := Plural(n, "worker thread"); got != want {
			t.Errorf("Plural(%d) = %q, want %q", n, got, want)
		}
	}
}
