package effect

import (
	"fmt"
	"slices"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// door is one way into a workload, on both sides: a port, with the mesh's mTLS
// or without TLS. Either may be nil if one of the sides has no such way.
type door struct {
	port           uint32
	secured, plain [2]*match.Stack
	// host is one that the door serves: anyHost at a workload.
	host string
	// waypoint: only who is of the ambient mesh comes this way.
	waypoint bool
	// key is equal for doors whose filters decide alike.
	key string
}

// http tells whether requests are looked at on either side, not only
// connections.
func (d door) http() bool {
	return slices.ContainsFunc(slices.Concat(d.secured[:], d.plain[:]), func(s *match.Stack) bool { return s != nil && s.HTTP != nil })
}

// doors returns the ways into a workload whose policies differ.
func (c *comparison) doors(b, a *traffic.Proxy) []door {
	var out []door
	lb, la := inbound(b), inbound(a)
	if lb == nil || la == nil {
		return c.gatewayDoors(b, a)
	}
	ports := append(inboundPorts(lb), inboundPorts(la)...)
	slices.Sort(ports)
	for _, port := range slices.Compact(ports) {
		x, y := gateOf(b, port), gateOf(a, port)
		d := door{port: port, host: anyHost}
		d.secured, d.key = c.pair(x.secured, y.secured)
		var key string
		if d.plain, key = c.pair(x.plain, y.plain); d.key+key != "" {
			d.key = fmt.Sprintf("%d %s|%s", port, d.key, key)
			out = append(out, d)
		}
	}
	return out
}

// gatewayDoors returns those of a gateway: its filter chains with the same
// match on both sides. Clients show no certificate of the mesh.
func (c *comparison) gatewayDoors(b, a *traffic.Proxy) []door {
	of := func(p *traffic.Proxy) map[string]*listenerv3.FilterChain {
		out := map[string]*listenerv3.FilterChain{}
		for _, l := range accepted(p).Inbound {
			port := l.GetAddress().GetSocketAddress().GetPortValue()
			for _, chain := range chains(l) {
				out[fmt.Sprintf("%d %v %s", port, chain.GetFilterChainMatch().GetServerNames(), waypointChain(p, chain))] = chain
			}
		}
		return out
	}
	before, after := of(b), of(a)
	var out []door
	for _, key := range sortedKeys(after) {
		var d door
		if _, err := fmt.Sscanf(key, "%d", &d.port); err != nil {
			continue
		}
		if before[key] == nil {
			continue
		}
		if d.plain, d.key = c.pair(before[key], after[key]); d.key != "" {
			d.key = fmt.Sprintf("%d %s", d.port, d.key)
			d.host = servedHost(d.plain[1], accepted(a))
			out = append(out, d)
		}
	}
	return out
}

// servedHost returns a host for which a gateway has rules, so that a witness
// gets beyond them; anyHost if it takes every host or none.
func servedHost(s *match.Stack, v *traffic.View) string {
	if s.HTTP == nil {
		return anyHost
	}
	for _, vh := range s.Routes(v).GetVirtualHosts() {
		for _, domain := range vh.GetDomains() {
			if !fallback(vh) && !strings.ContainsAny(domain, "*:") && !isAddress(domain) {
				return domain
			}
		}
	}
	return anyHost
}

func waypointChain(p *traffic.Proxy, chain *listenerv3.FilterChain) string {
	if p.Role == traffic.Waypoint {
		return chain.GetName()
	}
	return ""
}

// pair opens a filter chain of both sides. The key is "" if their policies are
// the same, or if one of the sides has none: that is told as mTLS.
func (c *comparison) pair(b, a *listenerv3.FilterChain) (pair [2]*match.Stack, key string) {
	if b == nil || a == nil {
		return pair, ""
	}
	x, y := c.policies(b), c.policies(a)
	before, err := match.Open(b)
	if err != nil {
		return pair, ""
	}
	after, err := match.Open(a)
	if err != nil {
		return pair, ""
	}
	if x == y && (x == "" || sameManners(before.Options, after.Options)) {
		return [2]*match.Stack{before, after}, ""
	}
	return [2]*match.Stack{before, after}, fmt.Sprint(x, "-", y, before.Options, after.Options)
}

// policies identifies the filters of a chain that let pass or refuse.
func (c *comparison) policies(chain *listenerv3.FilterChain) string {
	var b strings.Builder
	for _, f := range chain.GetFilters() {
		if decides(f.GetTypedConfig().GetTypeUrl()) {
			fmt.Fprintf(&b, "%x,", c.hash.of(f))
		}
	}
	for _, f := range httpManager(chain).GetHttpFilters() {
		if decides(f.GetTypedConfig().GetTypeUrl()) {
			fmt.Fprintf(&b, "%x,", c.hash.of(f))
		}
	}
	return b.String()
}

func decides(typeURL string) bool {
	// Policies may ask for what a token says.
	return strings.HasSuffix(typeURL, ".RBAC") || strings.HasSuffix(typeURL, ".ExtAuthz") || strings.HasSuffix(typeURL, ".JwtAuthentication")
}
