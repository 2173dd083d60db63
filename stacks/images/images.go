// Package images holds what stackmeter's own images are made from.
//
// The context of the nginx image and the template of its configuration are
// part of the program, so that a stack with nginx in front needs no source
// tree. The sample application (classifier) is a build context that scenarios
// name by its path, and prepare is the script that gets a machine ready.
package images

import (
	"embed"
	"io/fs"
)

//go:embed nginx/Dockerfile
var nginxContext embed.FS

// Nginx is the build context of the nginx image: a Dockerfile at its root.
//
// A container of that image runs as an ordinary user and reads
// /etc/nginx/nginx.conf, which NginxConfig renders and which has to be put
// there before it starts.
func Nginx() fs.FS {
	sub, err := fs.Sub(nginxContext, "nginx")
	if err != nil {
		// Only an invalid path does that, and this one is a constant.
		panic(err)
	}
	return sub
}
