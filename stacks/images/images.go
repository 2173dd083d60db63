// Package images holds what stackmeter's own images are made from.
//
// The build contexts of the proxies' images, of the load client's and of the agent's are
// part of the program: a stack with a proxy in front needs no source tree. The sample
// application (classifier) is a build context that scenarios name by its path. The
// script prepare gets a machine ready.
package images

import (
	"embed"
	"io/fs"
)

//go:embed nginx haproxy caddy python-requests agent
var contexts embed.FS

// Proxy is the build context of a proxy's image, by its name: a Dockerfile at its
// root.
//
// A container of that image runs as an ordinary user. It has a folder /etc/NAME for
// its configuration, which has to be there before the container starts, and socat.
func Proxy(name string) fs.FS { return buildContext(name) }

// PythonRequests is the build context of the image that the load client of the
// engine python-requests runs in: a Dockerfile at its root. The image has
// python3 with requests.
func PythonRequests() fs.FS { return buildContext("python-requests") }

// Agent is the build context of the image that agents run from: a Dockerfile at its
// root, which takes the program as a file stackmeter.
func Agent() fs.FS { return buildContext("agent") }

func buildContext(name string) fs.FS {
	sub, err := fs.Sub(contexts, name)
	if err != nil {
		// Only an invalid path does that, and these are names.
		panic(err)
	}
	return sub
}
