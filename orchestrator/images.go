package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/stacks"
)

// prepare makes the images of every topology before the first stack starts, so that
// a missing image is found early and building is not part of a trial. If the runtime
// cannot get a GPU into a stack, the mode auto means that no stack gets one: with
// and without a GPU they could not be compared.
func (l *loop) prepare(ctx context.Context, todo []scenarios.Trial) error {
	defer l.spend(results.PhaseImages)()
	if len(l.Images) > 0 {
		todo = slices.Concat(todo, l.plan.Trials) // images of finished trials are compared too
	}
	images, err := l.prepareAll(ctx, todo)
	if errors.Is(err, stacks.ErrNoGPU) && l.plan.Resources.GPU.Mode == scenarios.GPUAuto {
		l.devices, l.noGPU = make([][]string, max(1, l.plan.Lanes)), err.Error()
		l.plan.Resources.GPU = scenarios.GPU{Mode: scenarios.GPUOff}
		l.notify(Event{Kind: EventNote, Message: "no GPU is used: " + l.noGPU})
		if l.LockMachine != nil {
			if err := l.LockMachine(ctx); err != nil {
				return err
			}
		}
		images, err = l.prepareAll(ctx, todo)
	}
	if err != nil {
		return err
	}
	return l.pin(ctx, images)
}

// clientImage is the name of the load client's image among a run's images.
const clientImage = "load client"

// prepareAll returns the images by name, see results.Run. From then on the runtime
// starts exactly those, whatever happens to their tags.
func (l *loop) prepareAll(ctx context.Context, todo []scenarios.Trial) (map[string]string, error) {
	l.broken = map[string]error{}
	images := map[string]string{}
	digest, err := l.prepareClient(ctx)
	if err != nil {
		return nil, err
	}
	if digest != "" {
		images[clientImage] = digest
	}
	seen := map[string]bool{}
	for _, trial := range todo {
		name := trial.Topology.Name
		if seen[name] {
			continue
		}
		seen[name] = true
		leave := l.enter(boundImages, "make the images of", name)
		spec, err := l.specOf(l.plan, trial.Topology)
		if err == nil {
			err = l.Runtime.Prepare(ctx, spec, func(line string) {
				l.notify(Event{Kind: EventImage, Topology: name, Message: line})
			})
		}
		leave()
		switch {
		case err == nil:
			maps.Copy(images, l.known(spec))
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, stacks.ErrUnavailable), errors.Is(err, stacks.ErrNoGPU), errors.Is(err, stacks.ErrLost):
			return nil, fmt.Errorf("topology %s: %w", name, err)
		default:
			l.broken[name] = err
			l.notify(Event{Kind: EventNote, Topology: name, Message: fmt.Sprintf("%s cannot be started: %v", name, err)})
		}
	}
	return images, nil
}

// prepareClient makes the load client's image. Without it nothing can be measured.
func (l *loop) prepareClient(ctx context.Context) (digest string, err error) {
	defer l.enter(boundImages, "make the image of the load client")()
	digest, err = l.Client.Image(ctx, func(line string) {
		l.notify(Event{Kind: EventImage, Message: line})
	})
	switch {
	case err == nil:
		return digest, nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	}
	return "", fmt.Errorf("load client: %w", err)
}

// known are the images of a stack as far as the runtime knows them, by name.
func (l *loop) known(spec stacks.Spec) map[string]string {
	images := map[string]string{}
	for _, s := range spec.Services {
		if digest := l.Runtime.Digest(s); digest != "" {
			images[spec.Name+"/"+s.Name] = digest
		}
	}
	return images
}

// learn pins the images of a stack that was started: a cluster's nodes look up by its tag
// what an image is, and nobody knows it before.
func (l *loop) learn(ctx context.Context, spec stacks.Spec) error {
	l.learning.Lock()
	defer l.learning.Unlock()
	images := maps.Clone(l.images)
	maps.Copy(images, l.known(spec))
	if maps.Equal(images, l.images) {
		return nil
	}
	return l.pin(ctx, images)
}

// pin records the images that the run is made from. Images that it began with have
// to be the same. An image that was not available then is new.
func (l *loop) pin(ctx context.Context, images map[string]string) error {
	var changed []string
	for name, was := range l.images {
		if is := images[name]; is != "" && is != was {
			changed = append(changed, fmt.Sprintf("%s: was %s, is %s", name, was, is))
		}
		images[name] = was
	}
	if len(changed) > 0 {
		slices.Sort(changed)
		return fmt.Errorf("%w:\n  %s\nstart a new run", ErrImages, strings.Join(changed, "\n  "))
	}
	l.images = images
	if len(images) == 0 {
		return nil
	}
	return l.Recorder.Images(ctx, l.id, images)
}
