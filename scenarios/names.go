package scenarios

import (
	"regexp"
)

// maxWSGI is the longest text that fills a placeholder, in bytes.
const maxWSGI = 200

// maxName is the longest name of a scenario or topology.
const maxName = 64

const (
	nameRule    = "letters, digits and . _ + - after a letter or digit, at most 64"
	serviceRule = "a DNS label: a to z, digits and -, a letter or digit first and last, at most 63"
	envRule     = "letters, digits and _, not a digit first"
	productRule = "as nodes are labelled with nvidia.com/gpu.product, for example NVIDIA-H100-80GB-HBM3"
	migRule     = "a profile as nvidia-smi mig -lgip lists it, for example 1g.10gb"
	imageRule   = "for example registry.example/team/app:1.2"
	wsgiRule    = "module:callable, for example wsgi:app"
	asgiRule    = "module:callable, for example asgi:app"
)

var (
	// Scenarios and topologies: such a name can be the name of a file or a
	// container and part of a pattern, without quotes.
	validName = matching(`[A-Za-z0-9][A-Za-z0-9._+-]{0,63}`)

	// Services: the other services look such a name up in DNS, to which A and a
	// are the same.
	validService = matching(`[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?`)

	validEnv = matching(`[A-Za-z_][A-Za-z0-9_]{0,255}`)

	// It refuses what could be taken for an option or leave argv. The engine
	// knows the rest of the grammar.
	validImage = matching(`[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}`)

	// A GPU by its UUID, or by its index.
	validDevice = matching(`(?:GPU|MIG)-[A-Za-z0-9/-]+|[0-9]{1,3}`)

	// The product of a GPU is the value of a label of Kubernetes, and a MIG profile a part
	// of a resource's name.
	validProduct = matching(`[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?`)
	validMIG     = matching(`[1-9][0-9]?g\.[1-9][0-9]{0,3}gb(?:\.[a-z0-9.]{1,16})?`)

	// module:callable, with parentheses if the callable is a factory. Its arguments
	// are literals, of which some servers have a grammar of their own.
	wsgi = matching(dotted + `:` + dotted + `(?:\([\w ,.:=+/'"-]*\))?`)
)

const dotted = `[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*`

func validWSGI(s string) bool { return len(s) <= maxWSGI && wsgi(s) }

// matching reports whether a whole text has a form.
func matching(pattern string) func(string) bool {
	return regexp.MustCompile(`^(?:` + pattern + `)$`).MatchString
}
