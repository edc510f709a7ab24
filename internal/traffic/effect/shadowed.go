package effect

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// shadowed tells of rules that can never match, and could before.
func (m *meeting) shadowed(vb, va *routev3.VirtualHost) {
	if va == nil {
		return
	}
	had := map[string]bool{}
	for _, s := range shadows(vb) {
		had[conditions(s.Route.GetMatch())+" "+conditions(s.By.GetMatch())] = true
	}
	for _, s := range shadows(va) {
		rule, ok := traffic.RuleOfRoute(s.Route)
		by, _ := traffic.RuleOfRoute(s.By)
		if !ok || had[conditions(s.Route.GetMatch())+" "+conditions(s.By.GetMatch())] {
			continue
		}
		what := conditions(s.Route.GetMatch())
		if what == "" {
			what = "for all requests"
		}
		m.found = append(m.found, found{
			code: mizzen.EffectShadowed, impact: mizzen.ImpactWarning, subjects: []string{m.subject(m.host)}, noun: "hosts", namespace: namespaceOf(m.host),
			message: "the rule " + what + " can never match: " + ruleName(by) + " always does before it",
			after:   "never reached", from: m.all(),
			cause: cause{rule.Ref, m.c.origin(rule.Ref, rule.Path)},
		})
	}
}

func shadows(vh *routev3.VirtualHost) []match.ShadowedRoute {
	if vh == nil {
		return nil
	}
	return match.Shadowed(&routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{vh}})
}

func ruleName(r traffic.Rule) string {
	if r.Ref.Kind == "" {
		return "another rule"
	}
	return r.Ref.Namespace + "/" + r.Ref.Name + " " + string(r.Path)
}
