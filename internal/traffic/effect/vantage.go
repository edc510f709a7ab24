package effect

import (
	"cmp"
	"slices"

	"mizzen.dev/mizzen/internal/traffic"
)

// vantage is a set of proxies that see the same on both sides. Requests from
// them have the same fate, so one is asked for all.
type vantage struct {
	role          traffic.Role
	before, after *traffic.View
	// callers are their names, sorted.
	callers []string
}

var nothing = &traffic.View{}

// vantages groups the proxies whose outbound configuration differs. A sidecar
// that is on one side only is no caller whose requests could change; a gateway
// that comes or goes exposes or withdraws what it serves.
func (c *comparison) vantages() []*vantage {
	if c.groups != nil {
		return *c.groups
	}
	type key struct{ before, after uint64 }
	groups := map[key]*vantage{}
	for _, name := range union(c.before.proxies, c.after.proxies) {
		b, a := c.before.proxies[name], c.after.proxies[name]
		k := key{c.hash.outbound(b), c.hash.outbound(a)}
		if k.before == k.after {
			continue
		}
		role := roleOf(b, a)
		if role.ForWorkload() && (b == nil || a == nil) {
			continue
		}
		g := groups[k]
		if g == nil {
			g = &vantage{role: role, before: viewOf(b), after: viewOf(a)}
			groups[k] = g
		}
		if role == traffic.Waypoint {
			g.callers = append(g.callers, c.ambient(name)...)
			continue
		}
		g.callers = append(g.callers, name)
	}
	out := make([]*vantage, 0, len(groups))
	for _, g := range groups {
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b *vantage) int { return cmp.Compare(a.callers[0], b.callers[0]) })
	c.groups = &out
	return out
}

func roleOf(b, a *traffic.Proxy) traffic.Role {
	if a != nil {
		return a.Role
	}
	return b.Role
}

func viewOf(p *traffic.Proxy) *traffic.View {
	if p == nil || p.View == nil {
		return nothing
	}
	return p.View()
}
