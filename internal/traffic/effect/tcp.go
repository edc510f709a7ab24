package effect

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// connection is what a proxy does with connections that it does not read as
// HTTP.
type connection struct {
	// host is that of the Service that is addressed, or the server name asked
	// for in TLS, or an address.
	host string
	port uint32
	tls  bool
	// to are the addresses for which alone the rule is, "" for all.
	to   string
	fate fate
	rule traffic.Rule
}

// hostPort is the name of the host as those of virtual hosts are.
func (k *connection) hostPort() string { return fmt.Sprintf("%s:%d", k.host, k.port) }

// connections tells where connections of TCP and TLS go.
func (c *comparison) connections(x *crossing) {
	for _, key := range union(x.was.connections, x.is.connections) {
		b, a := x.was.connections[key], x.is.connections[key]
		if b != nil && a != nil {
			c.connection(x.vantage, b, a)
		} else if x.role != traffic.Waypoint { // waypoints tells who is led through it
			c.connectionOnce(x, b, a)
		}
	}
}

// connectionOnce tells of connections that one side alone has a rule of their
// own for; b or a is nil.
func (c *comparison) connectionOnce(x *crossing, b, a *connection) {
	k, code, here, there := b, mizzen.EffectHostRemoved, x.was, x.is
	if b == nil {
		k, code, here, there = a, mizzen.EffectHostAdded, x.is, x.was
	}
	if at := k.hostPort(); !k.tls && there.requests[at] {
		if here.requests[at] {
			c.detected(x, k, b == nil)
		}
		return // else routes tell that the port is treated otherwise
	}
	other, host := there.taking(k)
	if other == nil {
		c.connectionKnown(x.vantage, k, code)
		return
	}
	// A rule for more names takes them there.
	one, two := *k, *other
	one.host, two.host = host, host
	if b == nil {
		c.connection(x.vantage, two.named(), one.named())
		return
	}
	c.connection(x.vantage, one.named(), two.named())
}

// taking returns the rule that takes connections for whose names another side
// has one, and such a name; nil if there is none.
func (w *ways) taking(k *connection) (found *connection, host string) {
	host = concrete(k.host)
	longest := -1
	for _, key := range sortedKeys(w.connections) {
		other := w.connections[key]
		suffix, wildcard := strings.CutPrefix(other.host, "*")
		if other.tls != k.tls || other.port != k.port || !wildcard && other.host != host || wildcard && !strings.HasSuffix(host, suffix) {
			continue
		}
		if !wildcard {
			return other, host
		}
		if len(suffix) > longest {
			found, longest = other, len(suffix)
		}
	}
	return found, host
}

// concrete is one of the names that a name with an asterisk stands for.
func concrete(host string) string { return strings.Replace(host, "*", "any", 1) }

func connectionsOf(x *index, role traffic.Role) map[string]*connection {
	out := map[string]*connection{}
	listeners := x.Outbound
	if !role.ForWorkload() {
		listeners = x.Inbound
	}
	for _, l := range listeners {
		if l.GetName() == "virtualOutbound" {
			continue // egressPolicy tells of it
		}
		for _, chain := range chains(l) {
			p := tcpProxy(chain)
			if p == nil || role == traffic.Waypoint && servedBy(chain) == "" {
				continue
			}
			for _, found := range x.connectionsOf(l, chain, p) {
				key := connectionKey(found.hostPort(), found.tls, found.to)
				if _, there := out[key]; !there {
					out[key] = found
				}
			}
		}
	}
	return out
}

func (x *index) connectionsOf(l *listenerv3.Listener, chain *listenerv3.FilterChain, p *tcpv3.TcpProxy) []*connection {
	if p.GetCluster() == passthrough || p.GetCluster() == blackHole {
		return nil // what no rule takes: egressPolicy tells of it
	}
	base := connection{fate: x.tcpFate(p), port: l.GetAddress().GetSocketAddress().GetPortValue()}
	base.rule, _ = traffic.RuleOfMetadata(chain.GetMetadata())
	if n, ok := parseCluster(servedBy(chain)); ok {
		port, err := strconv.ParseUint(n.port, 10, 16)
		if err != nil {
			return nil
		}
		base.port = uint32(port)
	}
	base.host, base.to = x.hostAt(addressOf(l.GetAddress()), base.port, base.fate), subnets(chain)
	servers := chain.GetFilterChainMatch().GetServerNames()
	if len(servers) == 0 {
		return []*connection{base.named()}
	}
	var out []*connection
	for _, s := range servers {
		named := base
		named.host, named.tls = s, true
		out = append(out, named.named())
	}
	return out
}

// hostAt names the host whose connections a listener takes: the one that has
// the address. A listener for all addresses, or for that of a pod, is for a host
// without one: the destination, if there is no other such host for the port.
func (x *index) hostAt(address string, port uint32, f fate) string {
	if host := x.side.hosts[address]; host != "" {
		return host
	}
	to := ""
	if len(f.shares) > 0 && f.shares[0].known {
		to = f.shares[0].name.host
	}
	if without := x.side.withoutAddress(port); len(without) == 1 && !slices.Contains(without, to) {
		return without[0]
	}
	return cmp.Or(to, address)
}

// withoutAddress are the hosts that have a port, and no address.
func (s *side) withoutAddress(port uint32) []string {
	if found, ok := s.addressless[port]; ok {
		return found
	}
	var out []string
	for _, host := range sortedKeys(s.Hosts) {
		if len(s.Addresses[host]) == 0 && s.Aliases[host] == "" && slices.Contains(s.Hosts[host], port) {
			out = append(out, host)
		}
	}
	s.addressless[port] = out
	return out
}

// subnets are the addresses for which alone a rule is, "" for all.
func subnets(chain *listenerv3.FilterChain) string {
	var out []string
	for _, r := range chain.GetFilterChainMatch().GetPrefixRanges() {
		out = append(out, fmt.Sprintf("%s/%d", r.GetAddressPrefix(), r.GetPrefixLen().GetValue()))
	}
	return list(out, 3)
}

// named completes the words of the fate, which depend on the host.
func (k connection) named() *connection {
	k.fate.words = k.fate.where(k.host)
	return &k
}

func (x *index) tcpFate(p *tcpv3.TcpProxy) fate {
	f := fate{Outcome: match.Outcome{Kind: match.Forward}, bytes: true}
	add := func(cluster string, percent float64) {
		s := share{destination: x.destination(cluster), percent: percent}
		if s.problem != "" {
			f.refused += percent
		}
		f.shares = append(f.shares, s)
	}
	if p.GetCluster() != "" {
		add(p.GetCluster(), 100)
		return f
	}
	sum := 0.0
	for _, w := range p.GetWeightedClusters().GetClusters() {
		sum += float64(w.GetWeight())
	}
	for _, w := range p.GetWeightedClusters().GetClusters() {
		if sum > 0 {
			add(w.GetName(), 100*float64(w.GetWeight())/sum)
		}
	}
	return f
}

func (k *connection) subject() string { return fmt.Sprintf("%s:%d", shortHost(k.host), k.port) }

func (k *connection) what() string {
	what := "connections"
	if k.tls {
		what = "TLS connections"
	}
	if k.to != "" {
		what += " to " + k.to
	}
	return what
}

// connection tells how the fates of one connection differ.
func (c *comparison) connection(v *vantage, b, a *connection) {
	var f found
	switch {
	case b.fate.refused == 100 && a.fate.refused == 100:
		return
	case a.fate.refused > b.fate.refused:
		f = found{code: mizzen.EffectFails, impact: mizzen.ImpactDanger, message: a.what() + " fail"}
	case a.fate.refused < b.fate.refused:
		f = found{code: mizzen.EffectServed, impact: mizzen.ImpactNotice, message: a.what() + " are served that failed"}
	case !sameDestinations(b.fate, a.fate):
		f = found{code: mizzen.EffectDestination, impact: mizzen.ImpactWarning, message: a.what() + " " + moves(b.fate, a.fate)}
	case !sameShares(b.fate, a.fate):
		f = found{code: mizzen.EffectWeights, impact: mizzen.ImpactNotice, message: "the shares of the destinations change for " + a.what()}
	default:
		return
	}
	c.detour(&f, b, a)
	c.tellConnection(v, f, b, a)
}

// connectionKnown tells of connections that have a rule on one side only. A
// gateway exposes or withdraws them; a sidecar learns or forgets a host.
func (c *comparison) connectionKnown(v *vantage, k *connection, code mizzen.EffectCode) {
	f := found{code: code, impact: mizzen.ImpactInfo, message: "the host becomes known to callers"}
	b, a := &connection{fate: fate{words: unknownTo(v.before)}}, k
	if code == mizzen.EffectHostRemoved {
		f.impact, f.message = mizzen.ImpactWarning, "the host is no longer known to callers"
		b, a = k, &connection{fate: fate{words: unknownTo(v.after)}}
	}
	switch {
	case v.role == traffic.Gateway && code == mizzen.EffectHostAdded:
		f.code, f.impact, f.message = mizzen.EffectExposed, mizzen.ImpactWarning, "the gateway serves "+k.what()
	case v.role == traffic.Gateway:
		f.code, f.impact, f.message = mizzen.EffectWithdrawn, mizzen.ImpactDanger, "the gateway no longer serves "+k.what()
	case k.fate.external() && c.closed(v, code):
		f.code, f.impact, f.message = mizzen.EffectEgressOpened, mizzen.ImpactWarning, "the host outside of the mesh can be reached"
		if code == mizzen.EffectHostRemoved {
			f.code, f.impact, f.message = mizzen.EffectEgressClosed, mizzen.ImpactDanger, "the host outside of the mesh can no longer be reached"
		}
	}
	c.tellConnection(v, f, b, a)
}

// closed tells whether hosts that are not known are refused on the side that
// does not know this one.
func (c *comparison) closed(v *vantage, code mizzen.EffectCode) bool {
	side := v.before
	if code == mizzen.EffectHostRemoved {
		side = v.after
	}
	return egress(side) == blackHole
}

// unknownTo tells what a proxy does with connections to a host that it does not
// know.
func unknownTo(v *traffic.View) string {
	if egress(v) == passthrough {
		return destination{cluster: passthrough}.words("")
	}
	return "refused: the host is not known"
}

func (c *comparison) tellConnection(v *vantage, f found, b, a *connection) {
	k := a
	if k.host == "" {
		k = b
	}
	f.subjects, f.noun, f.namespace, f.from = []string{k.subject()}, "hosts", namespaceOf(k.host), v.all()
	f.before, f.after = telling(b.fate, a.fate, k.host)
	if b.host == "" || a.host == "" {
		f.before, f.after = b.fate.words, a.fate.words
	}
	scheme := "tcp"
	if k.tls {
		scheme = "tls"
	}
	from := v.names[0]
	if v.role == traffic.Gateway {
		from = "outside"
	}
	f.witness = &mizzen.Witness{From: from, Method: "CONNECT", URL: scheme + "://" + concrete(k.subject()), Before: f.before, After: f.after}
	m := &meeting{vantage: v, c: c, before: c.before.index(v.before), after: c.after.index(v.after), host: k.host}
	rule, _ := c.firstChanged(a.rule, b.rule)
	f.cause = m.causeOf(rule, b.fate, a.fate, hints{"weight", "destination", "route", "tcp", "tls"})
	f.scope()
	c.out.add(f)
}

// egressPolicy tells whether workloads may reach hosts that the mesh does not
// know (outboundTrafficPolicy).
func (c *comparison) egressPolicy(v *vantage) {
	if !v.role.ForWorkload() {
		return
	}
	b, a := egress(v.before), egress(v.after)
	if b == a || b == "" || a == "" {
		return
	}
	words := map[string]string{blackHole: "refused", passthrough: "passed on"}
	f := found{
		code: mizzen.EffectEgressOpened, impact: mizzen.ImpactDanger, subject: "hosts outside of the mesh",
		message: "workloads reach every host that the mesh does not know", before: words[b], after: words[a], from: v.all(),
	}
	if a == blackHole {
		f.code, f.message = mizzen.EffectEgressClosed, "workloads no longer reach hosts that the mesh does not know"
	}
	f.witness = &mizzen.Witness{From: v.names[0], Method: "CONNECT", URL: "tcp://unknown.example:443", Before: f.before, After: f.after}
	f.cause = c.oneOf(c.changes.egressPolicies(), namespaceOfWorkload(v.names[0]), hints{"outboundTrafficPolicy", "mesh"})
	c.out.add(f)
}

// egressPolicies are the changed objects that can say what happens to requests
// to hosts that the mesh does not know.
func (c *changes) egressPolicies() []mizzen.Ref {
	out := c.ofKind("Sidecar")
	for _, ref := range c.ofKind("ConfigMap") {
		if ref.Name == "istio" {
			out = append(out, ref)
		}
	}
	return out
}

// egress returns the cluster that takes what nothing else takes.
func egress(v *traffic.View) string {
	for _, l := range v.Outbound {
		if l.GetName() != "virtualOutbound" {
			continue
		}
		for _, chain := range chains(l) {
			if p := tcpProxy(chain); p != nil && (p.GetCluster() == passthrough || p.GetCluster() == blackHole) && chain.GetName() != "virtualOutbound-blackhole" {
				return p.GetCluster()
			}
		}
	}
	return ""
}

func namespaceOfWorkload(name string) string {
	namespace, _, _ := strings.Cut(name, "/")
	return namespace
}
