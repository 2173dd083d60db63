package show

import (
	"strings"
	"testing"
	"unicode"
)

func TestClean(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"plain", "nginx+gunicorn-w1-t4, 18.58 s ±0.12 –", "nginx+gunicorn-w1-t4, 18.58 s ±0.12 –"},
		{"lines and tabs", "a\n\tb", "a\n    b"},
		{"escape sequence", "\x1b[2Jx", `\x1b[2Jx`},
		{"carriage return", "good\rbad", `good\rbad`},
		{"C1", "\u009b31m", `\u009b31m`},
		{"direction", "\u202Etxt.exe", `\u202etxt.exe`},
		{"not UTF-8", "a\xffb", `a\xffb`},
		{"low byte", "\x05", `\x05`},
		{"replacement character itself", "\uFFFD", "\uFFFD"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Clean(test.text); got != test.want {
				t.Errorf("Clean(%q) = %q, want %q", test.text, got, test.want)
			}
		})
	}
}

func FuzzClean(f *testing.F) {
	f.Add("\x1b[2J\xff\u202e")
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range Clean(text) {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Fatalf("Clean(%q) holds %U", text, r)
			}
		}
	})
}

func TestLine(t *testing.T) {
	if got, want := Line("a\n\tb"), `a\n    b`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestColumns(t *testing.T) {
	for text, want := range map[string]string{
		"status 500":     "status 500",
		"a\x1b[31mb":     "a\uFFFD[31mb",
		"a\nb\tc\n":      "a b c ",
		"a\xffb":         "a\uFFFDb",
		"a\u202ebé":      "a\uFFFDbé",
		"\r\u009b31m \a": "\uFFFD\uFFFD31m \uFFFD",
	} {
		if got := Columns(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestShorten(t *testing.T) {
	for _, test := range []struct {
		text string
		n    int
		want string
	}{
		{"", 3, ""}, {"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"äöü", 3, "äöü"}, {"äöüé", 3, "äö…"}, {"a\xff\xff\xff", 3, "a\xff…"},
	} {
		if got := Shorten(test.text, test.n); got != test.want {
			t.Errorf("Shorten(%q, %d) = %q, want %q", test.text, test.n, got, test.want)
		}
	}
}

func TestQuote(t *testing.T) {
	sixty := strings.Repeat("é", Quoted)
	for _, test := range []struct{ name, text, want string }{
		{"nothing", "", `""`},
		{"what a terminal would obey", "a\x1b\n\"\xff", `"a\x1b\n\"\xff"`},
		{"just as long", sixty, `"` + sixty + `"`},
		{"longer", sixty + "é", `"` + sixty + `"…`},
		{"the longest characters", strings.Repeat("😀", Quoted+1), `"` + strings.Repeat("😀", Quoted) + `"…`},
		{"long", strings.Repeat("x", 1<<20), `"` + strings.Repeat("x", Quoted) + `"…`},
	} {
		if got := Quote(test.text); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
		if got := Quote([]byte(test.text)); got != test.want {
			t.Errorf("%s, as bytes: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestPlural(t *testing.T) {
	for n, want := range map[int]string{0: "0 worker threads", 1: "1 worker thread", 2: "2 worker threads"} {
		if got := Plural(n, "worker thread"); got != want {
			t.Errorf("Plural(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "",
		"one":                       "one",
		"nine chars":                "nine/chars",
		"a b c d e f":               "a b c d/e f",
		"averylongword and another": "averylongword/and/another",
		"größer als 7":              "größer/als 7",
	} {
		if got := strings.Join(Wrap(text, 7), "/"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
