package trace

import (
	"fmt"
	"strconv"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// virtualInbound is the name of the listener that gets what arrives at a
// sidecar, unless a Sidecar object names another.
const virtualInbound = "virtualInbound"

// arrive follows a request to one address behind a destination.
func (t *tracer) arrive(l *leg, at place, via transport, d *mizzen.TraceDestination) {
	if at.waypoint != "" {
		t.toWaypoint(l, at, via, d)
		return
	}
	w := t.addresses[at.address]
	if w == nil {
		t.end(l, mizzen.TraceOutcome{
			Fate: mizzen.FateServed, By: d.Host,
			Message: fmt.Sprintf("it leaves the mesh to %s, port %d (%s)", at.address, at.port, l.security(via)), Rule: d.Rule,
		})
		return
	}
	p := t.proxies[w.Name]
	if p == nil || !w.Sidecar && !w.Ambient || w.Bypass.In.Has(at.port) {
		t.bare(l, w, at, via, d)
		return
	}
	a := &arrival{leg: l, proxy: p, at: at, via: via, destination: d}
	t.inbound(a)
}

// bare is a server without a proxy, or at a port that is reached past it: it
// speaks no mTLS, and nothing is decided.
func (t *tracer) bare(l *leg, w *traffic.Workload, at place, via transport, d *mizzen.TraceDestination) {
	hop := mizzen.TraceHop{Workload: w.Name, Direction: mizzen.TraceInbound, Percent: l.percent, Security: l.security(via), Port: at.port}
	why := "has no sidecar"
	if w.Sidecar {
		why = fmt.Sprintf("is reached past its sidecar at port %d", at.port)
		t.note("%s %s: no policy of it applies", w.Name, why)
	}
	if via.istio {
		hop.Port = 0
		hop.Answer = fmt.Sprintf("it %s and does not understand mTLS", why)
		t.addHop(hop)
		t.fail(l, 503, w.Name, fmt.Sprintf("%s speaks mTLS, but %s %s", l.hop.Workload, w.Name, why), d.Rule)
		return
	}
	t.addHop(hop)
	t.end(l, mizzen.TraceOutcome{Fate: mizzen.FateServed, By: w.Name, Message: fmt.Sprintf("%s gets it at port %d", w.Name, at.port)})
}

// fail ends a request that does not get through to a server.
func (t *tracer) fail(l *leg, status int, by, message string, rule mizzen.TraceRule) {
	if !l.seen.http {
		status = 0
	}
	t.end(l, mizzen.TraceOutcome{Fate: mizzen.FateFails, Status: status, By: by, Message: message, Rule: rule})
}

// arrival is a request at a server's sidecar.
type arrival struct {
	*leg
	proxy       *traffic.Proxy
	at          place
	via         transport
	destination *mizzen.TraceDestination
}

// peer is the other side as the server's proxy sees it.
func (a *arrival) peer(r *request) match.Peer {
	source := ""
	if a.caller != nil {
		source = a.caller.Address
	}
	c := match.Connection{Source: addrPort(source, ephemeral), Destination: addrPort(a.at.address, a.at.port)}
	switch {
	case a.via.security != plaintext:
		c.TLS, c.ServerName, c.ALPN = true, a.via.serverName, a.via.protocols
		if a.alpn && a.seen.http {
			c.ALPN = announced(r.h2)
		}
	case a.seen.encrypted:
		c = r.connection(source, a.at.address, a.at.port)
	case r.http && r.h2:
		c.ALPN = []string{"h2c"}
	case r.http:
		c.ALPN = []string{"http/1.1"}
	}
	peer := match.Peer{Connection: c}
	if a.via.istio && a.caller != nil {
		peer.Identity = a.caller.Identity
	}
	return peer
}

// announced is what Istio's filter writes in the place of a cluster's own
// protocols, so that the server's proxy need not look for HTTP.
func announced(h2 bool) []string {
	if h2 {
		return []string{"istio-h2", "istio", "h2"}
	}
	return []string{"istio-http/1.1", "istio", "http/1.1"}
}

// inbound follows a request through the server's sidecar.
func (t *tracer) inbound(a *arrival) {
	w := a.proxy.Workload
	peer := a.peer(t.request)
	listener := inboundListener(a.proxy.View(), a.at.port)
	hop := mizzen.TraceHop{
		Workload: w.Name, Direction: mizzen.TraceInbound, Proxy: true, Ztunnel: a.proxy.Role == traffic.Ztunnel, Percent: a.percent, Listener: listener.GetName(),
		Security: a.security(a.via), Accepts: accepts(listener, peer),
	}
	chain, why := match.Chain(listener, peer.Connection)
	if why := t.handshake(a, chain, why); why != "" {
		hop.Answer = "the connection is closed: " + why
		t.addHop(hop)
		t.fail(a.leg, 503, w.Name, fmt.Sprintf("%s closes the connection: %s", w.Name, why), a.destination.Rule)
		return
	}
	hop.FilterChain = chain.GetName()
	if ends, demands := terminates(chain); !ends || !demands {
		peer.Identity = ""
	}
	hop.Peer = peer.Identity
	inner := *a.leg
	inner.hop, inner.view, inner.percent = &hop, a.proxy.View(), a.percent
	t.enter(a, &inner, chain, peer)
	t.addHop(hop)
}

// enter asks the policies and routes of the server's proxy.
func (t *tracer) enter(a *arrival, l *leg, chain *listenerv3.FilterChain, peer match.Peer) {
	stack, err := match.Open(chain)
	if err != nil {
		t.end(l, mizzen.TraceOutcome{Fate: mizzen.FateUnknown, By: l.hop.Workload, Message: err.Error()})
		return
	}
	l.seen.http = stack.HTTP != nil && t.request.http && !a.seen.encrypted
	if t.admit(l, chain, stack, peer) {
		t.serve(a, l, stack)
	}
}

// handshake says why the two sides cannot talk; empty if they can.
func (t *tracer) handshake(a *arrival, chain *listenerv3.FilterChain, why string) string {
	switch {
	case chain == nil && a.security(a.via) == plaintext:
		return "it takes mTLS only, and the caller speaks plaintext"
	case chain == nil:
		return withoutEnd(why)
	}
	return a.mismatch(chain)
}

// mismatch says how the two sides of a connection that a chain takes differ.
func (a *arrival) mismatch(chain *listenerv3.FilterChain) string {
	ends, demands := terminates(chain)
	identity := a.proxy.Workload.Identity
	switch {
	case ends && demands && a.via.security != mutualTLS:
		return "it demands a certificate of the mesh, and the caller shows none"
	case ends && a.via.istio && !a.via.trusts(identity):
		return fmt.Sprintf("the caller expects another server than %s", identity)
	case !ends && a.via.istio:
		return "it takes plaintext only, and the caller speaks mTLS"
	}
	return ""
}

// inboundListener is the one that takes a port.
func inboundListener(view *traffic.View, port uint32) *listenerv3.Listener {
	var general *listenerv3.Listener
	for _, l := range view.Inbound {
		if l.GetName() == virtualInbound {
			general = l
		} else if l.GetAddress().GetSocketAddress().GetPortValue() == port {
			return l
		}
	}
	return general
}

// accepts is what a port takes, found by trying.
func accepts(l *listenerv3.Listener, peer match.Peer) []string {
	var all []string
	secured := peer.Connection
	secured.TLS, secured.ALPN = true, announced(false)
	if chain, _ := match.Chain(l, secured); chain != nil {
		if ends, demands := terminates(chain); ends && demands {
			all = append(all, mutualTLS)
		}
	}
	plain := match.Connection{Source: peer.Source, Destination: peer.Destination, ALPN: []string{"http/1.1"}}
	if chain, _ := match.Chain(l, plain); chain != nil {
		all = append(all, plaintext)
	}
	return all
}

// serve ends at the application, if the inbound route sends the request there.
func (t *tracer) serve(a *arrival, inner *leg, s *match.Stack) {
	to := s.TCP
	if inner.seen.http {
		d := t.decide(inner, s)
		if d.Kind != match.Forward {
			t.settle(inner, d)
			return
		}
		to = d.Destinations
	}
	port := a.at.port
	if len(to) == 1 {
		port = portOfInbound(to[0].Cluster, port)
	}
	if b := a.proxy.View().Clusters[fmt.Sprintf("inbound|%d||", port)]; b != nil {
		// A Sidecar object may send it to another port (defaultEndpoint).
		if behind := places(a.proxy.View(), b); len(behind) == 1 && behind[0].port != 0 {
			port = behind[0].port
		}
	}
	inner.hop.Port = port
	t.end(inner, mizzen.TraceOutcome{
		Fate: mizzen.FateServed, By: a.proxy.Name, Message: fmt.Sprintf("%s gets it at port %d", a.proxy.Name, port),
	})
}

// portOfInbound reads "inbound|8080||".
func portOfInbound(cluster string, otherwise uint32) uint32 {
	rest, ok := strings.CutPrefix(cluster, "inbound|")
	if !ok {
		return otherwise
	}
	number, _, _ := strings.Cut(rest, "|")
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return otherwise
	}
	return uint32(port)
}

// addHop adds a server to the answer. One that is reached in several ways, but
// treated the same, is one hop.
func (t *tracer) addHop(h mizzen.TraceHop) {
	for _, have := range t.hops {
		if sameHop(have, &h) {
			have.Percent += h.Percent
			return
		}
	}
	t.hops = append(t.hops, &h)
}

func sameHop(a, b *mizzen.TraceHop) bool {
	return a.Direction == b.Direction && a.Workload == b.Workload && a.Security == b.Security && a.Port == b.Port &&
		a.FilterChain == b.FilterChain && a.Route == b.Route && a.Answer == b.Answer && a.Peer == b.Peer
}
