package effect

import "mizzen.dev/mizzen/internal/traffic"

// vantage is a set of proxies that see the same on both sides. Requests from
// them have the same fate, so one is asked for all.
type vantage struct {
	role traffic.Role
	// parts are what decides, before and after; nil on a side without the proxies.
	parts [2]*traffic.Part
	// before and after are set by open.
	before, after *traffic.View
	// callers are their names, sorted.
	callers []string
}

// open returns a copy with what istiod sends. Who is done with it drops it: a
// mesh has many.
func (v *vantage) open() *vantage {
	o := *v
	o.before, o.after = v.parts[0].View(), v.parts[1].View()
	return &o
}

// vantages groups the proxies whose outbound configuration differs. A sidecar
// that is on one side only is no caller whose requests could change; a gateway
// that comes or goes exposes or withdraws what it serves.
func (c *comparison) vantages() []*vantage {
	return c.grouped(func(b, a *traffic.Proxy) (key [2]uint64, counts bool) {
		key = [2]uint64{c.hash.outbound(b).all, c.hash.outbound(a).all}
		sidecar := roleOf(b, a) == traffic.Sidecar
		return key, key[0] != key[1] && (!sidecar || b != nil && a != nil)
	})
}

// grouped returns the proxies of both sides that count, by key.
func (c *comparison) grouped(keyOf func(b, a *traffic.Proxy) (key [2]uint64, counts bool)) []*vantage {
	groups := map[[2]uint64]*vantage{}
	var out []*vantage
	for _, name := range union(c.before.proxies, c.after.proxies) {
		b, a := c.before.proxies[name], c.after.proxies[name]
		key, counts := keyOf(b, a)
		if !counts {
			continue
		}
		g := groups[key]
		if g == nil {
			g = &vantage{role: roleOf(b, a), parts: [2]*traffic.Part{outbound(b), outbound(a)}}
			groups[key] = g
			out = append(out, g)
		}
		g.callers = append(g.callers, name)
	}
	return out
}

func roleOf(b, a *traffic.Proxy) traffic.Role {
	if a != nil {
		return a.Role
	}
	return b.Role
}

// outbound returns what a proxy sends by; nil if there is none.
func outbound(p *traffic.Proxy) *traffic.Part {
	if p == nil {
		return nil
	}
	return p.Outbound
}

// accepted returns what a proxy accepts by.
func accepted(p *traffic.Proxy) *traffic.View {
	if p == nil {
		return (*traffic.Part)(nil).View()
	}
	return p.Inbound.View()
}
