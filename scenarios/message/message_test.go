package message

import (
	"maps"
	"slices"
	"testing"

	"stackmeter/scenarios/show"
)

// TestFill: what is sent, what may be written, and what may not be in any text.
func TestFill(t *testing.T) {
	env := map[string]string{"API_TOKEN": "token-${4711}", "EMPTY": "", "_a1": "x"}
	for value, want := range map[string]struct{ sent, written string }{
		"Bearer ${API_TOKEN}":          {"Bearer token-${4711}", "Bearer ${API_TOKEN}"},
		"${API_TOKEN}":                 {"token-${4711}", "${API_TOKEN}"},
		"x${_a1}${EMPTY}y":             {"xxy", show.Redacted},
		"Basic hunter2${API_TOKEN}":    {"Basic hunter2token-${4711}", show.Redacted},
		"Bearer ${API_TOKEN} ${_a1}":   {"Bearer token-${4711} x", show.Redacted},
		"$${API_TOKEN} $$${_a1} $ {$}": {"${API_TOKEN} $${_a1} $ {$}", show.Redacted},
		"plain":                        {"plain", show.Redacted},
	} {
		headers := map[string]string{"X": value}
		if got := Fill(headers, env)["X"]; got != want.sent {
			t.Errorf("%s is sent as %q, want %q", value, got, want.sent)
		}
		if got := Redacted(headers)["X"]; got != want.written {
			t.Errorf("%s is written as %q, want %q", value, got, want.written)
		}
		if headers["X"] != value {
			t.Errorf("%s has become %q", value, headers["X"])
		}
	}
	secrets := Secrets(map[string]string{"Authorization": "Bearer ${API_TOKEN}"}, env)
	if slices.Sort(secrets); !slices.Equal(secrets, []string{"Bearer token-${4711}", "token-${4711}"}) {
		t.Errorf("secret are %q", secrets)
	}
	if Fill(nil, env) != nil || len(Redacted(nil)) > 0 {
		t.Error("no headers have become some")
	}
}

func FuzzLiteral(f *testing.F) {
	for _, text := range []string{"", "${X}", "$${X}", "$$${X}", "${${X}", "$$$${"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		headers := map[string]string{"X": Literal(text)}
		if got := Fill(headers, map[string]string{"X": "value"}); !maps.Equal(got, map[string]string{"X": text}) {
			t.Errorf("%q is sent as %q", text, got["X"])
		}
	})
}
