package match

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// The listener filters that look at how a connection begins.
const (
	tlsInspector  = "envoy.filters.listener.tls_inspector"
	httpInspector = "envoy.filters.listener.http_inspector"
)

// seen returns a connection as a listener sees it: bytes, where an inspector is
// switched off, as istiod does for ports that expect no TLS or no HTTP. A
// listener without any inspector of its own is taken to have what its filter
// chains ask for: Envoy adds that of TLS by itself.
func seen(l *listenerv3.Listener, c Connection) Connection {
	switch {
	case c.TLS && disabled(inspector(l, tlsInspector).GetFilterDisabled(), c):
		c.TLS, c.ServerName, c.ALPN = false, "", nil
	case !c.TLS && disabled(inspector(l, httpInspector).GetFilterDisabled(), c):
		c.ALPN = nil
	}
	return c
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
