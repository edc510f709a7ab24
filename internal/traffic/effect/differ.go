package effect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// most is how many effects of one code one rule may have at one host. The
// first requests are the simplest; more would say the same in other words.
const most = 2

// differ notes how two fates of one request differ. A request that fails is
// told once, and nothing else is said of it.
func (m *meeting) differ(b, a fate) {
	if m.refusal(b, a) {
		return
	}
	switch {
	case made(b) || made(a):
	case b.answered() || a.answered():
		m.answers(b, a)
	case !sameDestinations(b, a):
		m.tell(moved(b, a), hints{"destination", "route"})
	case !sameShares(b, a):
		f := found{code: mizzen.EffectWeights, impact: mizzen.ImpactNotice, message: "the shares of the destinations change for %s"}
		m.tell(f, hints{"weight", "route"})
	}
	m.treatment(b, a)
}

// refusal notes a difference in whether a request fails; it returns true if
// that is all there is to say.
func (m *meeting) refusal(b, a fate) bool {
	const some = 0.005
	h := hints{"directResponse", "route", "destination"}
	switch {
	case b.refused == 100 && a.refused == 100:
		if b.Kind == match.Direct && a.Kind == match.Direct && !b.unknown && !a.unknown {
			m.answers(b, a) // a client tells 403 from 503
		}
	case a.refused > b.refused+some:
		m.tell(m.fails(a), h)
	case b.refused > a.refused+some:
		if !m.elsewise(a) {
			m.tell(m.serves(b, a), h)
		}
	default:
		return false
	}
	return true
}

// elsewise tells whether a proxy only leads to another way to write the path,
// which fails as well.
func (m *meeting) elsewise(a fate) bool { return m.mannersOnly && a.Kind == match.Redirect }

// made tells whether an answer is none of the route's destination although it
// has one: an injected failure, or one to a preflight.
func made(f fate) bool { return f.Kind == match.Fault || f.Kind == match.Preflight }

// fails tells of requests that were served. At a gateway a request that no rule
// takes any more is withdrawn.
func (m *meeting) fails(a fate) found {
	f := found{code: mizzen.EffectFails, impact: mizzen.ImpactDanger, message: "%s fail"}
	if a.refused < 100 {
		f.message = number(a.refused) + " %% of %s fail"
	}
	if m.role == traffic.Gateway && !m.mannersOnly && (a.unknown || a.Kind == match.NoRoute) {
		f.code, f.message = mizzen.EffectWithdrawn, "the gateway no longer serves %s"
	}
	return f
}

// serves is the opposite of fails.
func (m *meeting) serves(b, a fate) found {
	f := found{code: mizzen.EffectServed, impact: mizzen.ImpactNotice, message: "%s are served that failed"}
	if a.refused > 0 {
		f.message = "fewer of %s fail"
	}
	switch {
	case a.Kind == match.Redirect:
		f.code, f.message = mizzen.EffectRewrite, "%s are redirected that failed"
	case m.role == traffic.Gateway && !m.mannersOnly && (b.unknown || b.Kind == match.NoRoute):
		f.code, f.impact, f.message = mizzen.EffectExposed, mizzen.ImpactWarning, "the gateway serves %s"+m.supposed()
	}
	return f
}

// supposed says that nobody knows of a gateway, where a Gateway asks for one that
// no object is.
func (m *meeting) supposed() string {
	p := m.c.after.proxies[m.names[0]]
	if m.parts[0] != nil || p == nil || !p.Workload.Elsewhere {
		return ""
	}
	return ", if it is deployed from elsewhere: no workload here has its labels"
}

// answers tells of redirects and direct responses.
func (m *meeting) answers(b, a fate) {
	if b.words == a.words {
		return
	}
	f := found{code: mizzen.EffectRewrite, impact: mizzen.ImpactWarning, message: "%s are answered otherwise"}
	if b.Kind == match.Redirect || a.Kind == match.Redirect {
		f.message = "the redirect of %s changes"
		if b.Kind != a.Kind {
			f.message = "%s are redirected"
			if a.Kind != match.Redirect {
				f.message = "%s are no longer redirected"
			}
		}
	}
	m.tell(f, hints{"redirect", "directResponse", "route"})
}

// trial is a request that was tried, with what was found.
type trial struct {
	request match.Request
	b, a    fate
	effects []found
	hints   []hints
}

func (t *trial) has(code mizzen.EffectCode) bool {
	return slices.ContainsFunc(t.effects, func(f found) bool { return f.code == code })
}

// tell notes an effect of the request that is tried. The message's %s is the
// requests in words. before and after default to the words of the fates.
func (m *meeting) tell(f found, h hints) {
	t := &m.trials[len(m.trials)-1]
	t.effects, t.hints = append(t.effects, f), append(t.hints, h)
}

// report adds what the trials found. It comes last, since only all trials tell
// whether every request of a rule is hit. What browsers may do shows in the
// answers to some requests only: these are told first.
func (m *meeting) report() {
	for _, showing := range []bool{true, false} {
		for i := range m.trials {
			t := &m.trials[i]
			for j, f := range t.effects {
				if shows := f.code != mizzen.EffectCORS || allowance(t.request, t.b) != allowance(t.request, t.a); shows == showing {
					m.add(f, t.request, t.b, t.a, t.hints[j])
				}
			}
		}
	}
}

func (m *meeting) add(f found, r match.Request, b, a fate, h hints) {
	rule, route := m.rule(b, a)
	subjects := m.subjects(r, b, a)
	key := string(f.code) + rule.Ref.String() + string(rule.Route()) + strings.Join(subjects, " ")
	if f.before == "" && f.after == "" {
		f.before, f.after = telling(b, a, m.host)
	}
	twin := key + f.before + "\x00" + f.after
	if m.told[twin] > 0 || m.told[key] >= m.limit(f.code) {
		return
	}
	m.told[twin]++
	m.told[key]++
	f.subjects, f.noun, f.namespace = subjects, "hosts", namespaceOf(m.host)
	if strings.Contains(f.message, "%") {
		f.message = fmt.Sprintf(f.message, m.requestsOf(f.code, r, b, a, route))
	}
	b.words, a.words = m.backendless(b.words, b, m.c.changes.before), m.backendless(a.words, a, m.c.changes.after)
	f.before, f.after = m.backendless(f.before, b, m.c.changes.before), m.backendless(f.after, a, m.c.changes.after)
	f.from = m.all()
	f.cause = m.causeOf(rule, b, a, h)
	f.witness = m.witness(r, b, a)
	f.scope()
	if w := f.witness; w.Before == w.After {
		w.Before, w.After = cmp.Or(f.shown[0], f.before), cmp.Or(f.shown[1], f.after)
	}
	m.found = append(m.found, f)
}

func (m *meeting) limit(code mizzen.EffectCode) int {
	if code < mizzen.EffectTimeout || code >= mizzen.EffectExposed {
		return most
	}
	return 1
}

// subjects are the hosts that an effect is about. At gateways one virtual host
// stands for all hosts with the same rules.
func (m *meeting) subjects(r match.Request, b, a fate) []string {
	if strings.HasSuffix(m.host, clusterDomain) {
		return []string{m.subject(m.host)}
	}
	own := withoutPort(r.Host)
	out := []string{m.subject(m.domain(own, b, a))}
	if b.unknown || a.unknown || !slices.Contains(b.VirtualHost.GetDomains(), own) || !slices.Contains(a.VirtualHost.GetDomains(), own) {
		return out
	}
	for _, d := range b.VirtualHost.GetDomains() {
		if slices.Contains(a.VirtualHost.GetDomains(), d) && !strings.HasSuffix(d, ".") && !isAddress(d) {
			out = append(out, m.subject(withoutPort(d)))
		}
	}
	return distinct(out)
}

// domain is the name by which a reader knows a host: its own, if either side has
// rules for it, else the one with an asterisk that takes it.
func (m *meeting) domain(host string, fates ...fate) string {
	found := host
	for _, f := range fates {
		if f.unknown {
			continue
		}
		for _, d := range f.VirtualHost.GetDomains() {
			if d = withoutPort(d); d == host {
				return host
			}
			if suffix, wildcard := strings.CutPrefix(d, "*"); wildcard && suffix != "" && strings.HasSuffix(host, suffix) {
				found = d
			}
		}
	}
	return found
}

func (m *meeting) subject(host string) string {
	if m.port == "" {
		return shortHost(host)
	}
	return shortHost(host) + ":" + m.port
}

// rule returns what wrote the difference: the rule that takes the request
// after, or before, whichever changed; and the route that shows which requests
// are meant.
func (m *meeting) rule(b, a fate) (traffic.Rule, *routev3.Route) {
	after, _ := traffic.RuleOfRoute(a.Route)
	before, _ := traffic.RuleOfRoute(b.Route)
	for _, side := range []struct {
		rule  traffic.Rule
		route *routev3.Route
	}{{after, a.Route}, {before, b.Route}} {
		if m.c.changes.within(side.rule) {
			return side.rule, side.route
		}
	}
	rule, _ := m.c.firstChanged(after, before)
	if rule == before && rule != after {
		return before, b.Route
	}
	if a.Route == nil {
		return before, b.Route
	}
	return after, a.Route
}

// within tells whether a field of the rule itself differs.
func (c *changes) within(rule traffic.Rule) bool {
	if rule.Ref.Kind == "" {
		return false
	}
	return slices.ContainsFunc(c.fields[rule.Ref], func(p mizzen.Path) bool {
		return p == "" || below(p, rule.Route()) && rule.Route() != ""
	})
}

// requestsOf tells which requests are meant: those that the route takes, with
// "some" if others of them are not hit.
func (m *meeting) requestsOf(code mizzen.EffectCode, r match.Request, b, a fate, route *routev3.Route) string {
	words := conditions(route.GetMatch())
	for _, other := range []*routev3.Route{a.Route, b.Route} {
		if w := conditions(other.GetMatch()); words == "" && w != "" {
			words, route = w, other
		}
	}
	some := ""
	if m.spares(code, r.Host, route) {
		some = "some "
	}
	switch {
	case words != "":
		return some + "requests " + words
	case m.role == traffic.Gateway:
		return some + "requests for " + m.domain(withoutPort(shortHost(r.Host)), b, a) + "/*"
	case some != "":
		return "some requests"
	case notFirst(b) || notFirst(a):
		return "all other requests"
	}
	return "all requests"
}

// spares tells whether a request that a route takes does not have the effect.
func (m *meeting) spares(code mizzen.EffectCode, host string, route *routev3.Route) bool {
	return slices.ContainsFunc(m.trials, func(t trial) bool {
		taken := t.b.Route == route || t.a.Route == route
		preflight := t.b.Kind == match.Preflight || t.a.Kind == match.Preflight
		return taken && !preflight && t.request.Host == host && !t.has(code)
	})
}

// notFirst tells whether other rules are tried before the one that decides.
func notFirst(f fate) bool {
	return f.VirtualHost != nil && len(f.VirtualHost.Routes) > 0 && f.VirtualHost.Routes[0] != f.Route
}

// causeOf names the object and line. Where the rule did not change, what it
// leads to did: the DestinationRule, the Service or the workloads.
func (m *meeting) causeOf(rule traffic.Rule, b, a fate, h hints) cause {
	if rule.Ref.Kind != "" && m.c.changes.changed(rule.Ref) {
		return m.c.cause(rule, h)
	}
	if found, ok := m.behind(b, a); ok {
		return found
	}
	if m.mannersDiffer() {
		return m.c.mannersCause(m.names[0])
	}
	if rule.Ref.Kind != "" && m.c.written(rule.Ref) && len(m.c.changes.refs) == 0 {
		return m.c.cause(rule, h)
	}
	// The rule is as before, or one that istiod made of another object, with a
	// name of its own.
	return m.c.oneOf(m.c.changes.ofKinds("HTTPRoute", "GRPCRoute", "Ingress", "TCPRoute", "TLSRoute", "ReferenceGrant", "Gateway", "EnvoyFilter", "IngressClass", "Service"), rule.Ref.Namespace, h)
}

// behind looks for the cause among what the destinations are made of.
func (m *meeting) behind(b, a fate) (cause, bool) {
	c := m.c
	hosts := map[string]bool{m.host: true}
	var rules []traffic.Rule
	for _, f := range []struct {
		*index
		fate
	}{{m.after, a}, {m.before, b}} {
		for _, s := range f.shares {
			hosts[s.name.host] = true
			if cl := f.Clusters[s.cluster]; cl != nil {
				if rule, ok := traffic.RuleOfCluster(cl); ok {
					rules = append(rules, rule)
				}
			}
		}
	}
	if rule, ok := c.firstChanged(rules...); ok && c.changes.changed(rule.Ref) {
		return c.cause(rule, hints{"subsets", "labels"}), true
	}
	for _, host := range sortedKeys(hosts) {
		if found, ok := c.service(host); ok {
			return found, true
		}
		if found, ok := c.destinationRule(host, hints{"subsets", "labels"}); ok {
			return found, true
		}
	}
	return c.moved(b, a)
}
