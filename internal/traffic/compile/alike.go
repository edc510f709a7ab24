package compile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
)

// alike returns what decides about the configuration of a workload's proxy:
// istiod sends the same to two proxies for which it is equal.
func (e *environment) alike(in *input, w *workload) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", w.role, w.Namespace)
	for _, key := range slices.Sorted(maps.Keys(in.selecting)) {
		if v, ok := w.Labels[key]; ok {
			fmt.Fprintf(&b, " %q=%q", key, v)
		}
	}
	for _, t := range e.registry.targets[w.Address] {
		fmt.Fprintf(&b, " %s:%d:%d", t.Service.Hostname, t.Port.Port, t.Port.TargetPort)
	}
	return b.String()
}

// selectors are the fields by which Istio's objects pick workloads.
var selectors = map[string]bool{"matchLabels": true, "labels": true, "sourceLabels": true, "selector": true}

// noteSelectors notes the label keys by which an object of Istio's may pick
// workloads. One too many only makes fewer proxies alike.
func (in *input) noteSelectors(object mizzen.Object) {
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for field, item := range v {
				if labels, ok := item.(map[string]any); ok && selectors[field] {
					for key := range labels {
						in.selecting[key] = true
					}
				}
				walk(item)
			}
		case []any:
			for _, item := range v {
				walk(item)
			}
		}
	}
	walk(object.Object["spec"])
}
