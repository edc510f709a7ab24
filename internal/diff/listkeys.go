package diff

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
)

// keyedList is a list whose elements server-side apply tells apart by keys,
// and refuses if two have the same ones. Source: the listMapKey markers of the
// Kubernetes API types.
type keyedList struct {
	// field leads to the list; dots separate nested fields.
	field string
	keys  []string
	// within are lists inside of an element.
	within []keyedList
}

var containerLists = []keyedList{
	{field: "ports", keys: []string{"containerPort", "protocol"}},
	{field: "env", keys: []string{"name"}},
	{field: "volumeMounts", keys: []string{"mountPath"}},
	{field: "volumeDevices", keys: []string{"devicePath"}},
	{field: "resources.claims", keys: []string{"name"}},
}

var podLists = []keyedList{
	{field: "containers", keys: []string{"name"}, within: containerLists},
	{field: "initContainers", keys: []string{"name"}, within: containerLists},
	{field: "volumes", keys: []string{"name"}},
	{field: "imagePullSecrets", keys: []string{"name"}},
	{field: "hostAliases", keys: []string{"ip"}},
	{field: "topologySpreadConstraints", keys: []string{"topologyKey", "whenUnsatisfiable"}},
	{field: "resourceClaims", keys: []string{"name"}},
	{field: "schedulingGates", keys: []string{"name"}},
}

var conditionLists = []keyedList{{field: "matchConditions", keys: []string{"name"}}}

var webhookLists = []keyedList{{field: "webhooks", keys: []string{"name"}, within: conditionLists}}

var policyLists = append([]keyedList{{field: "variables", keys: []string{"name"}}}, conditionLists...)

// listsOf maps a kind to its keyed lists and to where they begin.
var listsOf = map[schema.GroupKind]struct {
	root  string
	lists []keyedList
}{
	{Kind: "Pod"}:                                         {"spec", podLists},
	{Kind: "PodTemplate"}:                                 {"template.spec", podLists},
	{Kind: "ReplicationController"}:                       {"spec.template.spec", podLists},
	{Group: "apps", Kind: "Deployment"}:                   {"spec.template.spec", podLists},
	{Group: "apps", Kind: "StatefulSet"}:                  {"spec.template.spec", podLists},
	{Group: "apps", Kind: "DaemonSet"}:                    {"spec.template.spec", podLists},
	{Group: "apps", Kind: "ReplicaSet"}:                   {"spec.template.spec", podLists},
	{Group: "batch", Kind: "Job"}:                         {"spec.template.spec", podLists},
	{Group: "batch", Kind: "CronJob"}:                     {"spec.jobTemplate.spec.template.spec", podLists},
	{Kind: "Service"}:                                     {"spec", []keyedList{{field: "ports", keys: []string{"port", "protocol"}}}},
	{Kind: "ServiceAccount"}:                              {"", []keyedList{{field: "secrets", keys: []string{"name"}}}},
	{Group: "gateway.networking.k8s.io", Kind: "Gateway"}: {"spec", []keyedList{{field: "listeners", keys: []string{"name"}}}},
	{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration"}:   {"", webhookLists},
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration"}: {"", webhookLists},
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicy"}:      {"spec", policyLists},
	{Group: "admissionregistration.k8s.io", Kind: "MutatingAdmissionPolicy"}:        {"spec", conditionLists},
}

// keyDefaults are what the API server fills in for a part of a key.
var keyDefaults = map[string]any{"protocol": "TCP"}

// dropDuplicateKeys keeps the last of the elements with the same key, as the
// API server did before server-side apply, which refuses them.
func (p *preparer) dropDuplicateKeys(d *draft) {
	rule, ok := listsOf[d.GroupVersionKind().GroupKind()]
	if !ok || !p.visitLists(d, d.Unstructured.Object, "", rule.root, rule.lists, false) {
		return
	}
	// Only now is a copy worth its cost: duplicates are rare.
	d.Unstructured = &unstructured.Unstructured{Object: runtime.DeepCopyJSON(d.Unstructured.Object)}
	d.metadata, _ = d.Unstructured.Object["metadata"].(map[string]any)
	p.visitLists(d, d.Unstructured.Object, "", rule.root, rule.lists, true)
}

// visitLists tells whether a list below root has duplicates; with mend it
// drops them in place.
func (p *preparer) visitLists(d *draft, object map[string]any, at mizzen.Path, root string, lists []keyedList, mend bool) (found bool) {
	object, at = enter(object, at, root)
	for _, l := range lists {
		parent, name := "", l.field
		if i := strings.LastIndexByte(l.field, '.'); i >= 0 {
			parent, name = l.field[:i], l.field[i+1:]
		}
		holder, listAt := enter(object, at, parent)
		listAt = listAt.Key(name)
		list, _ := holder[name].([]any)
		dropped := duplicates(list, l.keys)
		if len(dropped) > 0 {
			found = true
			if mend {
				list = p.drop(d, list, listAt, l.keys, dropped)
				holder[name] = list
			}
		}
		for i, item := range list {
			if element, ok := item.(map[string]any); ok && len(l.within) > 0 {
				found = p.visitLists(d, element, listAt.Index(i), "", l.within, mend) || found
			}
		}
	}
	return found
}

func enter(object map[string]any, at mizzen.Path, fields string) (map[string]any, mizzen.Path) {
	if fields == "" {
		return object, at
	}
	for field := range strings.SplitSeq(fields, ".") {
		object, _ = object[field].(map[string]any)
		at = at.Key(field)
	}
	return object, at
}

// duplicates returns the indexes of elements that a later one repeats.
func duplicates(list []any, keys []string) (indexes []int) {
	if len(list) < 2 {
		return nil
	}
	seen := make(map[string]bool, len(list))
	for i, item := range slices.Backward(list) {
		key, ok := mergeKey(item, keys)
		if ok && seen[key] {
			indexes = append(indexes, i)
		}
		seen[key] = ok
	}
	slices.Reverse(indexes)
	return indexes
}

// mergeKey returns the key of a list element in a comparable form; ok is false
// if it has none.
func mergeKey(item any, keys []string) (key string, ok bool) {
	element, isMap := item.(map[string]any)
	if !isMap {
		return "", false
	}
	var b strings.Builder
	for i, k := range keys {
		v := element[k]
		if v == nil {
			v = keyDefaults[k]
		}
		switch v.(type) {
		case nil, map[string]any, []any:
			return "", false
		}
		if i > 0 {
			b.WriteByte('/')
		}
		fmt.Fprint(&b, v)
	}
	return b.String(), true
}

func (p *preparer) drop(d *draft, list []any, at mizzen.Path, keys []string, dropped []int) []any {
	kept := make([]any, 0, len(list))
	moved := make(map[int]int, len(list))
	for i, item := range list {
		if !slices.Contains(dropped, i) {
			moved[i] = len(kept)
			kept = append(kept, item)
			continue
		}
		key, _ := mergeKey(item, keys)
		p.report(d, mizzen.Finding{
			Code: mizzen.CodeDuplicateListKey, Severity: mizzen.Warning, Path: at.Index(i),
			Message: fmt.Sprintf("%s has two elements with %s %s; the last one counts", at, strings.Join(keys, "/"), cut(key)),
			Remedy:  "remove one of them",
		})
	}
	d.Origins = renumber(d.Origins, at, moved)
	return kept
}

// renumber moves the origins of list elements to their new indexes.
func renumber(o mizzen.Origins, list mizzen.Path, moved map[int]int) mizzen.Origins {
	fields := make(map[mizzen.Path]mizzen.Origin, len(o.Fields))
	for at, origin := range o.Fields {
		rest, below := strings.CutPrefix(string(at), string(list)+"[")
		number, tail, closed := strings.Cut(rest, "]")
		index, err := strconv.Atoi(number)
		if !below || !closed || err != nil {
			fields[at] = origin
			continue
		}
		if next, ok := moved[index]; ok {
			fields[list.Index(next)+mizzen.Path(tail)] = origin
		}
	}
	return mizzen.Origins{Object: o.Object, Fields: fields}
}
