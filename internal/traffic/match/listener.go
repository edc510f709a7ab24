package match

import (
	"fmt"
	"net/netip"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"mizzen.dev/mizzen/internal/traffic"
)

// Listener returns the outbound listener of a sidecar that takes a connection
// to a destination, and why, as use_original_dst chooses: the listener of this
// address and port, else the one of all addresses of this port, else the
// listener that intercepts itself, whose filter chain passes the connection on
// or drops it. It returns nil if the view intercepts nothing.
func Listener(view *traffic.View, ip netip.Addr, port uint16) (l *listenerv3.Listener, why string) {
	ip = ip.Unmap()
	wanted, every := netip.AddrPortFrom(ip, port), netip.AddrPortFrom(netip.IPv4Unspecified(), port)
	if ip.Is6() {
		every = netip.AddrPortFrom(netip.IPv6Unspecified(), port)
	}
	if l := bound(view.Outbound, wanted); l != nil {
		return l, fmt.Sprintf("listener %s is for %s", l.Name, wanted)
	}
	if l := bound(view.Outbound, every); l != nil {
		return l, fmt.Sprintf("listener %s is for every address of port %d", l.Name, port)
	}
	for _, l := range view.Outbound {
		if l.GetUseOriginalDst().GetValue() {
			return l, fmt.Sprintf("no listener is for %s, so that %s keeps it", wanted, l.Name)
		}
	}
	return nil, "the proxy intercepts no outbound connections"
}

// bound returns the first listener with an address, other than the one that
// intercepts.
func bound(listeners []*listenerv3.Listener, address netip.AddrPort) *listenerv3.Listener {
	for _, l := range listeners {
		if !l.GetUseOriginalDst().GetValue() && slices.Contains(addresses(l), address) {
			return l
		}
	}
	return nil
}

// addresses returns the TCP addresses of a listener.
func addresses(l *listenerv3.Listener) []netip.AddrPort {
	all := []*corev3.Address{l.GetAddress()}
	for _, a := range l.GetAdditionalAddresses() {
		all = append(all, a.GetAddress())
	}
	var out []netip.AddrPort
	for _, a := range all {
		s := a.GetSocketAddress()
		ip, err := netip.ParseAddr(s.GetAddress())
		if err == nil && s.GetProtocol() == corev3.SocketAddress_TCP {
			out = append(out, netip.AddrPortFrom(ip.Unmap(), uint16(s.GetPortValue())))
		}
	}
	return out
}

// Chain returns the filter chain that takes a connection, and why. Envoy
// narrows the chains down by one criterion after the other, keeps the most
// specific value of each, and never goes back; if none is left, the default
// filter chain takes the connection. Nil means that Envoy closes it.
func Chain(l *listenerv3.Listener, c Connection) (chain *listenerv3.FilterChain, why string) {
	c = seen(l, c)
	if l.GetFilterChainMatcher() != nil {
		return chainByMatcher(l, c)
	}
	left := l.GetFilterChains()
	because := "every chain takes it"
	for _, criterion := range criteria {
		best, reason := criterion.narrow(left, c)
		if reason != "" {
			because = reason
		}
		left = best
		if len(left) == 0 {
			return fallback(l, because)
		}
	}
	return left[0], because
}

func fallback(l *listenerv3.Listener, because string) (*listenerv3.FilterChain, string) {
	if d := l.GetDefaultFilterChain(); d != nil {
		return d, because + ", so that the default chain takes it"
	}
	return nil, because + ", and there is no default chain: the connection is closed"
}

// criterion is one step of the choice of a filter chain.
type criterion struct {
	name string
	// rank says how specifically a chain matches a connection by this
	// criterion: 0 if it does not match, 1 if it does not ask, more for what is
	// more specific.
	rank func(m *listenerv3.FilterChainMatch, c Connection) int
	// value is what the connection has, in words.
	value func(c Connection) string
}

// criteria are in Envoy's order.
var criteria = []criterion{
	{"destination port", func(m *listenerv3.FilterChainMatch, c Connection) int {
		return exactly(m.GetDestinationPort() != nil, m.GetDestinationPort().GetValue() == uint32(c.Destination.Port()))
	}, func(c Connection) string { return fmt.Sprint(c.Destination.Port()) }},
	{"destination address", func(m *listenerv3.FilterChainMatch, c Connection) int {
		return longest(m.GetPrefixRanges(), c.Destination.Addr())
	}, func(c Connection) string { return c.Destination.Addr().String() }},
	{"server name", func(m *listenerv3.FilterChainMatch, c Connection) int {
		return serverName(m.GetServerNames(), lower(c.ServerName))
	}, func(c Connection) string { return named(c.ServerName) }},
	{"transport protocol", func(m *listenerv3.FilterChainMatch, c Connection) int {
		return exactly(m.GetTransportProtocol() != "", m.GetTransportProtocol() == c.transport())
	}, Connection.transport},
	{"application protocol", func(m *listenerv3.FilterChainMatch, c Connection) int {
		return protocol(m.GetApplicationProtocols(), c.ALPN)
	}, func(c Connection) string { return named(alpn(c.ALPN)) }},
	{"direct source address", func(m *listenerv3.FilterChainMatch, c Connection) int {
		return longest(m.GetDirectSourcePrefixRanges(), c.direct())
	}, func(c Connection) string { return ipText(c.direct()) }},
	{"source type", func(m *listenerv3.FilterChainMatch, c Connection) int {
		return sourceType(m.GetSourceType(), c)
	}, func(c Connection) string { return c.Source.Addr().String() }},
	{"source address", func(m *listenerv3.FilterChainMatch, c Connection) int {
		return longest(m.GetSourcePrefixRanges(), c.Source.Addr())
	}, func(c Connection) string { return c.Source.Addr().String() }},
	{"source port", func(m *listenerv3.FilterChainMatch, c Connection) int {
		return exactly(len(m.GetSourcePorts()) > 0, slices.Contains(m.GetSourcePorts(), uint32(c.Source.Port())))
	}, func(c Connection) string { return fmt.Sprint(c.Source.Port()) }},
}

// narrow keeps the chains of the highest rank. The reason is "" if the
// criterion did not tell chains apart.
func (k criterion) narrow(chains []*listenerv3.FilterChain, c Connection) (best []*listenerv3.FilterChain, reason string) {
	top := 0
	for _, chain := range chains {
		switch rank := k.rank(chain.GetFilterChainMatch(), c); {
		case rank > top:
			top, best = rank, []*listenerv3.FilterChain{chain}
		case rank == top && rank > 0:
			best = append(best, chain)
		}
	}
	switch {
	case len(best) == 0:
		reason = fmt.Sprintf("no chain is left for %s %s", k.name, k.value(c))
	case len(best) < len(chains) && top > 1:
		reason = fmt.Sprintf("%s %s", k.name, k.value(c))
	case len(best) < len(chains):
		reason = fmt.Sprintf("no chain asks for %s %s", k.name, k.value(c))
	}
	return best, reason
}

// exactly ranks a criterion that is a value or nothing.
func exactly(asked, equal bool) int {
	switch {
	case !asked:
		return 1
	case equal:
		return 2
	}
	return 0
}

// longest ranks by the longest prefix that has an address.
func longest(ranges []*corev3.CidrRange, ip netip.Addr) int {
	if len(ranges) == 0 {
		return 1
	}
	rank := 0
	for _, r := range ranges {
		if p, ok := prefix(r); ok && p.Contains(ip.Unmap()) {
			rank = max(rank, 1+p.Bits())
		}
	}
	return rank
}

// prefix returns a CIDR range; ok is false if it is none.
func prefix(r *corev3.CidrRange) (p netip.Prefix, ok bool) {
	ip, err := netip.ParseAddr(r.GetAddressPrefix())
	if err != nil {
		return p, false
	}
	p, err = ip.Prefix(int(r.GetPrefixLen().GetValue()))
	return p, err == nil
}

// serverName ranks an exact name before the longest wildcard before none.
func serverName(names []string, name string) int {
	if len(names) == 0 {
		return 1
	}
	rank := 0
	for _, n := range names {
		n = lower(n)
		switch {
		case n == name && name != "":
			return 1 << 20
		case len(n) > 2 && n[:2] == "*." && len(name) > len(n)-1 && name[len(name)-len(n)+1:] == n[1:]:
			rank = max(rank, 1+len(n))
		}
	}
	return rank
}

// protocol ranks by the place of the first protocol that a chain takes in the
// client's list.
func protocol(wanted, offered []string) int {
	if len(wanted) == 0 {
		return 1
	}
	for i, p := range offered {
		if slices.Contains(wanted, p) {
			return 2 + len(offered) - i
		}
	}
	return 0
}

func sourceType(t listenerv3.FilterChainMatch_ConnectionSourceType, c Connection) int {
	local := c.Source.Addr().IsLoopback() || c.Source.Addr().IsValid() && c.Source.Addr().Unmap() == c.Destination.Addr().Unmap()
	switch t {
	case listenerv3.FilterChainMatch_SAME_IP_OR_LOOPBACK:
		return exactly(true, local)
	case listenerv3.FilterChainMatch_EXTERNAL:
		return exactly(true, !local)
	}
	return 1
}

// transport is Envoy's name for how a connection begins.
func (c Connection) transport() string {
	if c.TLS {
		return "tls"
	}
	return "raw_buffer"
}

// ipText is an address as Envoy's inputs have it, "" for none.
func ipText(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.Unmap().String()
}

func named(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}
