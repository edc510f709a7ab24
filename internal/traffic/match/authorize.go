package match

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
)

// Decision is whether inbound policy lets a request pass.
type Decision string

// The decisions. Undecided means that it depends on what is not known here: an
// external authorizer, or a filter that is not understood.
const (
	Allowed   Decision = "allowed"
	Denied    Decision = "denied"
	Undecided Decision = "undecided"
)

// Verdict is what the filters of an inbound chain say of a request.
type Verdict struct {
	Decision Decision
	// Status is 401 or 403 for a request that is denied; 0 if the connection is
	// closed instead.
	Status int
	// Refused says that no filter gets to see the request: it is denied because
	// Envoy itself answers it with Status, and Router.Route tells how.
	Refused bool
	// ByToken says that the token itself is refused, or that there is none, before
	// any policy is asked.
	ByToken bool
	// Policy is the one that decided, as istiod names it: the one that denies,
	// or the last one that allows. It is "" if no policy applies, and if none
	// of those that allow matches.
	Policy string
	// Why is one sentence without a final stop.
	Why string
	// Asks are the external authorizers that are asked, by cluster. Their
	// answer is not known, so that Decision is Undecided unless another filter
	// denies anyway.
	Asks []string
	// Audited are the AUDIT policies that match.
	Audited []string
	// Shadow is what policies in dry run would have said.
	Shadow []Shadow
	// Tried are the policies that do not match, and why, in the order in which
	// they are tried. Only Explain fills it in.
	Tried []TriedPolicy
	// Unsure names what is not understood although it may decide.
	Unsure []string
}

// Shadow is what the policies of one action would say if they were enforced.
type Shadow struct {
	Denied bool
	Policy string
}

// TriedPolicy is a policy that does not match, and why.
type TriedPolicy struct {
	Policy string
	Why    string
}

// Authorize decides whether the filters of an inbound chain let a request of a
// peer pass: network filters first, then HTTP filters, each in its order. For a
// chain that passes bytes on, only the peer counts.
func Authorize(s *Stack, req Request, peer Peer) Verdict {
	return s.judge(req, peer, false)
}

// Explain decides as Authorize does, and tells why policies do not match.
func Explain(s *Stack, req Request, peer Peer) Verdict {
	return s.judge(req, peer, true)
}

func (s *Stack) judge(req Request, peer Peer, explain bool) Verdict {
	v := judgement{Verdict: Verdict{Decision: Allowed, Why: "no policy applies"}, explain: explain}
	for _, u := range s.unsure {
		v.undecided(u + " is not understood")
	}
	for _, u := range s.Options.Unsure {
		v.undecided(u)
	}
	sub := &subject{req: &req, peer: &peer, mtls: s.TLS != nil && peer.TLS, remote: peer.Source.Addr()}
	if peer.Identity != "" {
		sub.uri = spiffe + peer.Identity
	}
	if v.pass(s.network, sub, nil) && s.HTTP != nil {
		v.request(s, sub)
	}
	return v.Verdict
}

// request judges the request of a subject, first whether Envoy lets a filter
// see it at all.
func (v *judgement) request(s *Stack, sub *subject) {
	if status, why := sub.req.refusal(s.Options.Limits); status != 0 {
		v.refuse(status, why)
		return
	}
	prepared, end := sub.req.prepared(&s.Options)
	if end.status != 0 {
		v.refuse(end.status, end.why)
		return
	}
	sub.req, sub.http, sub.remote = &prepared, true, s.remote(&prepared, sub.peer)
	from := client{sub.peer.Source.Addr(), truthOf(sub.mtls && sub.uri != "")}
	prepared.arrive(&s.Options, from, nil)
	if s.router != nil && s.router.refusesUpgrade(&prepared, from, &s.Options) {
		v.refuse(403, notUpgradable(&prepared))
		return
	}
	if s.tellsCaller {
		prepared.setHeader("x-forwarded-client-cert", Value{Text: madeUp})
	}
	v.pass(s.http, sub, s.overridden)
}

// judgement is a Verdict while it is found.
type judgement struct {
	Verdict
	explain bool
}

// remote returns where a request comes from: the last trusted address of
// X-Forwarded-For, or the peer.
func (s *Stack) remote(req *Request, peer *Peer) netip.Addr {
	skip := int(s.HTTP.GetXffNumTrustedHops())
	if s.HTTP.GetUseRemoteAddress().GetValue() {
		if skip--; skip < 0 {
			return peer.Source.Addr()
		}
	}
	values := req.header("x-forwarded-for")
	if len(values) == 0 {
		return peer.Source.Addr()
	}
	list := strings.Split(strings.Join(values, ","), ",")
	if skip >= len(list) {
		return peer.Source.Addr()
	}
	ip, err := netip.ParseAddr(strings.TrimSpace(list[len(list)-1-skip]))
	if err != nil {
		return peer.Source.Addr()
	}
	return ip.Unmap()
}

// pass runs filters until one denies; it returns false then. What those do that
// are overridden depends on the route.
func (v *judgement) pass(guards []guard, s *subject, overridden map[string]bool) bool {
	for _, g := range guards {
		switch {
		case overridden[g.name]:
			v.undecided("a route has settings of its own for filter " + g.name)
		case g.rbac != nil:
			v.rbac(g.rbac, s)
		case g.jwt != nil:
			v.jwt(&jwtCheck{config: g.jwt, token: s.req.Token}, s)
		default:
			v.external(g, s)
		}
		if v.Decision == Denied {
			return false
		}
	}
	return true
}

func (v *judgement) deny(status int, policy, why string) {
	v.Decision, v.Status, v.Policy, v.Why = Denied, status, policy, why
}

// refuse notes what Envoy itself answers.
func (v *judgement) refuse(status int, why string) {
	v.deny(status, "", why)
	v.Refused = true
}

func (v *judgement) undecided(why string) {
	v.Decision, v.Why = Undecided, why
	v.Unsure = append(v.Unsure, why)
}

// jwt refuses a token that is not accepted, and keeps its claims otherwise.
func (v *judgement) jwt(j *jwtCheck, s *subject) {
	state := j.run(s.req)
	if state != tokenOK {
		v.deny(tokenRefusals[state].status, "", tokenRefusals[state].why)
		v.ByToken = true
		return
	}
	if j.found != nil {
		s.leave(jwtFilter, j.found)
	}
}

// external notes that somebody else is asked, if the rules say so.
func (v *judgement) external(g guard, s *subject) {
	if g.when != nil && !matchMetadata(g.when, s.metadata) {
		return
	}
	v.Asks = append(v.Asks, g.asks)
	v.Decision = Undecided
	v.Why = fmt.Sprintf("the external authorizer %s is asked", g.asks)
}

func (v *judgement) rbac(r *rules, s *subject) {
	if r.unsure {
		v.undecided("an authorization filter has rules of another form")
		return
	}
	v.shadow(r, s)
	if r.enforced == nil {
		return
	}
	policy, matched := r.enforced.first(s)
	if r.enforced.GetAction() == rbacv3.RBAC_LOG {
		if matched == yes {
			v.Audited = append(v.Audited, policy)
		}
		return
	}
	v.enforce(r.enforced, s, policy, matched)
}

// NoneAllows is why a request is denied that no policy allows.
const NoneAllows = "no policy that allows matches"

// enforce takes what the rules of an action other than LOG say.
func (v *judgement) enforce(r *ruleset, s *subject, policy string, matched truth) {
	status := 403
	if !s.http {
		status = 0
	}
	denies := r.GetAction() == rbacv3.RBAC_DENY
	switch {
	case matched == unsure:
		v.undecided(fmt.Sprintf("policy %s has a condition that is not understood", policy))
	case denies && matched == yes:
		v.deny(status, policy, "policy "+policy+" denies it")
	case denies:
		v.tried(r, s)
	case matched == yes:
		v.allow(policy)
	default:
		v.tried(r, s)
		v.deny(status, "", NoneAllows)
	}
}

// allow notes the policy that allows; what was undecided stays so.
func (v *judgement) allow(policy string) {
	if v.Decision == Allowed {
		v.Policy, v.Why = policy, "policy "+policy+" allows it"
	}
}

// shadow evaluates rules in dry run. istiod writes the rules of external
// authorizers so, too: what they match is left in the metadata.
func (v *judgement) shadow(r *rules, s *subject) {
	if r.shadow == nil {
		return
	}
	policy, matched := r.shadow.first(s)
	if matched == yes {
		branch, _ := s.metadata[r.filter].(map[string]any)
		branch = maps.Clone(branch)
		if branch == nil {
			branch = map[string]any{}
		}
		branch[r.shadowPrefix+"shadow_effective_policy_id"] = policy
		s.leave(r.filter, branch)
	}
	if matched == unsure {
		v.undecided(fmt.Sprintf("policy %s has a condition that is not understood", policy))
	}
	if r.shadowPrefix == extAuthzPrefix {
		return
	}
	denied := (matched == yes) != (r.shadow.GetAction() != rbacv3.RBAC_DENY)
	if r.shadow.GetAction() != rbacv3.RBAC_LOG && matched != unsure {
		v.Shadow = append(v.Shadow, Shadow{Denied: denied, Policy: policy})
	}
}

// extAuthzPrefix marks shadow rules that only say whether to ask an external
// authorizer.
const extAuthzPrefix = "istio_ext_authz_"

// tried notes why no policy of a filter matches.
func (v *judgement) tried(r *ruleset, s *subject) {
	if !v.explain {
		return
	}
	for _, name := range r.names {
		v.Tried = append(v.Tried, TriedPolicy{Policy: name, Why: s.whyNot(r.Policies[name])})
	}
}
