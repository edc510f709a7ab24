package effect

import (
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
)

// unreachable tells of rules of a VirtualService behind one that takes every
// request. Istiod leaves them out of what it sends, so that only the object
// shows them.
func (c *comparison) unreachable() {
	for _, ref := range c.changes.ofKind("VirtualService") {
		o, there := c.changes.after[ref]
		if !there {
			continue
		}
		rules, all := httpRules(o)
		if all < 0 {
			continue
		}
		had := map[int]bool{}
		before, allBefore := httpRules(c.changes.before[ref])
		for i, rule := range rules {
			for j, old := range before {
				if allBefore >= 0 && j > allBefore && reflect.DeepEqual(rule, old) {
					had[i] = true
				}
			}
		}
		for i := all + 1; i < len(rules); i++ {
			if had[i] {
				continue
			}
			path := mizzen.Path("spec").Key("http").Index(i)
			c.out.add(found{
				code: mizzen.EffectShadowed, impact: mizzen.ImpactWarning, subjects: shortHosts(o), hosts: true,
				message: fmt.Sprintf("the rule spec.http[%d] can never match: spec.http[%d] takes every request before it", i, all),
				after:   "never reached", cause: cause{ref, c.origin(ref, path)},
			})
		}
	}
}

func shortHosts(o mizzen.Object) []string {
	var out []string
	for _, h := range hostsOf(o) {
		out = append(out, shortHost(h))
	}
	return out
}

// httpRules returns the HTTP rules of a VirtualService and the first that takes
// every request, or -1.
func httpRules(o mizzen.Object) (rules []any, all int) {
	if o.Unstructured == nil {
		return nil, -1
	}
	rules, _, err := unstructured.NestedSlice(o.Object, "spec", "http")
	if err != nil {
		return nil, -1
	}
	for i, r := range rules {
		rule, _ := r.(map[string]any)
		matches, _, err := unstructured.NestedSlice(rule, "match")
		if err != nil || rule == nil {
			continue
		}
		if len(matches) == 0 {
			return rules, i
		}
		for _, m := range matches {
			if takesAll(m) {
				return rules, i
			}
		}
	}
	return rules, -1
}

// takesAll tells whether a match has no condition, or only that the path begins
// with a slash.
func takesAll(match any) bool {
	m, ok := match.(map[string]any)
	if !ok {
		return false
	}
	for k, v := range m {
		if k == "name" || k == "uri" && reflect.DeepEqual(v, map[string]any{"prefix": "/"}) {
			continue
		}
		return false
	}
	return true
}
