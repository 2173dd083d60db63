package template

import "testing"

// FuzzTemplate: a text with placeholders is refused, or what is filled in
// stays what it was: a value never becomes a placeholder, and every brace that
// is left is one of the text's.
func FuzzTemplate(f *testing.F) {
	for _, text := range []string{"", "{port}", "--bind={host}:{port}", "{{port}}", "{host:back}", "{", "}", "{{}", "{}}", "{a{b}}", "{wsgi}{wsgi}", "{{{port}}}"} {
		f.Add(text, "value", "80")
		f.Add(text, "{port}", "{{")
	}
	f.Fuzz(func(t *testing.T, text, wsgi, port string) {
		parsed, err := Parse(text)
		if err != nil {
			return
		}
		if len(parsed.parts) != len(parsed.Names)+1 {
			t.Fatalf("%d parts, %d names", len(parsed.parts), len(parsed.Names))
		}
		// Filled in two steps, as the plan and the runtime do, or at once.
		first := parsed.Fill(map[string]string{"wsgi": wsgi})
		second, err := Parse(first)
		if err != nil {
			t.Fatalf("%q becomes %q: %v", text, first, err)
		}
		both := parsed.Fill(map[string]string{"wsgi": wsgi, "port": port})
		if got := second.Fill(map[string]string{"port": port}); got != both {
			t.Fatalf("%q: %q in two steps, %q at once", text, got, both)
		}
		last, err := Parse(both)
		if err != nil {
			t.Fatalf("%q becomes %q: %v", text, both, err)
		}
		for _, name := range last.Names {
			if name == "wsgi" || name == "port" {
				t.Fatalf("%q: a value became a placeholder: %q", text, both)
			}
		}
	})
}
