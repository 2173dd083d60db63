package stacks

import (
	"net"
	"strconv"
	"strings"
)

// An Address is where a service listens.
type Address struct {
	Host string
	Port int
}

// String is host:port.
func (a Address) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// Argv is the service's command with its placeholders filled: {host} and
// {port} are the address to listen on, {host:NAME} and {port:NAME} where it
// reaches the service NAME. {{ and }} become braces, and what looks like a
// placeholder then is none.
func (s Service) Argv(listen Address, reach map[string]Address) []string {
	if len(s.Command) == 0 {
		return nil
	}
	pairs := []string{"{{", "{", "}}", "}", "{host}", listen.Host, "{port}", strconv.Itoa(listen.Port)}
	for name, a := range reach {
		pairs = append(pairs, "{host:"+name+"}", a.Host, "{port:"+name+"}", strconv.Itoa(a.Port))
	}
	// A Replacer goes through the text once: nothing that it wrote is read.
	fill := strings.NewReplacer(pairs...)
	argv := make([]string, len(s.Command))
	for i, arg := range s.Command {
		argv[i] = fill.Replace(arg)
	}
	return argv
}
