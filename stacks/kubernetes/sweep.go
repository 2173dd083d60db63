package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"stackmeter/stacks"
)

// runtimeObject is what lists of objects are to client-go.
type runtimeObject = runtime.Object

// Sweep implements stacks.Runtime.
func (r *Runtime) Sweep(ctx context.Context, run string) ([]string, error) {
	if run != "" {
		stacks.Settle(ctx, &r.making, r.limits.call)
		return r.remove(ctx, labelRun+"="+run)
	}
	all, err := r.list(ctx, labelRun)
	if err != nil {
		return nil, err
	}
	var dead []string
	for _, one := range all {
		owner, err := stacks.ParseOwner(one.owner)
		if err == nil && one.stack != "" && owner.Gone(r.owner) && !slices.Contains(dead, one.stack) {
			dead = append(dead, one.stack)
		}
	}
	var names []string
	var failed error
	for _, id := range dead {
		removed, err := r.remove(ctx, labelStack+"="+id)
		names, failed = append(names, removed...), errors.Join(failed, err)
	}
	return names, failed
}

// An object is one that belongs to a stack.
type object struct {
	kind, name   string
	uid          types.UID
	stack, owner string
	pod          *core.Pod
	delete       func(context.Context, meta.DeleteOptions) error
}

func (o object) String() string { return o.kind + " " + o.name }

// list returns the objects with a label.
func (r *Runtime) list(ctx context.Context, label string) (all []object, err error) {
	o := meta.ListOptions{LabelSelector: label}
	add := func(kind string, m meta.ObjectMeta, pod *core.Pod, remove func(context.Context, string, meta.DeleteOptions) error) {
		all = append(all, object{kind, m.Name, m.UID, m.Labels[labelStack], m.Annotations[annotations], pod,
			func(ctx context.Context, o meta.DeleteOptions) error { return remove(ctx, m.Name, o) }})
	}
	err = r.patiently(ctx, "list what there is of stacks", func(ctx context.Context) error {
		all = nil
		pods, jobs := r.api.CoreV1().Pods(r.namespace), r.api.BatchV1().Jobs(r.namespace)
		secrets, policies := r.api.CoreV1().Secrets(r.namespace), r.api.NetworkingV1().NetworkPolicies(r.namespace)
		podList, err := pods.List(ctx, o)
		if err != nil {
			return err
		}
		jobList, err := jobs.List(ctx, o)
		if err != nil {
			return err
		}
		secretList, err := secrets.List(ctx, o)
		if err != nil {
			return err
		}
		policyList, err := policies.List(ctx, o)
		if err != nil {
			return err
		}
		for i := range podList.Items {
			add("pod", podList.Items[i].ObjectMeta, &podList.Items[i], pods.Delete)
		}
		for i := range jobList.Items {
			add("job", jobList.Items[i].ObjectMeta, nil, jobs.Delete)
		}
		for i := range secretList.Items {
			add("secret", secretList.Items[i].ObjectMeta, nil, secrets.Delete)
		}
		for i := range policyList.Items {
			add("networkpolicy", policyList.Items[i].ObjectMeta, nil, policies.Delete)
		}
		return nil
	})
	return all, err
}

// A Pod ends within its second of grace and a moment. After patience it is looked whether
// its node is heard of, which the cluster itself doubts after 40 seconds or so.
const (
	removeInterval = 100 * time.Millisecond
	removePatience = 15 * time.Second
	nodeInterval   = time.Second
)

// remove removes the objects with a label, and returns once they are gone: a Pod is
// when its node has said that its containers have ended. One whose node is not heard of
// is taken from the list without that word.
func (r *Runtime) remove(ctx context.Context, label string) (names []string, failed error) {
	seen := map[types.UID]bool{}
	began := time.Now()
	for {
		all, err := r.list(ctx, label)
		if err != nil {
			return names, errors.Join(failed, err)
		}
		if len(all) == 0 {
			return names, nil
		}
		if time.Since(began) > r.limits.stop {
			for _, one := range all {
				failed = errors.Join(failed, fmt.Errorf("%s is still there after %v; look with kubectl describe %s %s --namespace %s", one, r.limits.stop, one.kind, one.name, r.namespace))
			}
			return names, failed
		}
		pause, late := removeInterval, time.Since(began) > removePatience
		if late {
			pause = nodeInterval
		}
		failed = r.removeAll(ctx, all, seen, late, &names)
		select {
		case <-ctx.Done():
			return names, errors.Join(failed, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// removeAll asks once for the removal of each object. force takes Pods away whose node
// does not answer.
func (r *Runtime) removeAll(ctx context.Context, all []object, seen map[types.UID]bool, force bool, names *[]string) (failed error) {
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, one := range all {
		grace, background := int64(1), meta.DeletePropagationBackground
		lost := force && one.pod != nil && r.nodeLost(ctx, one.pod.Spec.NodeName, unheard(one.pod) != nil)
		if lost {
			r.lost.Store(one.pod.Spec.NodeName, true)
			grace = 0
		}
		if seen[one.uid] && !lost {
			continue
		}
		if !seen[one.uid] {
			*names = append(*names, one.String())
		}
		seen[one.uid] = true
		o := meta.DeleteOptions{PropagationPolicy: &background, Preconditions: &meta.Preconditions{UID: &one.uid}}
		if one.pod != nil {
			o.GracePeriodSeconds = &grace
		}
		asking.Go(func() {
			err := r.patiently(ctx, "remove "+one.String(), func(ctx context.Context) error { return one.delete(ctx, o) })
			mu.Lock()
			defer mu.Unlock()
			if err != nil && !removed(err) {
				failed = errors.Join(failed, err)
				delete(seen, one.uid)
			}
		})
	}
	asking.Wait()
	return failed
}

// nodeLost reports whether the cluster does not hear of a node, or has none of that
// name. Where this user may not look at nodes, it is as otherwise is known.
func (r *Runtime) nodeLost(ctx context.Context, name string, otherwise bool) bool {
	node, err := r.api.CoreV1().Nodes().Get(ctx, name, meta.GetOptions{})
	if err != nil {
		return removed(err) || apierrors.IsForbidden(err) && otherwise
	}
	for _, c := range node.Status.Conditions {
		if c.Type == core.NodeReady {
			return c.Status != core.ConditionTrue
		}
	}
	return false
}
