package match

import (
	"cmp"
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// DefaultMaxCandidates is how many candidates are returned if nothing else is
// asked for.
const DefaultMaxCandidates = 20_000

// CandidateOptions bound and shape candidates. The zero value is useful.
type CandidateOptions struct {
	// Max is how many there are at most; 0 means DefaultMaxCandidates. What is
	// left out are combinations, the less telling ones first.
	Max int
	// Base is what candidates are variations of. The zero value stands for GET /
	// without an identity.
	Base Call
	// AnyCaller leaves who calls, and from where, as in Base: whoever asks does so
	// for each of Identities.
	AnyCaller bool
	// TrustDomain is that of invented identities; "" means cluster.local.
	TrustDomain string
}

func (o CandidateOptions) filled() CandidateOptions {
	o.Max = cmp.Or(o.Max, DefaultMaxCandidates)
	o.TrustDomain = cmp.Or(o.TrustDomain, "cluster.local")
	r := &o.Base.Request
	r.Method, r.Path, r.Host = cmp.Or(r.Method, "GET"), cmp.Or(r.Path, "/"), cmp.Or(r.Host, "unknown.example.org")
	return o
}

// collection keeps calls that differ, up to a bound.
type collection struct {
	max  int
	held map[string]Call
	// cut tells that something was left out.
	cut bool
}

func (c *collection) add(call Call) {
	key := call.key()
	if _, known := c.held[key]; known {
		return
	}
	if len(c.held) >= c.max {
		c.cut = true
		return
	}
	c.held[key] = call
}

// full tells whether nothing more is taken. Whoever asks has more to add.
func (c *collection) full() bool {
	c.cut = c.cut || len(c.held) >= c.max
	return len(c.held) >= c.max
}

// sorted returns the calls in an order that does not depend on how they were
// found.
func (c *collection) sorted() []Call {
	keys := make([]string, 0, len(c.held))
	for k := range c.held {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	out := make([]Call, len(keys))
	for i, k := range keys {
		out[i] = c.held[k]
	}
	return out
}

// Candidates returns requests that tell route configurations apart: for every
// route of every one of them a request that satisfies it, one for each of its
// conditions that misses this alone, and, host by host, every route's request
// with the single conditions of every other route. They are sorted, and no two
// are equal. all is false if the bound was reached, so that some may be left out.
func Candidates(o CandidateOptions, configurations ...*routev3.RouteConfiguration) (requests []Request, all bool) {
	o = o.filled()
	found := &collection{max: o.Max, held: map[string]Call{}}
	hosts := groupByHost(configurations)
	steps := []func(*collection, CandidateOptions, hostRules){addSatisfying, addDomains, addMissing, addOrigins, addPairs}
	for _, step := range steps {
		for _, h := range hosts {
			if !found.full() {
				step(found, o, h)
			}
		}
	}
	found.add(o.Base)
	calls := found.sorted()
	out := make([]Request, len(calls))
	for i, c := range calls {
		out[i] = c.Request
	}
	return out, !found.cut
}

// hostRules are the routes of all configurations for one host.
type hostRules struct {
	host    string
	domains []string
	tls     bool
	routes  []rule
}

// rule is a route and what it asks for.
type rule struct {
	route      *routev3.Route
	router     *Router
	host       *routev3.VirtualHost
	conditions []Condition
}

// groupByHost joins the virtual hosts that begin with the same domain, sorted
// by it. Routes that are in several configurations alike count once.
func groupByHost(configurations []*routev3.RouteConfiguration) []hostRules {
	byHost := map[string]*hostRules{}
	for _, rc := range configurations {
		router := NewRouter(rc)
		for _, vh := range rc.GetVirtualHosts() {
			if len(vh.Domains) == 0 {
				continue
			}
			host := hostsFor(vh.Domains[0])[0]
			g := byHost[host]
			if g == nil {
				g = &hostRules{host: host}
				byHost[host] = g
			}
			g.domains = append(g.domains, vh.Domains...)
			g.tls = g.tls || vh.RequireTls != routev3.VirtualHost_NONE
			for _, r := range vh.Routes {
				g.routes = append(g.routes, rule{r, router, vh, Conditions(r.Match)})
			}
		}
	}
	out := make([]hostRules, 0, len(byHost))
	for _, g := range byHost {
		slices.Sort(g.domains)
		g.domains = slices.Compact(g.domains)
		for i := range g.routes {
			g.preferKnownHosts(g.routes[i])
		}
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b hostRules) int { return cmp.Compare(a.host, b.host) })
	return out
}

// preferKnownHosts puts hosts that lead to these rules before those that a
// condition on the host would invent.
func (g *hostRules) preferKnownHosts(r rule) {
	for i, c := range r.conditions {
		if c.Part != PartHost {
			continue
		}
		known := Condition{Part: PartHost}
		for _, h := range r.route.GetMatch().GetHeaders() {
			if partOf(strings.ToLower(h.GetName())) != PartHost {
				continue
			}
			for _, d := range g.domains {
				host := hostsFor(d)[0]
				known.add(Value{Text: host}, matchValues(h, []string{host}))
			}
		}
		known.True = append(known.True, c.True...)
		known.False = append(known.False, c.False...)
		r.conditions[i] = known
	}
}

// hostsFor returns hosts that a domain takes, and near misses after them.
func hostsFor(domain string) []string {
	switch {
	case domain == "*":
		return []string{"unknown.example.org"}
	case strings.HasPrefix(domain, "*"):
		rest := domain[1:]
		return []string{"x" + rest, "x.y" + rest, cmp.Or(strings.TrimPrefix(rest, "."), "x")}
	case strings.HasSuffix(domain, "*"):
		rest := domain[:len(domain)-1]
		return []string{rest + "x", cmp.Or(rest, "x")}
	}
	return []string{domain, domain + "x"}
}

// at returns the base call for a host.
func at(o CandidateOptions, host string) Call {
	c := o.Base
	c.Request.Host = host
	return c
}

func addSatisfying(found *collection, o CandidateOptions, h hostRules) {
	for _, r := range h.routes {
		if s := allOf(r.conditions).solve(true); len(s) > 0 {
			found.add(s[0].apply(at(o, h.host)))
		}
	}
}

func addDomains(found *collection, o CandidateOptions, h hostRules) {
	for _, d := range h.domains {
		for _, host := range hostsFor(d) {
			found.add(at(o, host))
		}
	}
	if h.tls {
		c := at(o, h.host)
		c.Request.Scheme = "https"
		found.add(c)
	}
}

func addMissing(found *collection, o CandidateOptions, h hostRules) {
	for _, r := range h.routes {
		f := allOf(r.conditions)
		for _, s := range f.solve(true) {
			found.add(s.apply(at(o, h.host)))
		}
		for _, s := range f.solve(false) {
			found.add(s.apply(at(o, h.host)))
		}
	}
}

// addOrigins adds requests of browsers to routes with a CORS policy.
func addOrigins(found *collection, o CandidateOptions, h hostRules) {
	for _, r := range h.routes {
		s := allOf(r.conditions).solve(true)
		p := r.router.plan(r.host, r.route)
		if len(s) == 0 || p.treatment.CORS == nil {
			continue
		}
		origins := []string{"https://zz-none.example"}
		for _, m := range p.origins {
			origins = append(origins, tries(m)...)
		}
		for _, origin := range origins {
			// "*" stands for all origins, and is none that a browser has.
			if !sendable(PartHeader, origin) || origin == "" || strings.HasPrefix(origin, "*") {
				continue
			}
			simple := s[0].apply(at(o, h.host))
			simple.Request.setHeader("origin", Value{Text: origin})
			found.add(simple)
			preflight := s[0].apply(at(o, h.host))
			preflight.Request.Method = "OPTIONS"
			preflight.Request.setHeader("origin", Value{Text: origin})
			preflight.Request.setHeader("access-control-request-method", Value{Text: "PUT"})
			found.add(preflight)
		}
	}
}

// addPairs crosses every route's request with the single conditions of the
// other routes of its host.
func addPairs(found *collection, o CandidateOptions, h hostRules) {
	for i, r := range h.routes {
		base := allOf(r.conditions).solve(true)
		if len(base) == 0 {
			continue
		}
		for k, other := range h.routes {
			for _, c := range other.conditions {
				if i == k || len(c.True) == 0 {
					continue
				}
				if found.full() {
					return
				}
				with := slices.Concat(base[0], assignment{{c.Part, c.Name, c.True[0]}})
				found.add(with.apply(at(o, h.host)))
			}
		}
	}
}
