package trace

import (
	"fmt"
	"net/netip"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// leg is a request at a proxy that sends it on.
type leg struct {
	hop  *mizzen.TraceHop
	view *traffic.View
	// caller shows its certificate to servers.
	caller *traffic.Workload
	// to is where the caller's connection went; empty at a gateway, which does
	// not care.
	to resolved
	// percent of all requests.
	percent float64
	seen    seen
	// doubt is what may refuse the request, and cannot be told here.
	doubt string
	// alpn: the proxy announces the version of HTTP inside of mTLS.
	alpn bool
	// missing is what the proxy answers if it does not have the cluster.
	missing int
}

// seen is what of a request may change on the way.
type seen struct {
	path, authority string
	headers         []match.Header
	// http: the proxy that sends the request on reads it, and answers errors
	// with a status. Otherwise it copies bytes, and closes the connection.
	http bool
	// encrypted: the caller itself speaks TLS, to the very end.
	encrypted bool
}

// seen is the request as the caller sends it.
func (r *request) seen(http bool) seen {
	s := seen{path: r.path, authority: r.authority, http: http, encrypted: r.encrypted}
	for _, h := range r.Headers {
		if !strings.EqualFold(h.Name, "host") {
			s.headers = append(s.headers, match.Header{Name: h.Name, Value: h.Value})
		}
	}
	return s
}

// security is what protects the request on its way: what the proxy adds, or
// else what the caller itself does.
func (l *leg) security(via transport) string {
	if l.seen.encrypted && via.security == plaintext {
		return simpleTLS
	}
	return via.security
}

// outbound follows a request through the caller's sidecar.
func (t *tracer) outbound(p *traffic.Proxy, to resolved) {
	r := t.request
	peer := match.Peer{Connection: r.connection(p.Workload.Address, to.address, r.port)}
	l := &leg{
		view: p.View(), caller: p.Workload, to: to, percent: 100,
		seen: r.seen(r.http && !r.encrypted),
		hop:  &mizzen.TraceHop{Workload: p.Name, Direction: mizzen.TraceOutbound, Proxy: true, Ztunnel: p.Role == traffic.Ztunnel, Percent: 100, Security: plaintext},
	}
	if r.encrypted {
		l.hop.Security = simpleTLS
	}
	listener, why := match.Listener(p.View(), peer.Destination.Addr(), peer.Destination.Port())
	if listener == nil {
		t.hops = append(t.hops, l.hop)
		t.refuseConnection(l, why)
		return
	}
	t.accept(l, listener, peer)
}

// accept lets a listener choose a filter chain for the connection.
func (t *tracer) accept(l *leg, listener *listenerv3.Listener, peer match.Peer) {
	t.hops = append(t.hops, l.hop)
	l.hop.Listener = listener.GetName()
	chain, why := match.Chain(listener, peer.Connection)
	if chain == nil {
		why = withoutEnd(why)
		t.refuseConnection(l, why)
		return
	}
	l.hop.FilterChain = chain.GetName()
	t.forward(l, chain, peer)
}

// withoutEnd leaves out of a reason what the sentence around it says, too.
func withoutEnd(why string) string {
	why, _, _ = strings.Cut(why, ", and there is no default chain")
	return why
}

// connection is the caller's, from an address to another.
func (r *request) connection(from, to string, port uint32) match.Connection {
	c := match.Connection{Source: addrPort(from, ephemeral), Destination: addrPort(to, port), TLS: r.encrypted, ServerName: r.serverName()}
	switch {
	case !r.http:
	case r.encrypted && r.h2:
		c.ALPN = []string{"h2"}
	case r.encrypted:
		c.ALPN = []string{"h2", "http/1.1"}
	case r.h2:
		c.ALPN = []string{"h2c"}
	default:
		c.ALPN = []string{"http/1.1"}
	}
	return c
}

// ephemeral is a port such as clients have.
const ephemeral = 40000

// addrPort is an address; one that cannot be read is nowhere in particular.
func addrPort(address string, port uint32) netip.AddrPort {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		ip = netip.MustParseAddr(unknownAddress)
	}
	return netip.AddrPortFrom(ip, uint16(port)) //nolint:gosec // a port has 16 bits
}

// forward asks a filter chain what to do, and does it.
func (t *tracer) forward(l *leg, chain *listenerv3.FilterChain, peer match.Peer) {
	stack, err := match.Open(chain)
	if err != nil {
		l.doubt = err.Error()
		t.end(l, mizzen.TraceOutcome{Fate: mizzen.FateUnknown, By: l.hop.Workload, Message: err.Error()})
		return
	}
	if ends, demands := terminates(chain); ends {
		// From here on it is the proxy that speaks, not the caller.
		l.seen.encrypted = false
		if demands {
			t.note("%s demands a certificate of its clients; the answer takes one that it trusts", l.hop.Workload)
		}
	}
	l.seen.http = l.seen.http && !l.seen.encrypted
	isHTTP := stack.HTTP != nil && l.seen.http
	if !t.admit(l, chain, stack, peer) {
		return
	}
	switch {
	case isHTTP:
		l.alpn = overridesALPN(stack.HTTP)
		t.routeHTTP(l, stack)
	case stack.HTTP == nil && len(stack.TCP) > 0:
		l.seen.http = false
		t.send(l, nil, stack.TCP)
	default:
		t.refuseConnection(l, fmt.Sprintf("filter chain %s does not take this protocol", chain.GetName()))
	}
}

// refuseConnection ends the request before anybody reads it.
func (t *tracer) refuseConnection(l *leg, why string) {
	l.hop.Answer = "the connection is closed: " + why
	t.end(l, mizzen.TraceOutcome{
		Fate: mizzen.FateFails, By: l.hop.Workload, Message: fmt.Sprintf("%s closes the connection: %s", l.hop.Workload, why),
	})
}

// refuse ends the request at this hop with a status, or without one where only
// the connection can be closed.
func (t *tracer) refuse(l *leg, status int, message string, rule mizzen.TraceRule) {
	if !l.seen.http {
		status = 0
	}
	l.hop.Answer = message
	if status != 0 {
		l.hop.Answer = fmt.Sprintf("%d: %s", status, message)
	}
	t.end(l, mizzen.TraceOutcome{Fate: mizzen.FateFails, Status: status, By: l.hop.Workload, Message: message, Rule: rule})
}
