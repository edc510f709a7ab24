package match

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// The listener filters that look at how a connection begins.
const (
	tlsInspector  = "envoy.filters.listener.tls_inspector"
	httpInspector = "envoy.filters.listener.http_inspector"
)

// seen returns a connection as a listener sees it: bytes, where nothing looks
// for TLS or HTTP. istiod switches the inspectors off for ports that expect
// neither, and leaves that of TLS out where no port does.
func seen(l *listenerv3.Listener, c Connection) Connection {
	switch {
	case c.TLS && !looksForTLS(l, c):
		c.TLS, c.ServerName, c.ALPN = false, "", nil
	case !c.TLS && !looksForHTTP(l, c):
		c.ALPN = nil
	}
	return c
}

func looksForHTTP(l *listenerv3.Listener, c Connection) bool {
	f := inspector(l, httpInspector)
	return f != nil && !disabled(f.GetFilterDisabled(), c)
}

// looksForTLS tells whether a listener inspects a connection for TLS. Envoy adds
// an inspector to a listener that has none if its filter chains need one; what a
// matcher needs is not looked at (needTlsInspector).
func looksForTLS(l *listenerv3.Listener, c Connection) bool {
	if f := inspector(l, tlsInspector); f != nil {
		return !disabled(f.GetFilterDisabled(), c)
	}
	for _, chain := range l.GetFilterChains() {
		m := chain.GetFilterChainMatch()
		names := len(m.GetServerNames()) > 0 || len(m.GetApplicationProtocols()) > 0
		if m.GetTransportProtocol() == "tls" || m.GetTransportProtocol() == "" && names {
			return true
		}
	}
	return false
}

func inspector(l *listenerv3.Listener, name string) *listenerv3.ListenerFilter {
	for _, f := range l.GetListenerFilters() {
		if f.GetName() == name {
			return f
		}
	}
	return nil
}

// disabled evaluates for which connections a listener filter is left out.
func disabled(p *listenerv3.ListenerFilterChainMatchPredicate, c Connection) bool {
	switch rule := p.GetRule().(type) {
	case *listenerv3.ListenerFilterChainMatchPredicate_OrMatch:
		for _, sub := range rule.OrMatch.GetRules() {
			if disabled(sub, c) {
				return true
			}
		}
	case *listenerv3.ListenerFilterChainMatchPredicate_AndMatch:
		for _, sub := range rule.AndMatch.GetRules() {
			if !disabled(sub, c) {
				return false
			}
		}
		return true
	case *listenerv3.ListenerFilterChainMatchPredicate_NotMatch:
		return !disabled(rule.NotMatch, c)
	case *listenerv3.ListenerFilterChainMatchPredicate_AnyMatch:
		return rule.AnyMatch
	case *listenerv3.ListenerFilterChainMatchPredicate_DestinationPortRange:
		port := int32(c.Destination.Port())
		return port >= rule.DestinationPortRange.GetStart() && port < rule.DestinationPortRange.GetEnd()
	}
	return false
}
