package match

import (
	"net/netip"
	"testing"

	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

// offAt is true for a connection to a port.
func offAt(n int32) *listenerv3.ListenerFilterChainMatchPredicate {
	return &listenerv3.ListenerFilterChainMatchPredicate{Rule: &listenerv3.ListenerFilterChainMatchPredicate_DestinationPortRange{
		DestinationPortRange: &typev3.Int32Range{Start: n, End: n + 1},
	}}
}

func offAtAny(rules ...*listenerv3.ListenerFilterChainMatchPredicate) *listenerv3.ListenerFilterChainMatchPredicate {
	return &listenerv3.ListenerFilterChainMatchPredicate{Rule: &listenerv3.ListenerFilterChainMatchPredicate_OrMatch{
		OrMatch: &listenerv3.ListenerFilterChainMatchPredicate_MatchSet{Rules: rules},
	}}
}

func offAtAll(rules ...*listenerv3.ListenerFilterChainMatchPredicate) *listenerv3.ListenerFilterChainMatchPredicate {
	return &listenerv3.ListenerFilterChainMatchPredicate{Rule: &listenerv3.ListenerFilterChainMatchPredicate_AndMatch{
		AndMatch: &listenerv3.ListenerFilterChainMatchPredicate_MatchSet{Rules: rules},
	}}
}

func offBut(rule *listenerv3.ListenerFilterChainMatchPredicate) *listenerv3.ListenerFilterChainMatchPredicate {
	return &listenerv3.ListenerFilterChainMatchPredicate{Rule: &listenerv3.ListenerFilterChainMatchPredicate_NotMatch{NotMatch: rule}}
}

// TestSeen switches the inspector of TLS off for some ports: what begins with
// TLS is bytes there.
func TestSeen(t *testing.T) {
	always := &listenerv3.ListenerFilterChainMatchPredicate{Rule: &listenerv3.ListenerFilterChainMatchPredicate_AnyMatch{AnyMatch: true}}
	cases := []struct {
		name string
		off  *listenerv3.ListenerFilterChainMatchPredicate
		tls  bool
	}{
		{"never", nil, true},
		{"always", always, false},
		{"at its port", offAt(9000), false},
		{"at another", offAt(9001), true},
		{"at one of them", offAtAny(offAt(9001), offAt(9000)), false},
		{"at both at once", offAtAll(offAt(9001), offAt(9000)), true},
		{"always and at its port", offAtAll(always, offAt(9000)), false},
		{"but at its port", offBut(offAt(9000)), true},
	}
	for _, c := range cases {
		l := &listenerv3.Listener{ListenerFilters: []*listenerv3.ListenerFilter{
			{Name: tlsInspector, FilterDisabled: c.off}, {Name: httpInspector, FilterDisabled: c.off},
		}}
		to := netip.MustParseAddrPort("10.0.0.1:9000")
		got := seen(l, Connection{Destination: to, TLS: true, ServerName: "a", ALPN: []string{"h2"}})
		if got.TLS != c.tls || got.ServerName == "" == c.tls || (len(got.ALPN) > 0) != c.tls {
			t.Errorf("switched off %s: TLS is seen as %+v", c.name, got)
		}
		if got := seen(l, Connection{Destination: to, ALPN: []string{"h2c"}}); (len(got.ALPN) > 0) != c.tls {
			t.Errorf("switched off %s: HTTP is seen as %+v", c.name, got)
		}
	}
}

// TestSeenWithout has no inspector: Envoy adds one if a chain needs it, and none
// if a matcher does.
func TestSeenWithout(t *testing.T) {
	for _, c := range []struct {
		match *listenerv3.FilterChainMatch
		tls   bool
	}{
		{nil, false},
		{&listenerv3.FilterChainMatch{TransportProtocol: "raw_buffer", ApplicationProtocols: []string{"h2c"}}, false},
		{&listenerv3.FilterChainMatch{TransportProtocol: "tls"}, true},
		{&listenerv3.FilterChainMatch{ServerNames: []string{"a"}}, true},
		{&listenerv3.FilterChainMatch{ApplicationProtocols: []string{"istio"}}, true},
	} {
		l := &listenerv3.Listener{FilterChains: []*listenerv3.FilterChain{{FilterChainMatch: c.match}}}
		if got := seen(l, Connection{TLS: true}); got.TLS != c.tls {
			t.Errorf("%v: TLS is seen: %v, want %v", c.match, got.TLS, c.tls)
		}
	}
	l := &listenerv3.Listener{FilterChains: []*listenerv3.FilterChain{{Name: "a"}}, FilterChainMatcher: &matcherv3.Matcher{}}
	if got := seen(l, Connection{TLS: true, ALPN: []string{"h2"}}); got.TLS || got.ALPN != nil {
		t.Errorf("with a matcher: %+v", got)
	}
}
