// Package usage says what is wrong with a flag, an argument or a scenario: the
// errors for which a command ends with the exit status of a wrong usage.
package usage

import (
	"errors"
	"fmt"
	"strings"

	"stackmeter/scenarios/show"
)

// wrong is the fault of who calls the command.
type wrong struct{ error }

func (e wrong) Unwrap() error { return e.error }

// Error marks an error as the fault of who calls the command.
func Error(err error) error { return wrong{err} }

// Errorf makes such an error as fmt.Errorf does.
func Errorf(format string, args ...any) error { return wrong{fmt.Errorf(format, args...)} }

// Is reports whether an error is the fault of who calls the command.
func Is(err error) bool {
	var w wrong
	return errors.As(err, &w)
}

// Unknown is the error of a flag that takes one of several words.
func Unknown(flag, value string, words []string) error {
	return Errorf("--%s %s: choose one of %s", flag, value, strings.Join(words, ", "))
}

// WithoutPasswords hides in a message who is named in a URL of the command line: a
// message that quotes the URL ends up in logs.
func WithoutPasswords(message string, args []string) string {
	for _, arg := range args {
		for _, secret := range show.Credentials(arg) {
			message = strings.ReplaceAll(message, secret+"@", show.Missing+"@")
		}
	}
	return message
}
