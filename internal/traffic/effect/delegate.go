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
		if ref.Kind != "VirtualService" || ref.Group != "networking.istio.io" {
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
		rule, _ := r.(map[string]any)
		name, _, err := unstructured.NestedString(rule, "delegate", "name")
		if err != nil || name == "" {
			continue
		}
		target := ref
		target.Name = name
		if namespace, _, err := unstructured.NestedString(rule, "delegate", "namespace"); err == nil && namespace != "" {
			target.Namespace = namespace
		}
		if why := unusable(objects, target); why != "" {
			out[i] = "the delegate " + target.Namespace + "/" + target.Name + " " + why
		}
	}
	return out
}

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
		rule, _ := r.(map[string]any)
		if _, delegates := rule["delegate"]; delegates {
			return "delegates itself"
		}
	}
	return ""
}
