package scenarios

import "strings"

// Placeholders of a command. The plan fills those that follow from the topology.
// A service's address is known only when a runtime starts it: a container
// listens on all its own addresses, a local process on a free port. {host} and
// {port} are the service's own address, {host:NAME} and {port:NAME} that of
// another service of the topology.
const (
	placeWorkers     = "workers"
	placeThreads     = "threads"
	placeConcurrency = "concurrency"
	placeWSGI        = "wsgi"
	placeASGI        = "asgi"
	placeHost        = "host"
	placePort        = "port"
	placeSocket      = "socket" // the path of a unix socket between the service and a proxy
)

// keyReplicas is an axis that no command has to know.
const (
	keyReplicas = "replicas"
	maxReplicas = 16
)

// textPlaceholders are those that the values of env and options can have, too.
func textPlaceholders() []string {
	return []string{placeWorkers, placeThreads, placeConcurrency, placeWSGI, placeASGI}
}

func placeholders() []string { return append(textPlaceholders(), placeHost, placePort, placeSocket) }

// whose returns the service that an address placeholder names. found is false
// for every other placeholder, {host} and {port} included.
func whose(name string) (service string, found bool) {
	kind, service, found := strings.Cut(name, ":")
	return service, found && (kind == placeHost || kind == placePort)
}

// maxCommand bounds the filled commands of one topology, in bytes.
const maxCommand = 8192
