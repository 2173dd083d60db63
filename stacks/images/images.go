// Package images holds what stackmeter's own images are made from.
//
// The contexts of the nginx image and of the load client's image, and the
// template of nginx's configuration, are part of the program, so that a stack
// with nginx in front needs no source tree. The sample application (classifier) is a build context that scenarios
// name by its path, and prepare is the script that gets a machine ready.
package images

import (
	"embed"
	"io/fs"
)

//go:embed nginx/Dockerfile python-requests/Dockerfile
var contexts embed.FS

// Nginx is the build context of the nginx image: a Dockerfile at its root.
//
// A container of that image runs as an ordinary user and reads
// /etc/nginx/nginx.conf, which NginxConfig renders and which has to be put
// there before it starts.
func Nginx() fs.FS { return buildContext("nginx") }

// PythonRequests is the build context of the image that the load client of the
// engine python-requests runs in: a Dockerfile at its root. The image has
// python3 with requests.
func PythonRequests() fs.FS { return buildContext("python-requests") }

func buildContext(name string) fs.FS {
	sub, err := fs.Sub(contexts, name)
	if err != nil {
		// Only an invalid path does that, and these are constants.
		panic(err)
	}
	return sub
}
