package effect

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
)

// delegates tells of rules that are ignored since what they delegate to cannot
// be used. Istiod drops such rules without a word. A delegate has no hosts and
// delegates nothing itself (istio.io/latest/docs/reference/config/networking/virtual-service/#Delegate).
func (c *comparison) delegates() {
	for _, ref := range sortedRefs(c.changes.after) {
		if ref.Kind != "VirtualService" || ref.Group != "networking.istio.io" || c.rejected(ref) {
			continue
		}
		had := brokenDelegates(c.changes.before, ref)
		broken := brokenDelegates(c.changes.after, ref)
		for _, i := range sortedKeys(broken) {
			if had[i] == broken[i] {
				continue
			}
			path := mizzen.Path("spec").Key("http").Index(i).Key("delegate")
			c.out.add(found{
				code: mizzen.EffectIgnored, impact: mizzen.ImpactWarning, subject: ref.String(), after: "ignored",
				message: fmt.Sprintf("istiod ignores spec.http[%d]: %s", i, broken[i]), cause: cause{ref, c.origin(ref, path)},
			})
		}
	}
}

// brokenDelegates returns the rules of a VirtualService whose delegate cannot
// be used, with the reason.
func brokenDelegates(objects map[mizzen.Ref]mizzen.Object, ref mizzen.Ref) map[int]string {
	out := map[int]string{}
	o, there := objects[ref]
	if !there {
		return out
	}
	rules, _, err := unstructured.NestedSlice(o.Object, "spec", "http")
	if err != nil {
		return out
	}
	for i, r := range rules {
		target, ok := delegateOf(r, ref)
		if !ok {
			continue
		}
		if why := unusable(objects, target); why != "" {
			out[i] = "the delegate " + short(target) + " " + why
		}
	}
	return out
}

// delegateOf returns the VirtualService that a rule of another one hands its
// requests to.
func delegateOf(rule any, of mizzen.Ref) (target mizzen.Ref, ok bool) {
	fields, _ := rule.(map[string]any)
	name, _, err := unstructured.NestedString(fields, "delegate", "name")
	if err != nil || name == "" {
		return of, false
	}
	target = of
	target.Name = name
	if namespace, _, err := unstructured.NestedString(fields, "delegate", "namespace"); err == nil && namespace != "" {
		target.Namespace = namespace
	}
	return target, true
}

func short(r mizzen.Ref) string { return r.Namespace + "/" + r.Name }

func unusable(objects map[mizzen.Ref]mizzen.Object, delegate mizzen.Ref) string {
	o, there := objects[delegate]
	if !there {
		return "does not exist"
	}
	if hosts, _, err := unstructured.NestedStringSlice(o.Object, "spec", "hosts"); err == nil && len(hosts) > 0 {
		return "has hosts of its own"
	}
	rules, _, err := unstructured.NestedSlice(o.Object, "spec", "http")
	if err != nil {
		return "has rules that cannot be read"
	}
	for _, r := range rules {
		next, delegates := delegateOf(r, delegate)
		if !delegates {
			continue
		}
		if way := circle(objects, delegate, next); way != "" {
			return "is part of a circle: " + way
		}
		return "hands its requests on to " + short(next) + ", which a delegate may not"
	}
	return ""
}

// circle returns the way by which delegates lead from one of them back to it,
// "" if they do not.
func circle(objects map[mizzen.Ref]mizzen.Object, start, next mizzen.Ref) string {
	type step struct {
		at  mizzen.Ref
		way string
	}
	seen := map[mizzen.Ref]bool{}
	for queue := []step{{next, short(start) + " -> " + short(next)}}; len(queue) > 0; queue = queue[1:] {
		here := queue[0]
		if here.at == start {
			return here.way
		}
		o, there := objects[here.at]
		if seen[here.at] || !there {
			continue
		}
		seen[here.at] = true
		rules, _, err := unstructured.NestedSlice(o.Object, "spec", "http")
		if err != nil {
			continue
		}
		for _, r := range rules {
			if target, ok := delegateOf(r, here.at); ok {
				queue = append(queue, step{target, here.way + " -> " + short(target)})
			}
		}
	}
	return ""
}
