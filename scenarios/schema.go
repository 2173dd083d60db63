package scenarios

import (
	_ "embed"
	"slices"
)

//go:embed schema.json
var schema []byte

// Schema is the JSON Schema (draft 2020-12) of scenario files, for editors.
// It knows keys, types and ranges; contradictions, placeholders and files are
// found by Load only.
func Schema() []byte { return slices.Clone(schema) }
