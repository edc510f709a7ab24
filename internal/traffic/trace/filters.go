package trace

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// filters are what a filter chain does with a connection: one of http and tcp
// is set in chains that istiod makes.
type filters struct {
	http *hcmv3.HttpConnectionManager
	tcp  *tcpv3.TcpProxy
}

func filtersOf(chain *listenerv3.FilterChain) (f filters) {
	for _, filter := range chain.GetFilters() {
		any := filter.GetTypedConfig()
		switch {
		case any.MessageIs((*hcmv3.HttpConnectionManager)(nil)):
			manager := &hcmv3.HttpConnectionManager{}
			if any.UnmarshalTo(manager) == nil {
				f.http = manager
			}
		case any.MessageIs((*tcpv3.TcpProxy)(nil)):
			proxy := &tcpv3.TcpProxy{}
			if any.UnmarshalTo(proxy) == nil {
				f.tcp = proxy
			}
		}
	}
	return f
}

// routesOf are the routes of a connection manager; nil if the view lacks them.
func routesOf(view *traffic.View, m *hcmv3.HttpConnectionManager) *routev3.RouteConfiguration {
	if inline := m.GetRouteConfig(); inline != nil {
		return inline
	}
	return view.Routes[m.GetRds().GetRouteConfigName()]
}

// share is a part of what a rule sends on, in percent.
type share struct {
	cluster string
	percent float64
	// authority and headers are what this destination alone sees.
	authority         string
	headers, response []match.Mutation
	// origin is where the rule names it.
	origin mizzen.Origin
}

// tcpShares are where a TCP proxy sends connections.
func tcpShares(p *tcpv3.TcpProxy) []share {
	weighted := p.GetWeightedClusters().GetClusters()
	if len(weighted) == 0 {
		return []share{{cluster: p.GetCluster(), percent: 100}}
	}
	var total float64
	for _, c := range weighted {
		total += float64(c.GetWeight())
	}
	shares := make([]share, 0, len(weighted))
	for _, c := range weighted {
		shares = append(shares, share{cluster: c.GetName(), percent: 100 * float64(c.GetWeight()) / max(1, total)})
	}
	return shares
}

// overridesALPN tells whether a connection manager announces to servers which
// version of HTTP is inside of mTLS, as Istio's own filter does.
func overridesALPN(m *hcmv3.HttpConnectionManager) bool {
	for _, f := range m.GetHttpFilters() {
		if f.GetName() == "istio.alpn" {
			return true
		}
	}
	return false
}
