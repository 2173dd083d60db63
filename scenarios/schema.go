package scenarios

import (
	"bytes"
	_ "embed"
	"strings"

	"stackmeter/scenarios/threshold"
)

//go:embed schema.json
var schema []byte

// Schema is the JSON Schema (draft 2020-12) of scenario files, for editors.
// It knows keys, types and ranges. Contradictions, placeholders and files are
// found by Load only.
func Schema(figures threshold.Vocabulary) []byte {
	names := `"` + strings.Join(figures.Names(), `", "`) + `"`
	return bytes.ReplaceAll(schema, []byte(`"FIGURES"`), []byte(names))
}
