package effect

import (
	"cmp"
	"fmt"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// ways are where requests and connections enter a proxy on one side.
type ways struct {
	*index
	entries     map[string]*entry
	connections map[string]*connection
	// requests has the hosts, with their port, for whose requests there are
	// rules at a sidecar.
	requests map[string]bool
}

// crossing is a vantage point with the ways of both sides.
type crossing struct {
	*vantage
	was, is *ways
	pairs   []hostPair
}

// hostPair is a virtual host of both sides at one entry; what one of them lacks
// is nil. key names the entry.
type hostPair struct {
	key, name     string
	from, to      *entry
	before, after *routev3.VirtualHost
}

func (c *comparison) crossing(v *vantage) *crossing {
	x := &crossing{vantage: v, was: waysOf(c.before.index(v.before), v.role), is: waysOf(c.after.index(v.after), v.role)}
	var once [2][]hostPair
	for _, key := range union(x.was.entries, x.is.entries) {
		b, a := x.was.entries[key], x.is.entries[key]
		hostsB, hostsA := b.hosts(v.role), a.hosts(v.role)
		for _, name := range union(hostsB, hostsA) {
			p := hostPair{key: key, name: name, from: b, to: a, before: hostsB[name], after: hostsA[name]}
			switch {
			case v.role == traffic.Sidecar && p.after == nil:
				once[0] = append(once[0], p)
			case v.role == traffic.Sidecar && p.before == nil:
				once[1] = append(once[1], p)
			default:
				x.pairs = append(x.pairs, p)
			}
			if v.role == traffic.Sidecar {
				x.was.requests[name] = x.was.requests[name] || p.before != nil
				x.is.requests[name] = x.is.requests[name] || p.after != nil
			}
		}
	}
	x.pairs = append(x.pairs, joined(once[0], once[1])...)
	return x
}

// joined pairs the virtual hosts that each side has at another entry: istiod
// gives a port whose protocol is to be detected routes of its own.
func joined(before, after []hostPair) []hostPair {
	later := map[string]int{}
	for i, p := range after {
		if _, there := later[p.name]; !there {
			later[p.name] = i
		}
	}
	taken := map[int]bool{}
	out := before
	for n := range out {
		if i, there := later[out[n].name]; there && !taken[i] {
			taken[i] = true
			out[n].key, out[n].to, out[n].after = out[n].key+" "+after[i].key, after[i].to, after[i].after
		}
	}
	for i, p := range after {
		if !taken[i] {
			out = append(out, p)
		}
	}
	return out
}

func waysOf(x *index, role traffic.Role) *ways {
	return &ways{index: x, entries: entries(x.View, role), connections: connectionsOf(x, role), requests: map[string]bool{}}
}

// turned tells whether the port of a host is read in another way on each side:
// as HTTP, as bytes, or as a connection shows.
func (x *crossing) turned(n clusterName) bool {
	at := n.host + ":" + n.port
	return x.was.requests[at] != x.is.requests[at] || x.was.bytes(at) != x.is.bytes(at)
}

// bytes tells whether connections to a port of a host are not read.
func (w *ways) bytes(at string) bool { return w.connections[connectionKey(at, false, "")] != nil }

func connectionKey(hostPort string, tls bool, to string) string {
	return fmt.Sprintf("%s %v %s", hostPort, tls, to)
}

// crossed returns what the side without rules for requests does with
// connections to the host, nil if it knows of none.
func (m *meeting) crossed(after bool) *connection {
	if m.role != traffic.Sidecar {
		return nil
	}
	w := m.x.was
	if after {
		w = m.x.is
	}
	return w.connections[connectionKey(m.host+":"+m.port, false, "")]
}

// recast tells that a port is read as HTTP on one side alone, and what comes of
// it. Of all requests that the rules tell apart the worst is told.
func (m *meeting) recast(vb, va *routev3.VirtualHost, k *connection) {
	defer m.report()
	worst := 0
	for _, r := range m.requests(vb, va) {
		t := trial{request: r, b: k.fate, a: k.fate}
		if vb != nil {
			t.b = m.before.fate(m.from, m.host, r)
		} else {
			t.a = m.after.fate(m.to, m.host, r)
		}
		f, rank := recasting(vb != nil, t.b, t.a)
		f.shown = [2]string{t.b.words + ", as " + cmp.Or(f.before, "HTTP"), t.a.words + ", as " + cmp.Or(f.after, "TCP")}
		if rank < worst {
			continue
		}
		if rank > worst {
			worst, m.trials = rank, nil
		}
		t.effects, t.hints = []found{f}, []hints{{"appProtocol", "ports", "protocol"}}
		m.trials = append(m.trials, t)
	}
	m.c.recast(k.fate)
}

// recasting says what another protocol means to a request, and how bad it is.
func recasting(toTCP bool, b, a fate) (f found, rank int) {
	since := ": the port is now treated as HTTP, and rules for requests apply"
	f = found{code: mizzen.EffectRoutePolicy, impact: mizzen.ImpactWarning, message: "the port is now treated as HTTP: rules for requests apply, and connections that speak anything else fail", before: "TCP", after: "HTTP"}
	if toTCP {
		since = ": the port is now treated as TCP, and no rule for requests applies"
		f.message, f.before, f.after = "the port is now treated as TCP: routes, timeouts, retries and rules about requests no longer apply", "HTTP", "TCP"
	}
	switch {
	case a.refused > b.refused:
		return found{code: mizzen.EffectFails, impact: mizzen.ImpactDanger, message: "%s fail" + since}, 4
	case b.refused == 100 && a.refused < 100:
		return found{code: mizzen.EffectServed, impact: mizzen.ImpactWarning, message: "%s are served that failed" + since}, 2
	case !sameDestinations(b, a):
		return found{code: mizzen.EffectDestination, impact: mizzen.ImpactWarning, message: "%s " + moves(b, a) + since}, 3
	case !sameShares(b, a):
		return found{code: mizzen.EffectWeights, impact: mizzen.ImpactWarning, message: "the shares of the destinations change for %s" + since}, 2
	}
	return f, 1
}

// recast notes the ports of workloads at which callers' effects tell that
// another protocol is read.
func (c *comparison) recast(f fate) {
	for _, s := range f.shares {
		for _, p := range s.places {
			c.recasts[at{p.name, p.port}] = true
		}
	}
}

// detected tells that a port was read as HTTP, and what a connection speaks now
// decides, or the other way round.
func (c *comparison) detected(x *crossing, k *connection, now bool) {
	f := found{
		code: mizzen.EffectRoutePolicy, impact: mizzen.ImpactNotice, subjects: []string{k.subject()}, noun: "hosts", namespace: namespaceOf(k.host),
		message: "what is not HTTP fails at the port, which was told from each connection", before: "HTTP or TCP", after: "HTTP", from: x.all(),
	}
	if now {
		f.message = "what is not HTTP passes at the port, too: the protocol is told from each connection"
		f.before, f.after = f.after, f.before
	}
	f.cause, _ = c.service(k.host)
	c.out.add(f)
	c.recast(k.fate)
}

// protocol tells of a port of a workload that begins or ceases to be read as
// HTTP, unless the effects of callers do.
func (u *residue) protocol(before, after *listenerv3.FilterChain) {
	port := cmpPort(after, before)
	workload := u.from.names[0]
	if !u.inbound || u.c.recasts[at{workload, port}] {
		return
	}
	f := found{
		code: mizzen.EffectRoutePolicy, impact: mizzen.ImpactWarning, subjects: []string{workload}, namespace: namespaceOfWorkload(workload),
		message: "requests at " + portWords(port) + " are now treated as HTTP: rules for requests apply, and what speaks anything else fails", before: "TCP", after: "HTTP",
	}
	if httpManager(after) == nil {
		f.message = "requests at " + portWords(port) + " are now treated as TCP: no rule for requests applies any more"
		f.before, f.after = f.after, f.before
	}
	f.cause = u.cause()
	u.c.out.add(f)
}

func cmpPort(chains ...*listenerv3.FilterChain) uint32 {
	for _, chain := range chains {
		if port := chain.GetFilterChainMatch().GetDestinationPort().GetValue(); port != 0 {
			return port
		}
	}
	return others
}
