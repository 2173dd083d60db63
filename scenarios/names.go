package scenarios

import (
	"net"
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

	// module:callable, with parentheses if the callable is a factory. Its arguments
	// are literals, of which some servers have a grammar of their own.
	wsgi = matching(dotted + `:` + dotted + `(?:\([\w ,.:=+/'"-]*\))?`)
	host = matching(`(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}`)
)

const dotted = `[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*`

func validWSGI(s string) bool { return len(s) <= maxWSGI && wsgi(s) }

// validHost is for names and addresses that a certificate can be for.
func validHost(s string) bool { return len(s) <= 253 && host(s) || net.ParseIP(s) != nil }

// matching reports whether a whole text has a form.
func matching(pattern string) func(string) bool {
	return regexp.MustCompile(`^(?:` + pattern + `)$`).MatchString
}
