package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"stackmeter/scenarios/units"
	"stackmeter/stacks"
)

// Start implements stacks.Runtime.
func (r *Runtime) Start(ctx context.Context, spec stacks.Spec) (stacks.Stack, error) {
	return r.StartPlaced(ctx, spec, stacks.Placing{})
}

func (r *Runtime) launch(ctx context.Context, st *stack) (stacks.Stack, error) {
	err := st.start(ctx)
	if err == nil {
		err = st.attend(ctx)
	}
	if err != nil {
		return nil, stacks.Abandon(ctx, st, r.limits.stop, err)
	}
	return st, nil
}

// prove starts a stack of the spec and removes it again. What it finds out holds for
// all: whether a Pod gets a node, and whether this machine reaches it.
func (r *Runtime) prove(ctx context.Context, spec stacks.Spec, progress func(string)) error {
	st, err := r.stack(ctx, spec)
	if err != nil {
		return err
	}
	st.waits = func(why string) {
		if why == "" {
			why = "there is room now"
		}
		progress(why)
	}
	err = st.start(ctx)
	if err == nil {
		err = st.Stop(context.WithoutCancel(ctx))
	} else {
		err = stacks.Abandon(ctx, st, r.limits.stop, err)
	}
	if errors.Is(err, stacks.ErrEnded) && ctx.Err() == nil {
		return nil // a fault of this topology, which its own cells will tell of
	}
	return err
}

// admissible lets the API server look at the Pod without making it. What uses up a quota
// now may be gone when the Pod is made.
func (st *stack) admissible(ctx context.Context) error {
	for _, pod := range []*core.Pod{st.objects.pod, st.objects.load} {
		if pod == nil {
			continue
		}
		err := st.runtime.patiently(ctx, "what the cluster says of its Pod", func(ctx context.Context) error {
			_, err := st.runtime.api.CoreV1().Pods(st.runtime.namespace).Create(ctx, pod, meta.CreateOptions{DryRun: []string{meta.DryRunAll}})
			if full, never := quotaFull(err); full && !never {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (st *stack) start(ctx context.Context) error {
	if err := st.create(ctx); err != nil {
		return err
	}
	if st.placed != nil {
		if err := st.place(ctx); err != nil {
			return err
		}
	}
	pod, err := st.awaitStart(ctx, st.started)
	if err != nil {
		return err
	}
	for i := range st.services {
		for _, c := range pod.Status.ContainerStatuses {
			if c.Name == st.containerName(i) {
				_, container, _ := strings.Cut(c.ContainerID, "://")
				st.runtime.pin(st.spec.Services[i].Image, c.ImageID)
				st.services[i] = service{
					container: container,
					image:     c.ImageID[strings.LastIndex(c.ImageID, "@")+1:],
					first:     sync.OnceValue(func() int { return firstIn(container) }),
				}
			}
		}
	}
	st.node = pod.Spec.NodeName
	if st.address, err = netip.ParseAddr(pod.Status.PodIP); err != nil {
		return st.look(ctx) // it has ended already
	}
	if st.objects.load != nil {
		if err := st.startLoad(ctx); err != nil {
			return err
		}
	}
	if err := st.reach(ctx); err != nil {
		return err
	}
	st.seeCores(ctx)
	return st.seeGPUs(ctx)
}

// creating is called before an object of a run is made, and done afterwards. It fails
// when ctx has ended. The context that it returns ends by a limit alone: making an
// object is not cut short. A sweep of a cancelled run waits for it first, because an
// object that came after the sweep would stay.
func (r *Runtime) creating(ctx context.Context) (_ context.Context, done func(), err error) {
	r.making.RLock()
	if err := context.Cause(ctx); err != nil {
		r.making.RUnlock()
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.limits.call)
	return ctx, func() {
		cancel()
		r.making.RUnlock()
	}, nil
}

// create makes the stack's objects: the owner first, which what follows belongs to. From
// then on the owner is kept. It waits where a quota is used up.
func (st *stack) create(ctx context.Context) error {
	api, namespace, o := st.runtime.api, st.runtime.namespace, &st.objects
	no := false
	var belongs []meta.OwnerReference
	err := st.admitted(ctx, "make the owner of the stack", func(ctx context.Context) error {
		st.created = time.Now()
		owner, err := api.BatchV1().Jobs(namespace).Create(ctx, o.owner, meta.CreateOptions{})
		if err == nil {
			belongs = []meta.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: owner.Name, UID: owner.UID, BlockOwnerDeletion: &no}}
		}
		return err
	})
	if err != nil {
		return err
	}
	st.lease()
	o.policy.OwnerReferences, o.pod.OwnerReferences = belongs, belongs
	if o.load != nil {
		o.load.OwnerReferences, o.private.OwnerReferences = belongs, belongs
	}
	var making errgroup.Group
	making.Go(func() error {
		if o.secret == nil {
			return nil
		}
		o.secret.OwnerReferences = belongs
		return st.admitted(ctx, "make the Secret of the stack's environment", func(ctx context.Context) error {
			_, err := api.CoreV1().Secrets(namespace).Create(ctx, o.secret, meta.CreateOptions{})
			return err
		})
	})
	for _, policy := range []*networking.NetworkPolicy{o.policy, o.private} {
		if policy == nil {
			continue
		}
		making.Go(func() error {
			return st.admitted(ctx, "make the NetworkPolicy of the stack", func(ctx context.Context) error {
				_, err := api.NetworkingV1().NetworkPolicies(namespace).Create(ctx, policy, meta.CreateOptions{})
				return err
			})
		})
	}
	if err := making.Wait(); err != nil {
		return err
	}
	return st.admitted(ctx, "make the Pod", func(ctx context.Context) error {
		_, err := api.CoreV1().Pods(namespace).Create(ctx, o.pod, meta.CreateOptions{})
		return err
	})
}

// leaseInterval is how often the end of the owner's time to live is put off.
const leaseInterval = time.Minute

// lease keeps the stack until Stop, or until this process is gone.
func (st *stack) lease() {
	ctx, cancel := context.WithCancel(context.Background())
	st.endLease = cancel
	st.leasing.Go(func() {
		tick := time.NewTicker(leaseInterval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			// The time to live counts from when the owner was made. One that could not
			// be put off is again in a minute.
			ttl := strconv.Itoa(int((time.Since(st.created) + st.runtime.limits.lease).Seconds()))
			calling, done := context.WithTimeout(ctx, st.runtime.limits.call)
			_, _ = st.runtime.api.BatchV1().Jobs(st.runtime.namespace).Patch(calling, st.objects.owner.Name, types.MergePatchType,
				[]byte(`{"spec":{"ttlSecondsAfterFinished":`+ttl+`}}`), meta.PatchOptions{})
			done()
		}
	})
}

// awaitStart waits until what has to be started of the stack's Pod has been, or will not
// be.
func (st *stack) awaitStart(ctx context.Context, started func(*core.Pod) (bool, error)) (*core.Pod, error) {
	return st.awaitPod(ctx, st.objects.pod.Name, st.roomWait(), started)
}

// awaitPod waits until what has to be started of a Pod has been, or will not be. schedule
// is how long it may take to get a node; what it takes to start counts from then.
func (st *stack) awaitPod(ctx context.Context, name string, schedule time.Duration, started func(*core.Pod) (bool, error)) (*core.Pod, error) {
	r := st.runtime
	late := fmt.Errorf("its Pod was not started within %v", r.limits.start)
	ctx, give := context.WithCancelCause(ctx)
	defer give(nil)
	var said string // by the scheduler
	waiting := time.AfterFunc(schedule, func() { give(errUnscheduled) })
	defer waiting.Stop()
	starting := time.AfterFunc(schedule+r.limits.start, func() { give(late) })
	defer starting.Stop()
	pods := r.api.CoreV1().Pods(r.namespace)
	one := fields.OneTermEqualSelector("metadata.name", name).String()
	var pod *core.Pod
	_, err := watchtools.UntilWithSync(ctx, cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o meta.ListOptions) (list runtimeObject, err error) {
			o.FieldSelector = one
			return pods.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o meta.ListOptions) (watch.Interface, error) {
			o.FieldSelector = one
			return pods.Watch(ctx, o)
		},
	}, r.api), &core.Pod{}, nil, func(event watch.Event) (bool, error) {
		var is bool
		if pod, is = event.Object.(*core.Pod); !is {
			return false, nil
		}
		if event.Type == watch.Deleted {
			return false, fmt.Errorf("its Pod %w: somebody deleted it", stacks.ErrDisturbed)
		}
		before := said
		said = unschedulable(pod)
		switch {
		case pod.Spec.NodeName != "":
			if waiting.Stop() {
				starting.Reset(r.limits.start)
			}
			st.wait("")
		case said != "" && said != before:
			st.wait("no node has room yet: " + r.whoHas(ctx, said))
		}
		return started(pod)
	})
	switch {
	case err == nil:
		return pod, nil
	case errors.Is(context.Cause(ctx), errUnscheduled):
		if said != "" {
			said = r.whoHas(context.WithoutCancel(ctx), said)
		}
		return nil, fmt.Errorf("%w: %w", errUnscheduled, whyUnscheduled(said, schedule))
	case errors.Is(context.Cause(ctx), late):
		return nil, fmt.Errorf("%w; %s", late, standing(pod))
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	return nil, err
}

// errUnscheduled ends the wait for a node.
var errUnscheduled = fmt.Errorf("%w: %w: no node", stacks.ErrUnavailable, stacks.ErrNoRoom)

// started reports whether every container of the stack has been started. It fails if one
// will not be.
func (st *stack) started(pod *core.Pod) (bool, error) {
	services := map[string]string{}
	for i, s := range st.spec.Services {
		services[st.containerName(i)] = "service " + s.Name
	}
	return started(pod, services)
}

// started reports whether every container of a Pod has been started. containers says what
// each is in words.
func started(pod *core.Pod, containers map[string]string) (bool, error) {
	all := len(pod.Status.ContainerStatuses) == len(containers)
	for _, c := range pod.Status.ContainerStatuses {
		what, known := containers[c.Name]
		if !known {
			continue
		}
		if err := notStarted(c); err != nil {
			return false, fmt.Errorf("%s: %w", what, err)
		}
		if t := c.State.Terminated; t != nil && (t.Reason == "StartError" || t.Reason == "ContainerCannotRun") {
			return false, fmt.Errorf("%s: %w", what, commandError(t.Message))
		}
		all = all && (c.State.Running != nil || c.State.Terminated != nil)
	}
	if !all {
		if err := taken(pod); err != nil {
			return false, err
		}
	}
	return all, nil
}

// standing says what a Pod that did not start waits for.
func standing(pod *core.Pod) string {
	if pod == nil {
		return "nothing was heard of it"
	}
	var all []string
	for _, c := range pod.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil {
			all = append(all, fmt.Sprintf("container %s waits: %s %s", c.Name, w.Reason, w.Message))
		}
	}
	if len(all) == 0 {
		return fmt.Sprintf("node %s has not made its containers", pod.Spec.NodeName)
	}
	return strings.Join(all, "; ")
}

// reachPatience is how long a packet to a Pod may take.
const reachPatience = 5 * time.Second

// reach fails unless the client reaches the Pod's address: that a connection is made,
// or refused, shows it. The first Pod shows it for all. A firewall that refuses in the
// Pod's name looks the same: the stack then never becomes ready.
func (st *stack) reach(ctx context.Context) error {
	if st.runtime.proven.Load() {
		return nil
	}
	address := net.JoinHostPort(st.address.String(), strconv.Itoa(st.entry().Port))
	dialing, cancel := context.WithTimeout(ctx, reachPatience)
	defer cancel()
	conn, err := st.DialEntry(dialing)
	if err == nil {
		conn.Close()
	}
	if err == nil || refusal(err) {
		st.runtime.proven.Store(true)
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if ended := st.look(ctx); ended != nil {
		return ended
	}
	if st.objects.load != nil {
		return fmt.Errorf("%w: the load Pod on node %s does not reach the stack's Pod on node %s: %w; look for a NetworkPolicy that keeps them apart, and whether Pods of these nodes reach each other", stacks.ErrUnavailable, st.loadNode, st.node, err)
	}
	remedy := "run stackmeter in the cluster, or on a machine with a route to its Pods (ip route add POD-CIDR via NODE)"
	if inPod() {
		remedy = "look for a NetworkPolicy of the namespace that keeps its Pods apart"
	}
	return fmt.Errorf("%w: this machine does not reach the Pod's address %s on node %s, so that nothing could be measured: %w; %s", stacks.ErrUnavailable, address, st.node, err, remedy)
}

// seeGPUs reads back from inside which devices the stack got.
func (st *stack) seeGPUs(ctx context.Context) error {
	for i, s := range st.spec.Services {
		if !s.GPU || st.gpus == 0 {
			continue
		}
		out, err := st.Exec(ctx, s.Name, stacks.ListGPUs()...)
		if err != nil {
			if st.look(ctx) == nil && ctx.Err() == nil && !errors.Is(err, stacks.ErrLost) {
				st.unseen = fmt.Sprintf("%d %s, which ones is not seen: %v", st.gpus, gpuResource(st.spec.GPU), err)
				err = nil
			}
			if ctx.Err() != nil || errors.Is(err, stacks.ErrLost) {
				return err
			}
			continue // that it has ended is seen by the next look
		}
		got := stacks.ListedGPUs(string(out))
		if int64(len(got)) != st.gpus {
			return fmt.Errorf("%w: service %s asked for %d %s and sees %d: %s", stacks.ErrDiffers, s.Name, st.gpus, gpuResource(st.spec.GPU), len(got), strings.Join(stacks.UUIDs(got), ", "))
		}
		st.services[i].gpus, st.devices = stacks.UUIDs(got), got
	}
	return nil
}

// seeCores reads back on which of its node's cores the stack may run: the kubelet may have
// given it some of its own.
func (st *stack) seeCores(ctx context.Context) {
	all := map[int]bool{}
	for i, s := range st.spec.Services {
		if s.Proxy != nil {
			continue
		}
		var status []byte
		if _, here := st.group(i); here {
			status, _ = os.ReadFile(fmt.Sprintf("/proc/%d/status", st.services[i].first()))
		} else {
			status, _ = st.Exec(ctx, s.Name, "cat", "/proc/self/status") // without cat it is not known
		}
		for _, core := range allowedCores(string(status)) {
			all[core] = true
		}
	}
	st.cores = len(all)
}

// allowedCores are those of a process's status (proc_pid_status(5)); none if it does not
// say.
func allowedCores(status string) []int {
	for line := range strings.Lines(status) {
		if list, is := strings.CutPrefix(line, "Cpus_allowed_list:"); is {
			cores, _ := units.ParseCpuset(strings.TrimSpace(list))
			return cores
		}
	}
	return nil
}

// removed reports whether an error says that an object is not there.
func removed(err error) bool { return apierrors.IsNotFound(err) }
