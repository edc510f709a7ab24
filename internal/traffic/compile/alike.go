package compile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"istio.io/api/annotation"
	"istio.io/istio/pilot/pkg/model"

	"mizzen.dev/mizzen"
)

// alike returns what decides about the configuration of a workload's proxy, for
// what it sends and for what it accepts: istiod sends the same to two proxies
// for which it is equal. The Services in front of a workload say nothing about
// what it sends, but that istiod leaves a pod of a headless Service out of the
// listeners of its own proxy.
func (in *input) alike(w *workload, node *model.Proxy) (sends, accepts string) {
	var b, targets strings.Builder
	fmt.Fprintf(&b, "%s %s", w.role, w.Namespace)
	for _, key := range slices.Sorted(maps.Keys(in.selecting)) {
		if v, ok := w.Labels[key]; ok {
			fmt.Fprintf(&b, " %q=%q", key, v)
		}
	}
	if own := w.annotations[annotation.ProxyConfig.Name]; own != "" {
		fmt.Fprintf(&b, " %q", own)
	}
	if past := w.Bypass.Key(); past != "" {
		fmt.Fprintf(&b, " past %s", past)
	}
	headless := false
	for _, t := range node.ServiceTargets {
		fmt.Fprintf(&targets, " %s:%d:%d", t.Service.Hostname, t.Port.Port, t.Port.TargetPort)
		headless = headless || t.Service.Resolution == model.Passthrough
	}
	accepts = b.String() + targets.String()
	if headless {
		b.WriteString(" " + w.Address)
	}
	return b.String(), accepts
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
				if field == "failoverPriority" {
					in.notePriorities(item)
				}
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

func (in *input) notePriorities(list any) {
	items, _ := list.([]any)
	for _, item := range items {
		if label, ok := item.(string); ok {
			in.notePriority(label)
		}
	}
}

// notePriority notes a label by which endpoints are preferred that have the
// same value as the caller: "key" or "key=value".
func (in *input) notePriority(label string) {
	key, _, _ := strings.Cut(label, "=")
	in.selecting[key] = true
}
