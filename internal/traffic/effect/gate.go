package effect

import (
	"fmt"
	"net/netip"
	"slices"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// gate is what a workload accepts at a port.
type gate struct {
	// secured and plain are the filter chains that take a connection with the
	// mesh's mTLS, and one without TLS; nil if it is refused.
	secured, plain *listenerv3.FilterChain
}

// acceptance tells of a gate what is accepted, without the filter chains: a
// mesh has too many to keep them.
type acceptance struct{ secured, plain bool }

func (g gate) acceptance() acceptance { return acceptance{g.secured != nil, g.plain != nil} }

// words tells what is accepted.
func (a acceptance) words() string {
	switch {
	case a.secured && a.plain:
		return "mTLS or plaintext"
	case a.secured:
		return "mTLS only"
	case a.plain:
		return "plaintext only"
	}
	return "nothing"
}

// at is a port of a workload.
type at struct {
	workload string
	port     uint32
}

// accepting returns what a workload with a proxy accepts at a port.
func (s *side) accepting(p *traffic.Proxy, port uint32) acceptance {
	key := at{p.Name, port}
	found, ok := s.accepts[key]
	if !ok {
		found = gateOf(p, port).acceptance()
		s.accepts[key] = found
	}
	return found
}

// others stands for the ports that no Service names.
const others uint32 = 0

// inbound returns the listener that takes what is sent to a workload.
func inbound(p *traffic.Proxy) *listenerv3.Listener {
	for _, l := range accepted(p).Inbound {
		if l.GetName() == "virtualInbound" {
			return l
		}
	}
	return nil
}

// inboundPorts returns the ports that a listener tells apart, and others.
func inboundPorts(l *listenerv3.Listener) []uint32 {
	out := []uint32{others}
	own := l.GetAddress().GetSocketAddress().GetPortValue()
	for _, chain := range chains(l) {
		if p := chain.GetFilterChainMatch().GetDestinationPort().GetValue(); p != 0 && p != own {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// gateOf returns what a workload accepts at a port. A workload without a
// sidecar has no listener; whatever speaks plaintext gets to it.
func gateOf(p *traffic.Proxy, port uint32) gate {
	l := inbound(p)
	if l == nil {
		return gate{}
	}
	if port == others {
		port = unnamedPort(l)
	}
	address := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if a, err := netip.ParseAddr(p.Workload.Address); err == nil {
		address = a
	}
	to := netip.AddrPortFrom(address, uint16(port))
	var g gate
	for _, alpn := range []string{"istio-http/1.1", "istio"} {
		if c, _ := match.Chain(l, match.Connection{Destination: to, TLS: true, ALPN: []string{alpn}}); terminates(c) {
			g.secured = c
			break
		}
	}
	if c, _ := match.Chain(l, match.Connection{Destination: to, ALPN: []string{"http/1.1"}}); c != nil && c.GetTransportSocket() == nil {
		g.plain = c
	}
	return g
}

// unnamedPort returns a port that the listener does not tell apart.
func unnamedPort(l *listenerv3.Listener) uint32 {
	taken := inboundPorts(l)
	for port := uint32(1); ; port++ {
		if !slices.Contains(taken, port) {
			return port
		}
	}
}

// terminates tells whether a chain ends the mesh's mTLS.
func terminates(chain *listenerv3.FilterChain) bool {
	t, ok := unpack(chain.GetTransportSocket().GetTypedConfig(), &tlsv3.DownstreamTlsContext{})
	return ok && istioIssued(t.GetCommonTlsContext())
}

// gates are what both sides accept at a port.
type gates struct {
	proxy         string
	port          uint32
	before, after acceptance
}

// changedGates returns the workloads and ports at which the inbound
// configuration differs, in order.
func (c *comparison) changedGates() []gates {
	if c.gates != nil {
		return *c.gates
	}
	out := []gates{}
	for _, name := range sortedKeys(c.after.proxies) {
		b, a := c.before.proxies[name], c.after.proxies[name]
		if b == nil || a.Role != traffic.Sidecar || b.Role != traffic.Sidecar {
			continue
		}
		if c.hash.inbound(b) == c.hash.inbound(a) {
			continue
		}
		lb, la := inbound(b), inbound(a)
		if lb == nil || la == nil || c.hash.of(lb) == c.hash.of(la) {
			continue
		}
		ports := append(inboundPorts(lb), inboundPorts(la)...)
		slices.Sort(ports)
		for _, port := range slices.Compact(ports) {
			out = append(out, gates{name, port, c.before.accepting(b, port), c.after.accepting(a, port)})
		}
	}
	c.gates = &out
	return out
}

func portWords(port uint32) string {
	if port == others {
		return "all other ports"
	}
	return fmt.Sprintf("port %d", port)
}
