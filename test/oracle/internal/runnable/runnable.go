// Package runnable turns what istiod would send to one proxy into what a stock
// Envoy can run on loopback. It changes as little as it can, and nothing that
// chooses: not which listener, filter chain, route or cluster takes a request.
package runnable

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	proxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/test/oracle/internal/ads"
	"mizzen.dev/mizzen/test/oracle/internal/certs"
	"mizzen.dev/mizzen/test/oracle/internal/upstream"
)

// Side is the direction of a proxy's traffic.
type Side string

// The sides of a proxy: what a workload sends, what it receives, and what a
// gateway or a waypoint receives.
const (
	Outbound Side = "outbound"
	Inbound  Side = "inbound"
	Gateway  Side = "gateway"
	Waypoint Side = "waypoint"
)

// Config is one side of a proxy, ready to run.
type Config struct {
	ads.Snapshot
	// Root is the only listener that is bound, to a port of Envoy's choice.
	Root string
}

// entrance is the root of a gateway, whose own listeners are all equal.
const entrance = "oracle"

// blackHole is the cluster without endpoints that istiod sends to every proxy.
const blackHole = "BlackHoleCluster"

// inside is the cluster by which a waypoint's listener for tunnels leads to the
// one that decides about what they bring: no server, but Envoy itself.
const inside = "main_internal"

// New makes a side of a view runnable: its clusters lead to the stand-ins of up
// that behind names, its certificates are issued by ca for identity.
func New(view *traffic.View, side Side, up *upstream.Upstreams, behind Behind, ca *certs.CA, identity string) (*Config, error) {
	c := &Config{}
	for _, name := range slices.Sorted(maps.Keys(view.Clusters)) {
		cluster, err := standIn(view.Clusters[name], up, behind)
		if err != nil {
			return nil, err
		}
		c.Clusters = append(c.Clusters, cluster)
	}
	for _, name := range slices.Sorted(maps.Keys(view.Routes)) {
		c.Routes = append(c.Routes, repeatable(view.Routes[name]))
	}
	listeners := view.Inbound
	if side == Outbound {
		listeners = view.Outbound
	}
	if side == Gateway {
		c.Root = entrance
		root, err := gatewayRoot()
		if err != nil {
			return nil, err
		}
		c.Listeners = append(c.Listeners, root)
		if view.Clusters[blackHole] == nil {
			c.Clusters = append(c.Clusters, &clusterv3.Cluster{Name: blackHole})
		}
	}
	secrets := map[string]bool{}
	for _, l := range listeners {
		listener, err := c.listener(l, side, secrets)
		if err != nil {
			return nil, fmt.Errorf("listener %s: %w", l.Name, err)
		}
		c.Listeners = append(c.Listeners, listener)
	}
	if c.Root == "" {
		return nil, errors.New("no listener takes what is redirected to the proxy")
	}
	return c, c.issue(secrets, ca, identity)
}

// loopback is an address of which Envoy chooses the port.
func loopback() *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 0},
	}}}
}

// proxyProtocol stands in for a kernel's redirection: the client announces
// source and original destination. use_original_dst then finds the listener.
func proxyProtocol() (*listenerv3.ListenerFilter, error) {
	config, err := anypb.New(&proxyv3.ProxyProtocol{})
	return &listenerv3.ListenerFilter{
		Name:       "envoy.filters.listener.proxy_protocol",
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: config},
	}, err
}

// gatewayRoot hands connections to a gateway's listeners by destination port.
func gatewayRoot() (*listenerv3.Listener, error) {
	filter, err := proxyProtocol()
	if err != nil {
		return nil, err
	}
	nowhere, err := anypb.New(&tcpv3.TcpProxy{StatPrefix: entrance, ClusterSpecifier: &tcpv3.TcpProxy_Cluster{Cluster: blackHole}})
	return &listenerv3.Listener{
		Name: entrance, Address: loopback(), UseOriginalDst: wrapperspb.Bool(true), ListenerFilters: []*listenerv3.ListenerFilter{filter},
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name: "envoy.filters.network.tcp_proxy", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: nowhere},
		}}}},
	}, err
}

// Named returns a view whose routes have names of their own, so that an answer
// tells which one took the request. Nothing else is changed, or shared.
func Named(view *traffic.View) *traffic.View {
	named := *view
	named.Routes = map[string]*routev3.RouteConfiguration{}
	for name, rc := range view.Routes {
		named.Routes[name] = nameRoutes(rc)
	}
	rename := func(list []*listenerv3.Listener) []*listenerv3.Listener {
		var out []*listenerv3.Listener
		for _, l := range list {
			out = append(out, nameInline(l))
		}
		return out
	}
	named.Inbound, named.Outbound = rename(view.Inbound), rename(view.Outbound)
	return &named
}

func nameRoutes(rc *routev3.RouteConfiguration) *routev3.RouteConfiguration {
	rc = proto.CloneOf(rc)
	for i, host := range rc.VirtualHosts {
		for j, route := range host.Routes {
			route.Name = fmt.Sprintf("%d/%d/%s", i, j, route.Name)
		}
	}
	return rc
}

// issue makes the certificates that listeners ask for, by istiod's names.
func (c *Config) issue(names map[string]bool, ca *certs.CA, identity string) error {
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if name == "ROOTCA" || strings.HasSuffix(name, "-cacert") || strings.HasPrefix(name, "file-root:") {
			c.Secrets = append(c.Secrets, ca.Bundle(name))
			continue
		}
		pair, err := ca.Server(name)
		if name == "default" {
			pair, err = ca.Workload(identity)
		}
		if err != nil {
			return err
		}
		secret, err := certs.Secret(name, pair)
		if err != nil {
			return err
		}
		c.Secrets = append(c.Secrets, secret)
	}
	return nil
}
