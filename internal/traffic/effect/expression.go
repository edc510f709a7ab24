package effect

import (
	"fmt"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// expressions tells of regular expressions that istiod takes and Envoy does not:
// it refuses everything that comes with one. Proxies that run keep the routes
// that they have, and one that starts has none.
func (c *comparison) expressions() {
	for _, ref := range c.changes.refs {
		had := map[string]bool{}
		for _, e := range expressionsOf(c.changes.before[ref]) {
			had[e.text] = true
		}
		for _, e := range expressionsOf(c.changes.after[ref]) {
			if size, most, tooLarge := match.TooLarge(e.text); tooLarge && !had[e.text] && !c.rejected(ref) {
				c.refused(ref, e, fmt.Sprintf("%.40s… has %d instructions, at most %d are taken", e.text, size, most))
			}
		}
	}
}

// refused tells of one expression; why is its size.
func (c *comparison) refused(ref mizzen.Ref, e expression, why string) {
	f := found{
		code: mizzen.EffectFails, impact: mizzen.ImpactDanger, subject: ref.String(), after: "refused", cause: cause{ref, c.origin(ref, e.path)},
		message: "Envoy refuses the route configuration because a regular expression is too large (" + why +
			"): proxies that run keep the routes that they have, and those that start have none",
	}
	if o := c.changes.after[ref]; ref.Kind == "VirtualService" && forSidecars(o) {
		f.callers = c.everyone()
	}
	c.out.add(f)
}

// rejected tells whether istiod ignores an object as a whole.
func (c *comparison) rejected(ref mizzen.Ref) bool {
	return slices.ContainsFunc(c.after.Rejected, func(r traffic.Rejection) bool { return r.Ref == ref && (r.Path == "" || r.Path == "spec") })
}

// expression is a regular expression that an object holds.
type expression struct {
	path mizzen.Path
	text string
}

// expressionsOf returns those of a VirtualService or of a route of the Gateway
// API, in the order of their fields.
func expressionsOf(o mizzen.Object) []expression {
	if o.Unstructured == nil {
		return nil
	}
	switch o.GetKind() {
	case "VirtualService", "HTTPRoute", "GRPCRoute":
	default:
		return nil
	}
	var out []expression
	walkExpressions(o.Object["spec"], "spec", &out)
	return out
}

func walkExpressions(value any, at mizzen.Path, out *[]expression) {
	switch v := value.(type) {
	case []any:
		for i, item := range v {
			walkExpressions(item, at.Index(i), out)
		}
	case map[string]any:
		for _, key := range sortedKeys(v) {
			if text, ok := v[key].(string); ok && holdsExpression(v, at, key) {
				*out = append(*out, expression{at.Key(key), text})
			}
			walkExpressions(v[key], at.Key(key), out)
		}
	}
}

// holdsExpression tells whether a field of an object is a regular expression.
func holdsExpression(in map[string]any, at mizzen.Path, field string) bool {
	switch field {
	case "regex":
		return true
	case "match":
		return strings.HasSuffix(string(at), ".uriRegexRewrite")
	}
	return field == "value" && in["type"] == "RegularExpression"
}
