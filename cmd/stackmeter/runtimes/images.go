package runtimes

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/stacks"
	"stackmeter/stacks/docker"
	"stackmeter/stacks/kubernetes"
	"stackmeter/stacks/servers"
)

// namedProxies reads --proxy-image: images by the software in them.
func (o Options) namedProxies() (map[string]string, error) {
	var known []string
	for _, proxy := range servers.Proxies() {
		known = append(known, proxy.Program().Name)
	}
	named := map[string]string{}
	for _, one := range o.proxies {
		software, image, _ := strings.Cut(one, "=")
		switch {
		case image == "":
			return nil, usage.Errorf("--proxy-image %s: write SOFTWARE=IMAGE, as in nginx=registry.example/team/nginx:1", one)
		case !slices.Contains(known, software):
			return nil, usage.Errorf("--proxy-image %s: a proxy is one of %s", one, strings.Join(known, ", "))
		case named[software] != "":
			return nil, usage.Errorf("--proxy-image %s: %s has an image already", one, software)
		}
		named[software] = image
	}
	return named, nil
}

// pushedImages are made by the engine of this machine and pushed to where the nodes of a
// cluster pull them.
type pushedImages struct {
	engine *docker.Runtime
	prefix string
}

func (p pushedImages) Publish(ctx context.Context, s stacks.Service, progress func(string)) (kubernetes.Image, error) {
	made, err := p.engine.Push(ctx, s, p.prefix, progress)
	return kubernetes.Image(made), err
}

func (p pushedImages) PublishAgent(ctx context.Context, progress func(string)) (kubernetes.Image, error) {
	made, err := p.engine.PushAgent(ctx, p.prefix, progress)
	return kubernetes.Image(made), err
}

// pusher is the engine that pushes below a prefix.
func pusher(ctx context.Context, prefix string) (pushedImages, error) {
	if err := docker.ParsePrefix(prefix); err != nil {
		return pushedImages{}, usage.Errorf("--image-prefix: %w", err)
	}
	engine, err := docker.New()
	if err != nil {
		return pushedImages{}, err
	}
	if err := engine.Check(ctx); err != nil {
		engine.Close()
		return pushedImages{}, err
	}
	return pushedImages{engine, prefix}, nil
}

// ForCluster names the images that an orchestrator in a cluster needs, where it has no
// engine: that of agents, and those of the services that are proxies. What is not named is
// made here and pushed to --image-prefix; the flags are those of its run.
func (o Options) ForCluster(ctx context.Context, services []stacks.Service, progress func(string)) (agent string, flags []string, err error) {
	if err := o.named(); err != nil {
		return "", nil, err
	}
	proxies := o.cluster.Proxies
	var maker *pushedImages
	if o.prefix != "" {
		pushed, err := pusher(ctx, o.prefix)
		if err != nil {
			return "", nil, err
		}
		defer pushed.engine.Close()
		maker = &pushed
	}
	for _, s := range services {
		switch {
		case s.Proxy == nil, proxies[s.Proxy.Software] != "":
			continue
		case maker == nil:
			return "", nil, usage.Errorf("name the image of %s with --proxy-image %s=IMAGE, or give --image-prefix, to which the engine of this machine pushes it", s.Proxy.Software, s.Proxy.Software)
		}
		made, err := maker.Publish(ctx, s, progress)
		if err != nil {
			return "", nil, err
		}
		proxies[s.Proxy.Software] = made.Reference
	}
	agent = o.cluster.Agents.Image
	switch {
	case agent != "":
	case maker == nil:
		return "", nil, usage.Errorf("name the image of stackmeter in the cluster with --agent-image, or give --image-prefix, to which the engine of this machine pushes it")
	default:
		made, err := maker.PublishAgent(ctx, progress)
		if err != nil {
			return "", nil, err
		}
		agent = made.Reference
	}
	flags = []string{"--agent-image=" + agent}
	for _, software := range slices.Sorted(maps.Keys(proxies)) {
		flags = append(flags, "--proxy-image="+software+"="+proxies[software])
	}
	return agent, flags, nil
}

// ImageCommand makes the image of agents.
func ImageCommand(stdout io.Writer, progress func(string)) *cobra.Command {
	var prefix string
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Make the image of agents, push it, and print its name",
		Long: `image makes the image that agents run from: Debian with this very program in it. It
takes the engine of this machine, pushes the image below --image-prefix with the
credentials of docker login, and prints its name with its digest. A machine without an
engine gives that to --agent-image.`,
		Example: "  stackmeter agent image --image-prefix registry.example/team",
		Args:    usage.Arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			pushed, err := pusher(cmd.Context(), prefix)
			if err != nil {
				return err
			}
			defer pushed.engine.Close()
			made, err := pushed.PublishAgent(cmd.Context(), progress)
			if err == nil {
				fmt.Fprintln(stdout, made.Reference)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&prefix, "image-prefix", "", "`REGISTRY/PREFIX` to push it to")
	return cmd
}
