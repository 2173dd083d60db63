package stacks

import (
	"strconv"
	"strings"
)

// Argv is the service's command with its placeholders filled: {host}, the
// address to listen on, and {port}.
func (s Service) Argv(host string, port int) []string {
	fill := strings.NewReplacer("{host}", host, "{port}", strconv.Itoa(port))
	argv := make([]string, len(s.Command))
	for i, arg := range s.Command {
		argv[i] = fill.Replace(arg)
	}
	return argv
}
