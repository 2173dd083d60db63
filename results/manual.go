package results

import _ "embed"

// Manual is the page of the manual that is beside this code, in Markdown.
//
//go:embed README.md
var Manual string
