package kubernetes

import (
	"strings"

	"github.com/distribution/reference"

	"stackmeter/stacks"
)

// An image that a scenario names by a tag is what the first Pod found it to be: all later
// ones of the run ask for that digest, whatever becomes of the tag.

// unpinned are the images of a spec that no Pod has looked for yet.
func (r *Runtime) unpinned(spec stacks.Spec) (tags []string) {
	for _, s := range spec.Services {
		if _, seen := r.seen.Load(s.Image); s.Image != "" && !seen && !strings.Contains(s.Image, "@") {
			tags = append(tags, s.Image)
		}
	}
	return tags
}

// pin keeps the digest of an image that is named without one, as a node has read it. One
// that the node knows by another name is not pinned: nobody could say that it is there by
// this one too.
func (r *Runtime) pin(image, id string) {
	if image == "" || strings.Contains(image, "@") {
		return
	}
	if _, seen := r.seen.LoadOrStore(image, true); seen {
		return
	}
	asked, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return
	}
	_, plain, scheme := strings.Cut(id, "://") // docker-pullable://
	if !scheme {
		plain = id
	}
	found, err := reference.ParseNormalizedNamed(plain)
	if err != nil || found.Name() != asked.Name() {
		return
	}
	if digested, is := found.(reference.Digested); is {
		digest := digested.Digest().String()
		r.images.Store(image, Image{Reference: image + "@" + digest, Digest: digest})
	}
}
