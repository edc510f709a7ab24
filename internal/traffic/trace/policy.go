package trace

import (
	"cmp"
	"fmt"
	"slices"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	tcprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// The results of a policy, in the words of the answer.
const (
	allows  = "allows"
	denies  = "denies"
	misses  = "does not match"
	audits  = "audits"
	unknown = "unknown"
)

// admit asks the policies of a filter chain whether the request may pass, and
// ends it if it may not.
func (t *tracer) admit(l *leg, chain *listenerv3.FilterChain, s *match.Stack, peer match.Peer) bool {
	s.Adopt(s.Routes(l.view))
	v := match.Explain(s, t.httpRequest(l.seen), peer)
	actions := t.actionsOf(l, chain, s, peer)
	hop := l.hop
	var missed []mizzen.TracePolicy
	for _, tried := range v.Tried {
		missed = append(missed, t.policy(tried.Policy, actions, misses, tried.Why))
	}
	hop.Policies = append(hop.Policies, missed...)
	t.watched(l, &v, actions)
	t.doubted(l, &v)
	switch v.Decision {
	case match.Denied:
		if v.Refused {
			return true // no policy, but Envoy itself, which the routes tell
		}
		t.deny(l, &v, actions, missed)
		return false
	case match.Undecided:
		l.doubt = cmp.Or(l.doubt, v.Why)
	case match.Allowed:
		if v.Policy != "" {
			hop.Policies = append(hop.Policies, t.policy(v.Policy, actions, allows, ""))
		}
	}
	return true
}

// watched tells what policies say that decide nothing: audits and dry runs.
func (t *tracer) watched(l *leg, v *match.Verdict, actions map[string]string) {
	hop := l.hop
	for _, name := range v.Audited {
		hop.Policies = append(hop.Policies, t.policy(name, actions, audits, ""))
	}
	for _, dry := range v.Shadow {
		result := "would allow"
		if dry.Denied {
			result = "would deny"
		} else if dry.Policy == "" {
			continue // none of them is about this request
		}
		hop.Policies = append(hop.Policies, t.policy(dry.Policy, actions, result, "dry run"))
	}
}

// doubted tells who may refuse the request without that it can be told here.
func (t *tracer) doubted(l *leg, v *match.Verdict) {
	hop := l.hop
	for _, authorizer := range v.Asks {
		if to, ok := targetOf(authorizer); ok {
			authorizer = fmt.Sprintf("%s:%d", to.host, to.port)
		}
		hop.Policies = append(hop.Policies, mizzen.TracePolicy{Name: authorizer, Action: "CUSTOM", Result: unknown, Reason: "it is asked, and may deny"})
		l.doubt = fmt.Sprintf("%s asks the external authorizer %s", hop.Workload, authorizer)
	}
	for _, what := range v.Unsure {
		hop.Policies = append(hop.Policies, mizzen.TracePolicy{Action: "FILTER", Result: unknown, Reason: what})
		l.doubt = fmt.Sprintf("at %s, %s", hop.Workload, what)
	}
}

// deny ends a request that policy refuses.
func (t *tracer) deny(l *leg, v *match.Verdict, actions map[string]string, missed []mizzen.TracePolicy) {
	p := t.refusal(v, actions, missed)
	l.hop.Policies = append(l.hop.Policies, p)
	message := fmt.Sprintf("%s refuses it", l.hop.Workload)
	if p.Reason != "" {
		message += ": " + p.Reason
	}
	t.refuse(l, v.Status, message, p.Rule)
}

// refusal is the policy that denies: one that says so; or those that allow and
// do not match, of which the last is named; or a demand for a token.
func (t *tracer) refusal(v *match.Verdict, actions map[string]string, missed []mizzen.TracePolicy) mizzen.TracePolicy {
	if v.Policy != "" {
		return t.policy(v.Policy, actions, denies, "")
	}
	p := mizzen.TracePolicy{Action: "JWT", Result: denies, Reason: v.Why}
	if v.Why != match.NoneAllows {
		return p
	}
	p.Action, p.Reason = "ALLOW", "some rules allow requests, and none matches this one"
	if v.Status == 0 && len(actions) == 0 {
		p.Reason = "what policies allow here is a matter of HTTP, and the port is treated as TCP"
	}
	if n := len(missed); n > 0 && missed[n-1].Action == "ALLOW" {
		p.Rule = t.rule(traffic.Rule{Ref: missed[n-1].Rule.Ref})
	}
	return p
}

// policy names what wrote a policy.
func (t *tracer) policy(name string, actions map[string]string, result, reason string) mizzen.TracePolicy {
	p := mizzen.TracePolicy{Name: name, Action: actions[name], Result: result, Reason: reason}
	if rule, ok := traffic.RuleOfPolicy(name); ok {
		p.Name, p.Rule = "", t.rule(rule)
	}
	return p
}

// actionsOf are the actions of the policies of a filter chain, by name. If one
// of them asks for addresses, the answer says which it takes: Git knows none.
func (t *tracer) actionsOf(l *leg, chain *listenerv3.FilterChain, s *match.Stack, peer match.Peer) map[string]string {
	actions := map[string]string{}
	add := func(enforced, shadow *rbacv3.RBAC, shadowPrefix string) {
		if asksAddress(enforced) || asksAddress(shadow) {
			t.noteAddress(l, peer)
		}
		for name := range enforced.GetPolicies() {
			actions[name] = action(enforced)
		}
		for name := range shadow.GetPolicies() {
			actions[name] = action(shadow)
			if shadowPrefix == customPrefix {
				actions[name] = "CUSTOM"
			}
		}
	}
	for _, f := range chain.GetFilters() {
		var m tcprbacv3.RBAC
		if f.GetTypedConfig().UnmarshalTo(&m) == nil {
			add(m.GetRules(), m.GetShadowRules(), m.GetShadowRulesStatPrefix())
		}
	}
	for _, f := range s.HTTP.GetHttpFilters() {
		var m httprbacv3.RBAC
		if f.GetTypedConfig().UnmarshalTo(&m) == nil {
			add(m.GetRules(), m.GetShadowRules(), m.GetShadowRulesStatPrefix())
		}
	}
	return actions
}

// customPrefix marks the rules that say when an external authorizer is asked.
const customPrefix = "istio_ext_authz_"

// action is the name that an AuthorizationPolicy has for it.
func action(r *rbacv3.RBAC) string {
	if r.GetAction() == rbacv3.RBAC_LOG {
		return "AUDIT"
	}
	return r.GetAction().String()
}

// noteAddress says which address the answer takes for the caller.
func (t *tracer) noteAddress(l *leg, peer match.Peer) {
	if l.hop.Direction == mizzen.TraceGateway {
		if t.request.source() == unknownAddress {
			t.note("rules of %s ask for the caller's address; the answer takes %s: name another with --from", l.hop.Workload, unknownAddress)
		}
		return
	}
	t.note("rules of %s ask for addresses, which Git does not know of workloads; the answer takes %s", l.hop.Workload, peer.Source.Addr())
}

// asksAddress tells whether a rule is about the address of the caller.
func asksAddress(r *rbacv3.RBAC) bool {
	for _, p := range r.GetPolicies() {
		if slices.ContainsFunc(p.GetPrincipals(), isAddress) {
			return true
		}
	}
	return false
}

func isAddress(p *rbacv3.Principal) bool {
	switch id := p.GetIdentifier().(type) {
	case *rbacv3.Principal_AndIds:
		return slices.ContainsFunc(id.AndIds.GetIds(), isAddress)
	case *rbacv3.Principal_OrIds:
		return slices.ContainsFunc(id.OrIds.GetIds(), isAddress)
	case *rbacv3.Principal_NotId:
		return isAddress(id.NotId)
	case *rbacv3.Principal_SourceIp, *rbacv3.Principal_RemoteIp, *rbacv3.Principal_DirectRemoteIp:
		return true
	}
	return false
}
