package scenarios

import (
	"strings"
)

// Limits of names, in bytes. A service's name is a DNS label in the stack's
// network, an expanded topology's is the first part of a cell's.
const (
	maxName    = 64
	maxService = 63
	maxWSGI    = 200 // the longest text that fills a placeholder
)

const (
	nameRule    = "letters, digits and . _ + - after a letter or digit, at most 64"
	serviceRule = "a DNS label: a to z, digits and -, a letter or digit first and last, at most 63"
	envRule     = "letters, digits and _, not a digit first"
	headerRule  = "letters, digits, - and _"
	imageRule   = "for example registry.example/team/app:1.2"
	wsgiRule    = "module:callable, for example wsgi:app"
)

const (
	lower   = "abcdefghijklmnopqrstuvwxyz"
	letters = lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
)

// only says whether s is not empty and has no other characters.
func only(s, characters string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(characters, r) })
}

// validName is the rule for scenarios and topologies: such a name can be a
// file's, a container's and a pattern's without being quoted.
func validName(s string) bool {
	return only(s, letters+digits+"._+-") && only(s[:1], letters+digits) && len(s) <= maxName
}

// validService is the rule for services: the others of the stack look such a
// name up, and DNS takes A and a for the same.
func validService(s string) bool {
	const ends = lower + digits
	return only(s, ends+"-") && only(s[:1], ends) && only(s[len(s)-1:], ends) && len(s) <= maxService
}

func validEnv(s string) bool {
	return only(s, letters+digits+"_") && only(s[:1], letters+"_") && len(s) <= 256
}

// validHeader is narrower than HTTP's token: what headers really look like.
func validHeader(s string) bool { return only(s, letters+digits+"-_") && len(s) <= 256 }

// validImage keeps out what could be taken for an option or leave argv; the
// engine knows the rest of the grammar.
func validImage(s string) bool {
	return only(s, letters+digits+"._:/@-") && only(s[:1], letters+digits) && len(s) <= 255
}

// validWSGI is module:callable, the callable with empty parentheses where it
// is a factory.
func validWSGI(s string) bool {
	module, callable, found := strings.Cut(s, ":")
	callable = strings.TrimSuffix(callable, "()")
	return found && len(s) <= maxWSGI && dotted(module) && dotted(callable)
}

func dotted(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if !only(part, letters+digits+"_") || only(part[:1], digits) {
			return false
		}
	}
	return true
}
