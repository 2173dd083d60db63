package orchestrator

import _ "embed"

// Pages of the manual that are beside this code, in Markdown: how runs are run, and
// what goes wrong.
var (
	//go:embed README.md
	Manual string
	//go:embed FAULTS.md
	Faults string
)
