package orchestrator_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// wallClock is how a duration would come to be one of the wall clock: a
// reading without its monotonic part, a difference of which follows every step
// of the clock.
var wallClock = map[string]*regexp.Regexp{
	".go": regexp.MustCompile(`\.Unix(Nano|Micro|Milli)?\(\)|\.Round\(0\)|time\.Unix(Micro|Milli)?\([^0]|CLOCK_REALTIME|Gettimeofday`),
	".py": regexp.MustCompile(`\btime\.time(_ns)?\(|\bdatetime\b|CLOCK_REALTIME`),
}

// TestFault23NoWallClockIsRead reads the source of all that measures. Nobody
// may move the clock of a machine for a test, and this program asks the kernel
// past every library that could pretend; for the client in Python there is
// one, and TestFault23WallClockJumps. Only the stamps that the kernel gives to
// what arrives are the wall clock's: see TestFault23StampsOfAClockThatWasSet.
func TestFault23NoWallClockIsRead(t *testing.T) {
	files := 0
	for _, root := range []string{".", "../stacks"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && (d.Name() == "testdata" || d.Name() == "stackstest" || d.Name() == "images") {
				return filepath.SkipDir
			}
			forbidden := wallClock[filepath.Ext(path)]
			if d.IsDir() || forbidden == nil || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			files++
			source, err := os.ReadFile(path)
			found := forbidden.FindAllString(string(source), -1)
			if path == filepath.Join("load", "native", "arrivals.go") && slices.Equal(found, []string{".UnixNano()"}) {
				return err
			}
			if len(found) > 0 {
				t.Errorf("%s: %q: the wall clock", path, found)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 80 {
		t.Errorf("only %d files were looked at", files)
	}
}
