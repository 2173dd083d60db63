package docker

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/distribution/reference"
	"github.com/docker/cli/cli/config"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"

	"stackmeter/stacks"
	"stackmeter/stacks/images"
)

// A Pushed is an image of this engine in a registry.
type Pushed struct {
	Reference string // with its digest
	Digest    string
	User      string // whom it runs as
}

// ParsePrefix refuses what no image can be pushed below: REGISTRY/PREFIX.
func ParsePrefix(prefix string) error {
	named, err := reference.ParseNormalizedNamed(prefix + "/app")
	if err != nil || !strings.Contains(prefix, "/") || reference.Domain(named) == "docker.io" && !strings.HasPrefix(prefix, "docker.io/") {
		return fmt.Errorf("image prefix %q: it has to name a registry and a folder of it, as in registry.example/team", prefix)
	}
	return nil
}

// Push makes the image of a service, as Prepare does, and pushes it to where prefix
// says, with the credentials of docker login. It may be called again and then costs
// little.
func (r *Runtime) Push(ctx context.Context, s stacks.Service, prefix string, progress func(string)) (_ Pushed, err error) {
	defer func() { err = lost(err) }()
	id, err := r.image(ctx, s, progress)
	if err != nil {
		return Pushed{}, err
	}
	name := s.Role
	if s.Proxy != nil {
		name = s.Proxy.Software
	}
	return r.push(ctx, id, name, prefix, progress)
}

// agentImage names the image of agents.
const agentImage = "agent"

// PushAgent makes the image that agents run from, with this program in it, and pushes it
// as Push does.
func (r *Runtime) PushAgent(ctx context.Context, prefix string, progress func(string)) (_ Pushed, err error) {
	defer func() { err = lost(err) }()
	id, err := r.once(agentImage, func() (string, error) {
		if runtime.GOOS != "linux" {
			return "", fmt.Errorf("the agent's image has this program in it, which is for %s: make it on Linux with stackmeter agent image", runtime.GOOS)
		}
		program, err := os.Executable()
		if err != nil {
			return "", err
		}
		return r.buildOwn(ctx, agentImage, images.Agent(), program, progress)
	})
	if err != nil {
		return Pushed{}, err
	}
	return r.push(ctx, id, agentImage, prefix, progress)
}

// push pushes an image under a name.
func (r *Runtime) push(ctx context.Context, id, name, prefix string, progress func(string)) (Pushed, error) {
	_, digest, _ := strings.Cut(id, ":")
	repository := prefix + "/" + tagName(name)
	tag := fmt.Sprintf("%s:%.12s", repository, digest)
	named, err := reference.ParseNormalizedNamed(tag)
	if err != nil {
		return Pushed{}, fmt.Errorf("image prefix %q: %w", prefix, err)
	}
	login, err := loginTo(reference.Domain(named))
	if err != nil {
		return Pushed{}, err
	}
	if err := r.api.ImageTag(ctx, id, tag); err != nil {
		return Pushed{}, err
	}
	defer func() { // the image keeps the tag that it was built under
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Limits.call())
		defer cancel()
		_, _ = r.api.ImageRemove(ctx, tag, image.RemoveOptions{})
	}()
	progress("push " + tag)
	pushing, heard, stop := whileHeard(ctx, r.Limits.pull())
	defer stop()
	body, err := r.api.ImagePush(pushing, tag, image.PushOptions{RegistryAuth: login})
	if err == nil {
		_, err = follow(body, heard, func(string) {})
	}
	if err != nil {
		return Pushed{}, fmt.Errorf("push %s: %w; docker login %s, or correct the image prefix", tag, err, reference.Domain(named))
	}
	found, err := r.api.ImageInspect(ctx, id)
	if err != nil {
		return Pushed{}, err
	}
	for _, one := range found.RepoDigests {
		if at, digest, _ := strings.Cut(one, "@"); at == reference.FamiliarName(named) {
			pushed := Pushed{Reference: repository + "@" + digest, Digest: digest}
			if found.Config != nil {
				pushed.User = found.Config.User
			}
			return pushed, nil
		}
	}
	return Pushed{}, fmt.Errorf("push %s: the engine does not say under which digest it is there", tag)
}

// dockerHub is what docker login calls the registry docker.io.
const dockerHub = "https://index.docker.io/v1/"

// loginTo is what docker login has stored for a registry, as the engine takes it.
func loginTo(domain string) (string, error) {
	if domain == "docker.io" {
		domain = dockerHub
	}
	login, err := config.LoadDefaultConfigFile(io.Discard).GetAuthConfig(domain)
	if err != nil {
		return "", fmt.Errorf("the credentials for %s: %w", domain, err)
	}
	return registry.EncodeAuthConfig(registry.AuthConfig{
		Username: login.Username, Password: login.Password, Auth: login.Auth, ServerAddress: login.ServerAddress,
		IdentityToken: login.IdentityToken, RegistryToken: login.RegistryToken,
	})
}
