package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"strings"

	authorization "k8s.io/api/authorization/v1"
	rbac "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A right is something that this runtime does with one kind of object. All that it may
// need is in rights: Check asks for it, and the Role of an orchestrator has it.
type right struct {
	verb, group, resource, subresource string

	more       bool // without it stackmeter works, and says less
	everywhere bool // in the cluster, not in its namespace alone
}

// rights are all of them.
func rights() []right {
	var all []right
	for _, one := range []right{{resource: "pods"}, {resource: "secrets"}, {group: "batch", resource: "jobs"}, {group: "networking.k8s.io", resource: "networkpolicies"}} {
		for _, one.verb = range []string{"create", "list", "delete"} {
			all = append(all, one)
		}
	}
	return append(all,
		right{verb: "get", resource: "pods"},
		right{verb: "watch", resource: "pods"},
		right{verb: "get", resource: "pods", subresource: "log"},
		right{verb: "create", resource: "pods", subresource: "exec"},
		// A WebSocket begins as a GET. Whoever may only create falls back on SPDY.
		right{verb: "get", resource: "pods", subresource: "exec", more: true},
		right{verb: "patch", group: "batch", resource: "jobs"},
		right{verb: "list", resource: "resourcequotas", more: true},
		right{verb: "list", resource: "nodes", more: true, everywhere: true},
		right{verb: "get", resource: "nodes", more: true, everywhere: true},
		right{verb: "list", resource: "pods", more: true, everywhere: true},
	)
}

// kind is the resource with its subresource, as a Role names it.
func (one right) kind() string {
	if one.subresource == "" {
		return one.resource
	}
	return one.resource + "/" + one.subresource
}

func (one right) String() string { return one.verb + " " + one.kind() }

// rules are the rights in the words of a Role, or of a ClusterRole.
func rules(everywhere bool) []rbac.PolicyRule {
	var all []rbac.PolicyRule
	for _, one := range rights() {
		if one.everywhere != everywhere {
			continue
		}
		at := slices.IndexFunc(all, func(r rbac.PolicyRule) bool { return r.APIGroups[0] == one.group && r.Resources[0] == one.kind() })
		if at < 0 {
			at, all = len(all), append(all, rbac.PolicyRule{APIGroups: []string{one.group}, Resources: []string{one.kind()}})
		}
		all[at].Verbs = append(all[at].Verbs, one.verb)
	}
	return all
}

// Check implements stacks.Runtime: the API server answers, and lets this user do what
// stacks need.
func (r *Runtime) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.limits.call)
	defer cancel()
	if _, err := r.api.CoreV1().Pods(r.namespace).List(ctx, meta.ListOptions{Limit: 1}); err != nil && !apierrors.IsForbidden(err) {
		return r.explained("kubernetes", err)
	}
	var lacks []string
	for _, one := range rights() {
		if one.more {
			continue
		}
		review := &authorization.SelfSubjectAccessReview{Spec: authorization.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorization.ResourceAttributes{
			Namespace: r.namespace, Verb: one.verb, Group: one.group, Resource: one.resource, Subresource: one.subresource,
		}}}
		answer, err := r.api.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, meta.CreateOptions{})
		if err != nil {
			return r.explained("kubernetes", err)
		}
		if !answer.Status.Allowed {
			lacks = append(lacks, one.String())
		}
	}
	if len(lacks) > 0 {
		return fmt.Errorf("kubernetes: in namespace %s this user may not: %s; let its operator grant that by a Role, as stackmeter agent manifest prints it", r.namespace, strings.Join(lacks, ", "))
	}
	return nil
}
