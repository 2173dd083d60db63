package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/stacks"
)

// What the cluster has room for, who has the rest, and how a stack waits for it.

// Patience implements stacks.Placer.
func (r *Runtime) Patience() time.Duration { return r.limits.schedule }

// Room implements stacks.Placer. It counts the GPUs of the nodes that Pods may get, less
// those that Pods have asked for, as far as this user may see them, and less what a quota
// of the namespace leaves; and the cores of load Pods, which would wait for each other's.
// Whether a node also has the memory is the scheduler's to say.
func (r *Runtime) Room(ctx context.Context, needs scenarios.Resources, client scenarios.Client) (stacks.Room, error) {
	want := needs.GPU
	ctx, cancel := context.WithTimeout(ctx, r.limits.call)
	defer cancel()
	list, err := r.api.CoreV1().Nodes().List(ctx, meta.ListOptions{})
	switch {
	case apierrors.IsForbidden(err):
		return stacks.Room{Why: "this user may not list the cluster's nodes, so that their free GPUs are not known"}, nil
	case err != nil:
		return stacks.Room{}, r.explained("list the nodes", err)
	}
	selected, err := r.options.Nodes.labelled(want)
	if err != nil {
		return stacks.Room{}, err
	}
	pods, whole, err := r.placed(ctx)
	if err != nil {
		return stacks.Room{}, r.explained("list the Pods", err)
	}
	name := gpuResource(want)
	each := int64(max(1, want.Count))
	var all, free int64 // stacks
	var has, left int64 // GPUs
	nodes := 0
	var there []core.Pod
	for _, node := range list.Items {
		if !r.allowed(node, selected) {
			continue
		}
		have := amount(node.Status.Allocatable, name)
		if have == 0 {
			continue
		}
		per, unused := each, have
		if want.Count == scenarios.AllGPUs {
			per = have
		}
		for _, pod := range pods {
			if pod.Spec.NodeName == node.Name {
				unused -= asked(pod, name).Value()
				there = append(there, pod)
			}
		}
		unused = max(0, unused)
		all, free, has, left, nodes = all+have/per, free+unused/per, has+have, left+unused, nodes+1
	}
	room := stacks.Room{Why: fmt.Sprintf("%d of %d %s are free on %s", left, has, name, show.Plural(nodes, "node"))}
	if !whole {
		room.Why += ", as far as namespace " + r.namespace + " shows, which is all that this user sees"
	}
	if text := holders(there, []core.ResourceName{name}); text != "" {
		room.Why += "; running: " + text
	}
	quotas, err := r.api.CoreV1().ResourceQuotas(r.namespace).List(ctx, meta.ListOptions{})
	if err != nil { // one that is not seen is waited for
		quotas = &core.ResourceQuotaList{}
	}
	for _, quota := range quotas.Items {
		hard, limited := quota.Status.Hard["requests."+name]
		if !limited || want.Count == scenarios.AllGPUs {
			continue
		}
		used := quota.Status.Used["requests."+name]
		if most := max(0, hard.Value()-used.Value()); most/each < free {
			free = most / each
			room.Why += fmt.Sprintf("; quota %s of namespace %s leaves %d", quota.Name, r.namespace, most)
		}
		all = min(all, hard.Value()/each)
	}
	room.Free, room.All = int(free), int(all)
	if r.loads(client) && room.All > 0 {
		r.loadRoom(&room, list.Items, pods, needs.CPUs, loadCores(client))
	}
	return room, nil
}

// loadRoom lessens the room to that of stacks whose load Pods have their cores, too; whether
// there are any for the first one is the scheduler's to say.
func (r *Runtime) loadRoom(room *stacks.Room, nodes []core.Node, pods []core.Pod, cpus float64, cores int) {
	stack, load := int64(cpus*1000), int64(cores)*1000
	var has, left []int64 // thousandths of a core of each node
	for _, node := range nodes {
		if !r.allowed(node, r.options.Nodes.labels) {
			continue
		}
		all := node.Status.Allocatable.Cpu().MilliValue()
		unused := all
		for _, pod := range pods {
			if pod.Spec.NodeName == node.Name {
				unused -= asked(pod, core.ResourceCPU).MilliValue()
			}
		}
		has, left = append(has, all), append(left, max(0, unused))
	}
	fit := func(of []int64, n int) int {
		for ; n > 1; n-- {
			var slots, sum int64
			for _, millis := range of {
				slots, sum = slots+millis/load, sum+millis
			}
			if slots >= int64(n) && sum >= int64(n)*(stack+load) {
				break
			}
		}
		return n
	}
	if free := fit(left, room.Free); free < room.Free {
		room.Free = free
		room.Why += fmt.Sprintf("; cores are free for %s with a load Pod of %s each", show.Plural(free, "stack"), show.Plural(cores, "core"))
	}
	room.All = fit(has, room.All)
}

// allowed reports whether Pods may get a node now: it is heard of, has these labels, and
// no taint but those that the operator tolerates.
func (r *Runtime) allowed(node core.Node, selected map[string]string) bool {
	if node.Spec.Unschedulable || !labels.SelectorFromSet(selected).Matches(labels.Set(node.Labels)) {
		return false
	}
	for _, taint := range node.Spec.Taints {
		tolerated := func(one core.Toleration) bool { return one.ToleratesTaint(logr.Discard(), &taint, false) }
		if taint.Effect != core.TaintEffectPreferNoSchedule && !slices.ContainsFunc(r.options.Nodes.tolerations, tolerated) {
			return false
		}
	}
	return true
}

// placed returns the Pods that have a node and have not ended: those of all namespaces, or
// where this user may not list them, of the runtime's own.
func (r *Runtime) placed(ctx context.Context) (pods []core.Pod, whole bool, err error) {
	live := meta.ListOptions{FieldSelector: "status.phase!=Succeeded,status.phase!=Failed,spec.nodeName!="}
	list, err := r.api.CoreV1().Pods(meta.NamespaceAll).List(ctx, live)
	whole = err == nil
	if apierrors.IsForbidden(err) {
		list, err = r.api.CoreV1().Pods(r.namespace).List(ctx, live)
	}
	if err != nil {
		return nil, false, err
	}
	return list.Items, whole, nil
}

// amount is a whole number of a resource.
func amount(of core.ResourceList, name core.ResourceName) int64 {
	quantity := of[name]
	return quantity.Value()
}

// asked is how much of a resource a Pod has asked for, as the scheduler counts it: its
// containers together, or an init container where that asks for more.
func asked(pod core.Pod, name core.ResourceName) *resource.Quantity {
	var sum resource.Quantity
	for _, c := range pod.Spec.Containers {
		sum.Add(c.Resources.Requests[name])
	}
	for _, c := range pod.Spec.InitContainers {
		if one := c.Resources.Requests[name]; one.Cmp(sum) > 0 {
			sum = one
		}
	}
	return &sum
}

// mostHolders is how many Pods are named that have what another one waits for.
const mostHolders = 5

// holders names the Pods that have asked for most of any of the resources; empty if none
// has.
func holders(pods []core.Pod, names []core.ResourceName) string {
	var texts []string
	most := func(pod core.Pod) (sum int64) {
		for _, name := range names {
			sum += asked(pod, name).Value()
		}
		return sum
	}
	slices.SortStableFunc(pods, func(a, b core.Pod) int { return cmp.Compare(most(b), most(a)) })
	for i, pod := range pods {
		if most(pod) == 0 {
			pods = pods[:i]
			break
		}
	}
	for _, pod := range pods[:min(len(pods), mostHolders)] {
		texts = append(texts, pod.Namespace+"/"+pod.Name+" on "+pod.Spec.NodeName)
	}
	if more := len(pods) - len(texts); more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, ", ")
}

// insufficient finds the resources of which nodes have too little, in the scheduler's
// words.
var insufficient = regexp.MustCompile(`Insufficient ([A-Za-z0-9./-]*[A-Za-z0-9])`)

// whoHas adds to what the scheduler said of a Pod who has what it lacks, as far as this
// user may see that.
func (r *Runtime) whoHas(ctx context.Context, said string) string {
	var lacks []core.ResourceName
	for _, found := range insufficient.FindAllStringSubmatch(said, -1) {
		lacks = append(lacks, core.ResourceName(found[1]))
	}
	if len(lacks) == 0 {
		return said
	}
	ctx, cancel := context.WithTimeout(ctx, r.limits.call)
	defer cancel()
	pods, whole, err := r.placed(ctx)
	if err != nil {
		return said
	}
	text := holders(pods, lacks)
	switch {
	case text != "":
		said += "; running: " + text
	case whole:
		return said // no node has as much
	}
	if !whole {
		said += "; Pods of other namespaces are not seen, which this user may not list"
	}
	return said
}

// quotaInterval is the time between two looks whether a quota admits what it refused.
const quotaInterval = time.Second

// wait tells why there is no room for the stack yet, unless that is known; nothing: there
// is, for what it waited for.
func (st *stack) wait(why string) {
	st.waiting.Lock()
	defer st.waiting.Unlock()
	if why != st.lacks && st.waits != nil {
		st.waits(why)
	}
	st.lacks = why
}

// roomWait is how long the stack waits for room.
func (st *stack) roomWait() time.Duration { return cmp.Or(st.patience, st.runtime.limits.schedule) }

// admitted makes an object of the stack. It waits while a quota is used up that could
// admit it.
func (st *stack) admitted(ctx context.Context, what string, create func(context.Context) error) error {
	refused := false
	for began := time.Now(); ; {
		calling, done, err := st.runtime.creating(ctx)
		if err != nil {
			return err
		}
		err = create(calling)
		done()
		full, never := quotaFull(err)
		if err == nil && refused {
			st.wait("")
		}
		if !full || never || time.Since(began) > st.roomWait() {
			return st.runtime.explained(what, err)
		}
		refused = true
		st.wait("quota leaves no room yet: " + err.Error())
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(quotaInterval):
		}
	}
}

// quotaOf finds the resources that a quota has refused, in the words of its admission.
var quotaOf = regexp.MustCompile(`exceeded quota: .*, requested: (\S+), used: \S+, limited: (\S+)`)

// quotaFull reports whether a quota refused an object, and whether it would do so if
// nothing else used it.
func quotaFull(err error) (full, never bool) {
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "exceeded quota") {
		return false, false
	}
	found := quotaOf.FindStringSubmatch(err.Error())
	if found == nil {
		return true, false
	}
	requested, wrong := quantities(found[1])
	limited, wrongToo := quantities(found[2])
	if errors.Join(wrong, wrongToo) != nil {
		return true, false
	}
	for name, wants := range requested {
		if most, known := limited[name]; known && wants.Cmp(most) > 0 {
			never = true
		}
	}
	return true, never
}

// quantities reads a list as pods=1,requests.cpu=500m.
func quantities(text string) (map[string]resource.Quantity, error) {
	all := map[string]resource.Quantity{}
	for one := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(one, "=")
		quantity, err := resource.ParseQuantity(value)
		if err != nil {
			return nil, err
		}
		all[name] = quantity
	}
	return all, nil
}
