//go:build linux

package process

import (
	"fmt"
	"os"
	"slices"
	"testing"
)

// TestOutputIsThere: what a service has written is in its log at once, whether the
// goroutine that follows it has come so far or not, and after its end.
func TestOutputIsThere(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	o := output{pipe: read}
	followed := make(chan struct{})
	for i := range 1000 {
		if i == 1 {
			go func() {
				defer close(followed)
				o.follow()
			}()
		}
		line := fmt.Sprintf("line %d", i)
		fmt.Fprintln(write, line)
		if got := o.now().Lines(1); !slices.Equal(got, []string{line}) {
			t.Fatalf("after %q the log ends with %q", line, got)
		}
	}
	fmt.Fprint(write, "the last")
	write.Close()
	if got := o.now().Lines(1); !slices.Equal(got, []string{"the last"}) {
		t.Errorf("after the end the log ends with %q", got)
	}
	<-followed
	if got := o.now().Lines(2); !slices.Equal(got, []string{"line 999", "the last"}) {
		t.Errorf("once all is read the log ends with %q", got)
	}
}
