package show

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
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
		{"\n a\xff\n", "a?"},
	} {
		whole, bytewise := Tail{Max: 10}, Tail{Max: 10}
		_, _ = io.WriteString(&whole, test.log)
		_, _ = io.Copy(&bytewise, iotest.OneByteReader(strings.NewReader(test.log)))
		if got := whole.String(); got != test.want {
			t.Errorf("%q: %q, want %q", test.log, got, test.want)
		}
		if got := bytewise.String(); got != test.want {
			t.Errorf("%q, byte by byte: %q, want %q", test.log, got, test.want)
		}
	}
}

func TestTailLines(t *testing.T) {
	const most = 40
	tests := []struct {
		name, text string
		lines      int
		first      string
	}{
		{"nothing", "", 0, ""},
		{"only ends of lines", "\n\r\n", 0, ""},
		{"one line without an end", " a", 1, " a"},
		{"ends of lines as on Windows", "a\r\nb\r\n", 2, "a"},
		{"the last lines", strings.Repeat("x\n", 10) + strings.Repeat("y\n", most), most, "y"},
		{"an endless line", strings.Repeat("z", 3*defaultMax), 1, "(a line of more than 4096 bytes)"},
		{"a line whose start is cut off", "x" + strings.Repeat("z", defaultMax) + "\ny", 1, "y"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var kept Tail
			_, _ = io.Copy(&kept, strings.NewReader(test.text))
			lines := kept.Lines(most)
			if len(lines) != test.lines || test.lines > 0 && lines[0] != test.first {
				t.Errorf("%d lines: %.80q", len(lines), lines)
			}
			if test.lines > 0 && !kept.Contains(strings.TrimSpace(test.text[len(test.text)-2:])) {
				t.Error("it does not contain its end")
			}
		})
	}
}

func TestLogEnd(t *testing.T) {
	lines := LogEnd(strings.Repeat("x\n", 5) + strings.Repeat("\x1b"+strings.Repeat("y", 2*LineWidth)+"\n", logLines))
	if len(lines) != logLines || lines[0] != `\x1b`+strings.Repeat("y", LineWidth-5)+Missing {
		t.Errorf("%d lines: %.300q", len(lines), lines)
	}
}
