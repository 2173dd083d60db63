package docker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"stackmeter/stacks"
)

// A watch listens to the engine's events about one stack's containers while the
// stack is up. It notices what two looks at the containers may miss: that the
// engine went away and came back, or that somebody told it to end a container.
type watch struct {
	cancel context.CancelFunc
	closed chan struct{}

	mu      sync.Mutex
	away    error               // wraps stacks.ErrLost; nil while the engine is there
	stopped error               // wraps stacks.ErrDisturbed; nil until the engine is told to end or pause something
	ending  bool                // the engine may be shutting down: it ends its containers the same way
	died    map[string]struct{} // containers whose end the engine has reported
	news    chan struct{}       // closed and replaced at each change
}

// deathPatience is how long the engine may take to report a container's end once
// it shows the container as ended.
const deathPatience = 2 * time.Second

// watch begins to listen. It misses nothing that happens after it has returned.
func (st *stack) watch(ctx context.Context) (*watch, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &watch{cancel: cancel, closed: make(chan struct{}), died: map[string]struct{}{}, news: make(chan struct{})}
	limit := st.runtime.Limits.call()
	late := time.AfterFunc(limit, cancel)
	// Events returns once the engine has answered.
	messages, failed := st.runtime.api.Events(ctx, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", string(events.ContainerEventType)), filters.Arg("label", LabelStack+"="+st.id))})
	if !late.Stop() {
		return nil, fmt.Errorf("%w: it did not answer GET /events within %v", stacks.ErrLost, limit)
	}
	select {
	case err := <-failed:
		cancel()
		return nil, fmt.Errorf("listen to the engine: %w", err)
	default:
	}
	go func() {
		defer close(w.closed)
		for {
			select {
			case m := <-messages:
				w.note(m)
			case err := <-failed:
				if ctx.Err() == nil {
					w.change(func() { w.away = fmt.Errorf("%w while the stack was up (%v)", stacks.ErrLost, err) })
				}
				return
			}
		}
	}()
	return w, nil
}

func (w *watch) note(m events.Message) {
	name := m.Actor.Attributes[labelService]
	switch m.Action {
	case events.ActionPause:
		w.change(func() {
			if w.stopped == nil {
				w.stopped = fmt.Errorf("service %s %w: it was paused through the engine", name, stacks.ErrDisturbed)
			}
		})
	case events.ActionKill:
		signal := m.Actor.Attributes["signal"]
		if !endsProcess[signal] || name == clientService { // whose owner ends it
			return
		}
		w.change(func() {
			if w.stopped == nil {
				w.stopped = fmt.Errorf("service %s %w: signal %s was sent to it through the engine", name, stacks.ErrDisturbed, signal)
				w.ending = signal != killSignal
			}
		})
	case events.ActionDie:
		w.change(func() { w.died[m.Actor.ID] = struct{}{} })
	}
}

func (w *watch) change(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
	close(w.news)
	w.news = make(chan struct{})
}

// endsProcess are the signals that end a container, by the engine's numbers: the
// stop signals of images, and the one that cannot be caught.
var endsProcess = map[string]bool{"2": true, "3": true, "15": true, killSignal: true}

const killSignal = "9" // an engine that shuts down sends another one first

// stopPatience is how long an engine that shuts down may take to be gone after it
// ended a stack: it waits for the other containers first. Until then it still
// answers, and makes things that do not outlive it.
const stopPatience = 15 * time.Second

// interference says who else ended a part of the stack; nil if nobody did. When
// the engine may be shutting down, it waits for that first.
func (w *watch) interference(ctx context.Context) error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	wait := w.ending && w.away == nil
	w.mu.Unlock()
	if wait {
		select {
		case <-ctx.Done():
		case <-w.closed:
		case <-time.After(stopPatience):
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if wait && ctx.Err() == nil {
		w.ending = false
	}
	if w.away != nil {
		return w.away
	}
	return w.stopped
}

// ended waits until the engine has reported a container's end, or is gone. Before
// the end it has reported what it did to the container.
func (w *watch) ended(ctx context.Context, container string) {
	if w == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, deathPatience)
	defer cancel()
	for {
		w.mu.Lock()
		_, told := w.died[container]
		done, news := told || w.away != nil, w.news
		w.mu.Unlock()
		if done {
			return
		}
		select {
		case <-news:
		case <-w.closed:
			return
		case <-ctx.Done():
			return
		}
	}
}

// close ends the listening. It may be called more than once.
func (w *watch) close() {
	if w == nil {
		return
	}
	w.cancel()
	<-w.closed
}
