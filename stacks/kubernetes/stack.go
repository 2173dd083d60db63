package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stackmeter/scenarios/show"
	"stackmeter/stacks"
	"stackmeter/stacks/cgroup/remote"
)

// A stack is one running instance; it implements stacks.Stack.
type stack struct {
	runtime  *Runtime
	spec     stacks.Spec
	id       string
	sites    []stacks.Site // as in spec
	gpus     int64         // that each service which gets any has
	objects  objects
	created  time.Time // before the owner was
	node     string
	address  netip.Addr                                // of the Pod
	services []service                                 // as in spec
	devices  []stacks.Device                           // that it has, as far as they are seen
	cores    int                                       // on which it may run; 0: not known
	unseen   string                                    // why it is not known which GPUs it has; empty if it is
	placed   func(context.Context, stacks.Place) error // called before the services start; nil: nobody waits for it

	patience time.Duration    // for room; 0: that of the runtime
	waits    func(why string) // as in stacks.Placing
	waiting  sync.Mutex       // held while lacks is used
	lacks    string           // why there is no room for it yet

	loadNode string // of the load Pod
	unasked  bool   // it is the stack's, though the scenario does not ask for that

	agent     *agent // on the node; nil: none
	agentless error  // why
	metering  sync.Mutex
	session   *remote.Session // with the agent, which meters the services; nil: none yet

	endLease context.CancelFunc // nil until there is something to keep
	leasing  sync.WaitGroup
}

// A service is what is known of one once its container has started.
type service struct {
	container string // its id
	image     string // what runs, as the node knows it
	gpus      []string
	first     func() int // its first process, which is looked for once; 0: another machine's
}

// URL implements stacks.Stack.
func (st *stack) URL() string {
	return st.spec.Scheme() + "://" + netip.AddrPortFrom(st.address, uint16(st.entry().Port)).String()
}

// Devices implements stacks.Stack.
func (st *stack) Devices() (uuids []string) {
	for _, one := range st.services {
		uuids = append(uuids, one.gpus...)
	}
	return uuids
}

// Check implements stacks.Stack. The stack goes on while the API server is away: Check
// then waits for it.
//
// A cluster whose API server was away has not heard of its nodes meanwhile, and takes a
// moment to do so again.
func (st *stack) Check(ctx context.Context) error {
	for began := time.Now(); ; {
		err := st.look(ctx)
		var node *unheardNode
		if !errors.As(err, &node) {
			return err
		}
		if time.Since(began) > st.runtime.limits.unheard {
			st.runtime.lost.Store(node.name, true)
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

func (st *stack) look(ctx context.Context) error {
	pod, err := st.pod(ctx, st.objects.pod.Name)
	if removed(err) {
		return fmt.Errorf("service %s %w: its Pod was removed: %w", st.spec.Entry().Name, stacks.ErrEnded, stacks.ErrDisturbed)
	}
	if err != nil {
		return err
	}
	if by := taken(pod); by != nil {
		return by
	}
	for i, s := range st.spec.Services {
		for _, c := range pod.Status.ContainerStatuses {
			if c.Name == st.containerName(i) && c.State.Terminated != nil {
				return fmt.Errorf("service %s %w: %w", s.Name, stacks.ErrEnded, ending(c.State.Terminated, s.Command))
			}
		}
	}
	if err := unheard(pod); err != nil || st.loadNode == "" {
		return err
	}
	if pod, err = st.pod(ctx, st.objects.load.Name); removed(err) {
		return fmt.Errorf("the load Pod %w: it was removed", stacks.ErrDisturbed)
	} else if err != nil {
		return err
	}
	return st.lookLoad(pod)
}

// pod is one of the stack's Pods as it is now.
func (st *stack) pod(ctx context.Context, name string) (pod *core.Pod, err error) {
	err = st.runtime.patiently(ctx, "look at the Pod", func(ctx context.Context) (err error) {
		pod, err = st.runtime.api.CoreV1().Pods(st.runtime.namespace).Get(ctx, name, meta.GetOptions{})
		return err
	})
	return pod, err
}

// Inspect implements stacks.Stack.
func (st *stack) Inspect(ctx context.Context) (stacks.Facts, error) {
	_, here := st.groups()
	facts := stacks.Facts{Route: stacks.RouteDirect, GPU: "none was asked for", Apart: !here || st.loadNode != "", Node: st.node, ClientNode: st.loadNode, Beside: st.unasked, Cores: st.cores, Devices: st.devices}
	if st.unseen != "" {
		facts.GPU = st.unseen
	}
	for i, s := range st.spec.Services {
		one := st.services[i]
		processes, err := st.processes(ctx, i)
		if err != nil {
			return facts, fmt.Errorf("service %s: %w", s.Name, err)
		}
		if len(one.gpus) > 0 {
			facts.GPU = strings.Join(one.gpus, ", ")
		}
		facts.Services = append(facts.Services, stacks.ServiceFacts{
			Service: s.Name, Container: one.container, Image: st.objects.pod.Spec.Containers[i].Image, Digest: one.image, GPUs: one.gpus, Processes: processes,
		})
	}
	return facts, nil
}

// logLines is how many lines the node is asked for: the probes of a long wait may stand
// behind the one that matters.
const logLines = 5000

// Logs implements stacks.Stack.
func (st *stack) Logs(ctx context.Context, w io.Writer) (failed error) {
	ctx, cancel := context.WithTimeout(ctx, st.runtime.limits.call)
	defer cancel()
	pods := st.runtime.api.CoreV1().Pods(st.runtime.namespace)
	pod, err := pods.Get(ctx, st.objects.pod.Name, meta.GetOptions{})
	if err != nil {
		return st.runtime.explained("logs of the Pod", err)
	}
	var logs []stacks.Log
	for i, s := range st.spec.Services {
		one := stacks.Log{Service: s.Name}
		began := false
		for _, c := range pod.Status.ContainerStatuses {
			if c.Name != st.containerName(i) {
				continue
			}
			began = c.ContainerID != ""
			if t := c.State.Terminated; t != nil {
				one.Ended = t.FinishedAt.Time
			}
		}
		if !began {
			continue
		}
		last, lines := time.Time{}, int64(logLines)
		tail := show.Tail{Max: stacks.LogBytes, Drop: st.spec.Probed}
		body, err := pods.GetLogs(st.objects.pod.Name, &core.PodLogOptions{Container: st.containerName(i), TailLines: &lines, Timestamps: true}).Stream(ctx)
		if err == nil {
			last, err = untimed(&tail, body)
			body.Close()
		}
		if err != nil {
			failed = errors.Join(failed, st.runtime.explained("logs of service "+s.Name, err))
		}
		if !one.Ended.IsZero() && last.After(one.Ended) {
			one.Ended = last // the node's clock has whole seconds for the end
		}
		one.Lines = tail.Lines(stacks.LogLines)
		logs = append(logs, one)
	}
	return errors.Join(failed, stacks.WriteLogs(w, logs))
}

// Stop implements stacks.Stack.
func (st *stack) Stop(ctx context.Context) error {
	if st.endLease != nil {
		st.endLease()
		st.leasing.Wait()
	}
	if st.loadNode != "" {
		st.runtime.stacks.CompareAndDelete(st.URL(), st)
	}
	var gone sync.WaitGroup
	var left error
	gone.Go(func() { left = st.dismiss(ctx) })
	_, err := st.runtime.remove(ctx, labelStack+"="+st.id)
	gone.Wait()
	if err != nil {
		err = fmt.Errorf("remove stack %s: %w", st.spec.Name, err)
	}
	return errors.Join(err, left)
}
