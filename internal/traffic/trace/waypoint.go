package trace

import (
	"fmt"
	"slices"
	"strings"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// tunneled tells whether an endpoint is reached by HBONE: its address is that
// of a listener inside of the caller's proxy.
func tunneled(e *endpointv3.LbEndpoint) bool {
	return e.GetEndpoint().GetAddress().GetEnvoyInternalAddress() != nil
}

// waypointOf is the address of the waypoint that an endpoint is reached
// through, "" for none.
func waypointOf(e *endpointv3.LbEndpoint) string {
	if !tunneled(e) {
		return ""
	}
	at := e.GetMetadata().GetFilterMetadata()["envoy.filters.listener.original_dst"].GetFields()["waypoint"].GetStringValue()
	host, _, _ := cutPort(at)
	return host
}

// mainInternal is a waypoint's listener for what its tunnel brings.
const mainInternal = "main_internal"

// toWaypoint follows a request to the waypoint on its way. The tunnel tells the
// waypoint where the caller wants to go, and who it is.
func (t *tracer) toWaypoint(l *leg, at place, via transport, d *mizzen.TraceDestination) {
	w := t.addresses[at.waypoint]
	p := (*traffic.Proxy)(nil)
	if w != nil {
		p = t.proxies[w.Name]
	}
	if p == nil || p.Role != traffic.Waypoint {
		t.end(l, mizzen.TraceOutcome{
			Fate: mizzen.FateUnknown, By: at.waypoint,
			Message: fmt.Sprintf("it goes through a waypoint at %s, which is not known here", at.waypoint), Rule: d.Rule,
		})
		return
	}
	a := &arrival{leg: l, proxy: p, at: at, via: via, destination: d}
	peer := a.peer(t.request)
	view := p.View()
	hop := &mizzen.TraceHop{
		Workload: w.Name, Direction: mizzen.TraceWaypoint, Proxy: true, Percent: l.percent, Listener: mainInternal,
		Security: via.security, Accepts: []string{mutualTLS}, Peer: peer.Identity,
	}
	inner := *l
	inner.hop, inner.view, inner.caller = hop, view, w
	inner.to = resolved{host: l.to.host, address: at.address, known: true}
	inner.seen.http = t.request.http && !l.seen.encrypted
	t.hops = append(t.hops, hop)
	// What is inside of the tunnel is as the caller sent it.
	peer.TLS, peer.ServerName, peer.ALPN = l.seen.encrypted, t.request.serverName(), inside(t.request)
	peer.Internal = true
	defer func() {
		if to, ok := targetOf(hop.FilterChain); ok && strings.HasPrefix(hop.VirtualHost, "inbound|") {
			hop.VirtualHost = fmt.Sprintf("%s:%d", to.host, to.port)
		}
	}()
	t.acceptInside(&inner, listenerOf(view, mainInternal), peer)
}

// inside is the protocol that a waypoint finds in a tunnel.
func inside(r *request) []string {
	switch {
	case !r.http:
		return nil
	case r.h2:
		return []string{"h2c"}
	}
	return []string{"http/1.1"}
}

func listenerOf(view *traffic.View, name string) *listenerv3.Listener {
	for _, l := range view.Inbound {
		if l.GetName() == name {
			return l
		}
	}
	return nil
}

// acceptInside lets a waypoint choose what to do with what its tunnel brings.
func (t *tracer) acceptInside(l *leg, listener *listenerv3.Listener, peer match.Peer) {
	chain, why := match.Chain(listener, peer.Connection)
	if chain == nil {
		t.refuseConnection(l, withoutEnd(why))
		return
	}
	l.hop.FilterChain = chain.GetName()
	t.forward(l, chain, peer)
}

// noteBypass says that a waypoint does not see a request that goes to a Service
// of its: only ztunnels send through it, and gateways that are told to.
// https://istio.io/latest/docs/ambient/usage/waypoint/
func (t *tracer) noteBypass(l *leg, d *mizzen.TraceDestination, behind []place) {
	shares := t.mesh.Waypoints[d.Host]
	if len(shares) == 0 || l.to.host != "" && l.to.host != d.Host || l.hop.Direction == mizzen.TraceWaypoint || slices.ContainsFunc(behind, func(p place) bool { return p.waypoint != "" }) {
		return
	}
	t.note("%s does not send through %s, the waypoint of %s: its routes and policies do not apply", l.hop.Workload, shares[0].Waypoint, d.Host)
}
