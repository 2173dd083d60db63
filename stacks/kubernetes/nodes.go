package kubernetes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"stackmeter/scenarios"
	"stackmeter/stacks"
)

// Nodes are those that Pods may get. The operator says so, never a scenario.
type Nodes struct {
	labels      map[string]string
	tolerations []core.Toleration
}

// labelled are the labels that the nodes of a stack have to have which wants such devices.
// Where the operator names another product, there is none.
func (n Nodes) labelled(want scenarios.GPU) (map[string]string, error) {
	if want.Product == "" {
		return n.labels, nil
	}
	if only, limited := n.labels[scenarios.ProductLabel]; limited && only != want.Product {
		return nil, fmt.Errorf("%w: resources.gpu.product is %s, and --node-selector %s=%s allows no other than that", stacks.ErrUnavailable, want.Product, scenarios.ProductLabel, only)
	}
	all := map[string]string{scenarios.ProductLabel: want.Product}
	maps.Copy(all, n.labels)
	return all, nil
}

// with says in words which labels nodes have.
func with(selected map[string]string) string {
	if len(selected) == 0 {
		return " of the cluster"
	}
	return " with " + strings.ReplaceAll(labels.Set(selected).String(), ",", " and ")
}

// avoided are the nodes that were lost with a stack and that the cluster still does not
// hear of: its scheduler may take them for good for a moment.
func (r *Runtime) avoided(ctx context.Context) (names []string) {
	r.lost.Range(func(name, _ any) bool {
		if r.nodeLost(ctx, name.(string), true) {
			names = append(names, name.(string))
		} else {
			r.lost.Delete(name)
		}
		return true
	})
	slices.Sort(names)
	return names
}

// offNodes keeps a Pod off nodes; without any it may have each.
func offNodes(names []string) *core.Affinity {
	if len(names) == 0 {
		return nil
	}
	return nodeNames(core.NodeSelectorOpNotIn, names)
}

// nodeNames binds a Pod to nodes by their names, or keeps it off them. The API takes one
// name for each requirement.
func nodeNames(operator core.NodeSelectorOperator, names []string) *core.Affinity {
	var all []core.NodeSelectorRequirement
	for _, name := range names {
		all = append(all, core.NodeSelectorRequirement{Key: "metadata.name", Operator: operator, Values: []string{name}})
	}
	return &core.Affinity{NodeAffinity: &core.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &core.NodeSelector{
		NodeSelectorTerms: []core.NodeSelectorTerm{{MatchFields: all}},
	}}}
}

// ParseNodes reads labels that nodes have to have (KEY=VALUE), and taints that they may
// have (KEY=VALUE:EFFECT, KEY:EFFECT or KEY).
func ParseNodes(selectors, tolerations []string) (n Nodes, err error) {
	n.labels = map[string]string{}
	for _, text := range selectors {
		one, err := labels.ConvertSelectorToLabelsMap(text)
		if err != nil || len(one) != 1 {
			return Nodes{}, fmt.Errorf("--node-selector %q: it has to be a label, KEY=VALUE", text)
		}
		for key, value := range one {
			n.labels[key] = value
		}
	}
	effects := []core.TaintEffect{core.TaintEffectNoSchedule, core.TaintEffectPreferNoSchedule, core.TaintEffectNoExecute, ""}
	for _, text := range tolerations {
		taint, effect, _ := strings.Cut(text, ":")
		key, value, equal := strings.Cut(taint, "=")
		one := core.Toleration{Key: key, Value: value, Operator: core.TolerationOpExists, Effect: core.TaintEffect(effect)}
		if equal {
			one.Operator = core.TolerationOpEqual
		}
		if len(validation.IsQualifiedName(key)) > 0 || len(validation.IsValidLabelValue(value)) > 0 || !slices.Contains(effects, one.Effect) {
			return Nodes{}, fmt.Errorf("--toleration %q: it has to be a taint, KEY=VALUE:EFFECT, KEY:EFFECT or KEY, with an effect of NoSchedule, PreferNoSchedule or NoExecute", text)
		}
		n.tolerations = append(n.tolerations, one)
	}
	return n, nil
}
