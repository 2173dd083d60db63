package docker

import (
	"context"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
)

// BaseImage is what stackmeter's own images are made from.
const BaseImage = "debian:trixie-slim"

// Image returns the id of an image that is in the engine, or nothing.
func (r *Runtime) Image(ctx context.Context, ref string) string {
	id, err := r.inspectImage(ctx, ref)
	if err != nil {
		return ""
	}
	return id
}

// Root is the folder in which the engine keeps its images and containers.
func (r *Runtime) Root(ctx context.Context) (string, error) {
	info, err := r.Info(ctx)
	return info.DockerRootDir, err
}

// Built lists the tags of the images that stackmeter built in this engine.
func (r *Runtime) Built(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Limits.call())
	defer cancel()
	list, err := r.api.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("label", labelBuilt))})
	if err != nil {
		return nil, err
	}
	var tags []string
	for _, i := range list {
		for _, tag := range i.RepoTags {
			if strings.HasPrefix(tag, "stackmeter/") {
				tags = append(tags, tag)
			}
		}
	}
	slices.Sort(tags)
	return tags, nil
}
