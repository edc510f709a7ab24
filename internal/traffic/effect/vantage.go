package effect

import "mizzen.dev/mizzen/internal/traffic"

// vantage is what a set of proxies sees on both sides. Requests from them have
// the same fate, so one is asked for all. It holds what istiod sends: who is
// done with it drops it, since a mesh has many.
type vantage struct {
	*peers
	// parts are what decides, before and after; nil on a side without the proxies.
	parts         [2]*traffic.Part
	before, after *traffic.View
}

// peers are proxies that see the same. Who is one more of them is learned while
// others are compared: their first is known from the beginning, all when every
// proxy was looked at.
type peers struct {
	role traffic.Role
	// names are theirs, or those of the workloads for which they stand, the first
	// by name in front.
	names []string
}

// all is for an effect that these see.
func (p *peers) all() []*peers { return []*peers{p} }

// pair are the proxies that have the same parts on both sides.
type pair struct {
	// before and after is the first of them; nil on a side that lacks them.
	before, after *traffic.Proxy
	peers
}

// pairs groups the proxies of both sides by their parts, which compiles nothing.
func (c *comparison) pairs() []*pair {
	type key struct {
		role        traffic.Role
		was, is     bool
		before, now *traffic.Part
	}
	groups := map[key]*pair{}
	var out []*pair
	for _, name := range union(c.before.proxies, c.after.proxies) {
		b, a := c.before.proxies[name], c.after.proxies[name]
		k := key{roleOf(b, a), b != nil, a != nil, outbound(b), outbound(a)}
		p := groups[k]
		if p == nil {
			p = &pair{before: b, after: a, peers: peers{role: k.role}}
			groups[k] = p
			out = append(out, p)
		}
		if k.role == traffic.Waypoint {
			p.names = append(p.names, c.ambient(name)...)
			continue
		}
		p.names = append(p.names, name)
	}
	return out
}

// open returns what a pair sees.
func (p *pair) open(as *peers) *vantage {
	v := &vantage{peers: as, parts: [2]*traffic.Part{outbound(p.before), outbound(p.after)}}
	moved := p.moved()
	v.before, v.after = reachable(p.before, v.parts[0].View(), moved), reachable(p.after, v.parts[1].View(), moved)
	if past := p.bypasses(); past != nil {
		// What leaves past the sidecar on one side is told as that, and no more.
		v.before, v.after = past[1].Outbound(v.before), past[0].Outbound(v.after)
	}
	return v
}

// bypasses are what both sides lead past a sidecar, nil if that is the same.
func (p *pair) bypasses() []traffic.Bypass {
	if p.before == nil || p.after == nil || p.role != traffic.Sidecar {
		return nil
	}
	b, a := p.before.Workload.Bypass, p.after.Workload.Bypass
	if b.Key() == a.Key() {
		return nil
	}
	return []traffic.Bypass{b, a}
}

// kind tells pairs apart by what they see.
type kind [2]uint64

// join adds a pair to its peers; first tells that it is the first of its kind.
func (p *pair) join(known map[kind]*peers, k kind) (all *peers, first bool) {
	all = known[k]
	if first = all == nil; first {
		all = &peers{role: p.role}
		known[k] = all
	}
	all.names = append(all.names, p.names...)
	return all, first
}

// outbounds compares what proxies send. What istiod sends to a proxy takes long
// to compile and is too much to keep for all of them: a pair is compared as soon
// as it was compiled to see whether it differs.
func (c *comparison) outbounds() {
	moved := c.movedGates()
	callers, senders := map[kind]*peers{}, map[kind]*peers{}
	for _, p := range c.pairs() {
		before, after := c.hash.outbound(p.before), c.hash.outbound(p.after)
		both := p.before != nil && p.after != nil
		if p.rehoused() {
			continue // tunnels tells
		}
		if both && (len(moved) > 0 || before.destinations != after.destinations) {
			if all, first := p.join(callers, kind{before.destinations, after.destinations}); first {
				c.mismatches(p.open(all), moved)
			}
		}
		if p.skips(before, after) {
			continue
		}
		if all, first := p.join(senders, kind{before.all, after.all}); first {
			c.sender(p.open(all))
		}
	}
	c.out.settle()
}

// rehoused tells whether a ztunnel takes the place of a sidecar, or the other way
// round.
func (p *pair) rehoused() bool {
	return p.before != nil && p.after != nil && p.before.Role != p.after.Role
}

// skips tells whether nothing can differ for what a pair sends, or nobody sends
// it on both sides: a sidecar that is on one side only is no caller whose
// requests could change; a gateway that comes or goes exposes or withdraws what
// it serves.
func (p *pair) skips(before, after sums) bool {
	both := p.before != nil && p.after != nil
	return before.all == after.all || p.role.ForWorkload() && !both
}

// sender compares what becomes of requests from one vantage point.
func (c *comparison) sender(v *vantage) {
	x := c.crossing(v)
	c.clusters(x)
	c.routes(x)
	c.connections(x)
	c.egressPolicy(v)
	c.unknown(v)
	if v.role == traffic.Sidecar {
		_, _ = c.sent(v.parts[0]), c.sent(v.parts[1]) // while they are compiled
	}
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
