// Command registry is an image registry without TLS and users, for the test cluster.
//
//	registry FOLDER ADDRESS...
//
// keeps its blobs in FOLDER and listens on each ADDRESS.
package main

import (
	"log"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: registry FOLDER ADDRESS...")
	}
	handler := registry.New(registry.WithBlobHandler(registry.NewDiskBlobHandler(os.Args[1])))
	failed := make(chan error)
	for _, address := range os.Args[2:] {
		go func() { failed <- http.ListenAndServe(address, handler) }()
	}
	log.Fatal(<-failed)
}
