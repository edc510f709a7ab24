package compile

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/networking/util"

	"mizzen.dev/mizzen/internal/traffic"
)

// A ztunnel is no Envoy: istiod tells it of Services, workloads and policies,
// and its own code says what becomes of a connection. That is little, and is
// written here as the listeners of an Envoy that does the same, so that all
// that reads views reads this one:
//
//   - a connection to the address of a Service goes to the waypoint of the
//     Service, if it has one, else to one of its workloads, by HBONE if that is
//     of the ambient mesh, else as it is;
//   - whatever else is sent goes where it wants to;
//   - what arrives by HBONE shows who sends it, and policies are asked.
//
// https://github.com/istio/ztunnel/blob/master/ARCHITECTURE.md

// hbonePort is where waypoints and ztunnels take HBONE.
const hbonePort = 15008

// ztunnels are the views of the workloads of the ambient mesh.
type ztunnels struct {
	mesh *ambientMesh
	// outbound is what all of them do with what their workloads send, and sends
	// the same as a part.
	outbound *traffic.View
	sends    *traffic.Part
}

// newZtunnels makes what all ztunnels have in common. The addresses of
// waypoints are by their name.
func (e *environment) newZtunnels(in *input, m *ambientMesh) *ztunnels {
	z := &ztunnels{mesh: m, outbound: &traffic.View{
		Routes: map[string]*routev3.RouteConfiguration{}, Clusters: map[string]*clusterv3.Cluster{},
		Endpoints: map[string]*endpointv3.ClusterLoadAssignment{},
	}}
	addresses := map[string]string{}
	for _, w := range in.workloads {
		if w.role == traffic.Waypoint {
			addresses[w.Name] = w.Address
		}
	}
	for _, svc := range e.gen.Env().Services() {
		for _, port := range svc.Ports {
			e.tunnel(z, svc, port, addresses)
		}
	}
	slices.SortFunc(z.outbound.Outbound, func(a, b *listenerv3.Listener) int { return cmp.Compare(a.Name, b.Name) })
	z.outbound.Outbound = append(z.outbound.Outbound, &listenerv3.Listener{
		Name: "virtualOutbound", Address: util.BuildAddress("0.0.0.0", 15001), UseOriginalDst: wrapperspb.Bool(true),
		TrafficDirection: corev3.TrafficDirection_OUTBOUND,
		FilterChains:     []*listenerv3.FilterChain{{Name: "virtualOutbound-catchall-tcp", Filters: []*listenerv3.Filter{tcpProxy(util.PassthroughCluster)}}},
	})
	z.outbound.Clusters[util.PassthroughCluster] = &clusterv3.Cluster{
		Name: util.PassthroughCluster, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_ORIGINAL_DST},
	}
	z.sends = traffic.NewPart(func() *traffic.View { return z.outbound })
	return z
}

// tunnel adds a port of a Service to what ztunnels know.
func (e *environment) tunnel(z *ztunnels, svc *model.Service, port *model.Port, waypoints map[string]string) {
	var vips []string
	for _, a := range append(svc.ClusterVIPs.GetAddressesFor(clusterID), svc.AutoAllocatedIPv4Address, svc.DefaultAddress) {
		if net.ParseIP(a) != nil && a != "0.0.0.0" && !slices.Contains(vips, a) {
			vips = append(vips, a)
		}
	}
	name := model.BuildSubsetKey(model.TrafficDirectionOutbound, "", svc.Hostname, port.Port)
	if len(vips) == 0 || z.outbound.Clusters[name] != nil {
		return
	}
	z.outbound.Clusters[name] = &clusterv3.Cluster{Name: name, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}}
	load := &endpointv3.ClusterLoadAssignment{ClusterName: name}
	shares, through := z.mesh.waypoints[string(svc.Hostname)]
	if through {
		load.Endpoints = []*endpointv3.LocalityLbEndpoints{{LbEndpoints: throughWaypoints(shares, waypoints, vips[0], port.Port)}}
	} else {
		load.Endpoints = []*endpointv3.LocalityLbEndpoints{{LbEndpoints: e.direct(svc, port)}}
	}
	z.outbound.Endpoints[name] = load
	for _, vip := range vips {
		z.outbound.Outbound = append(z.outbound.Outbound, &listenerv3.Listener{
			Name: vip + "_" + strconv.Itoa(port.Port), Address: util.BuildAddress(vip, uint32(port.Port)),
			TrafficDirection: corev3.TrafficDirection_OUTBOUND,
			FilterChains:     []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{tcpProxy(name)}}},
		})
	}
}

// throughWaypoints are the ways to the address of a Service that lead through
// waypoints. One that is not among the objects stands there by its name.
func throughWaypoints(shares []traffic.WaypointShare, addresses map[string]string, vip string, port int) []*endpointv3.LbEndpoint {
	var out []*endpointv3.LbEndpoint
	for _, s := range shares {
		if address := cmp.Or(addresses[s.Waypoint], s.Waypoint); s.Percent > 0 {
			out = append(out, hbone(vip, uint32(port), net.JoinHostPort(address, strconv.Itoa(hbonePort)), uint32(s.Percent)))
		}
	}
	return out
}

// direct are the workloads behind a port of a Service.
func (e *environment) direct(svc *model.Service, port *model.Port) []*endpointv3.LbEndpoint {
	shards, ok := e.gen.Env().EndpointIndex.ShardsForService(string(svc.Hostname), svc.Attributes.Namespace)
	if !ok {
		return nil
	}
	var out []*endpointv3.LbEndpoint
	for _, key := range shards.Keys() {
		for _, i := range shards.Shards[key] {
			if i.ServicePortName != port.Name || len(i.Addresses) == 0 {
				continue
			}
			address := i.Addresses[0]
			if i.SupportsTunnel(model.TunnelHTTP) || e.push.SupportsTunnel(i.Network, address) {
				out = append(out, hbone(address, i.EndpointPort, "", i.GetLoadBalancingWeight()))
				continue
			}
			out = append(out, &endpointv3.LbEndpoint{
				LoadBalancingWeight: wrapperspb.UInt32(max(1, i.GetLoadBalancingWeight())),
				HostIdentifier:      &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: util.BuildAddress(address, i.EndpointPort)}},
			})
		}
	}
	slices.SortStableFunc(out, func(a, b *endpointv3.LbEndpoint) int { return cmp.Compare(a.String(), b.String()) })
	return out
}

// hbone is an endpoint behind a tunnel, in the form that istiod gives it.
func hbone(address string, port uint32, waypoint string, weight uint32) *endpointv3.LbEndpoint {
	target := cmp.Or(waypoint, net.JoinHostPort(address, strconv.Itoa(int(port))))
	return &endpointv3.LbEndpoint{
		LoadBalancingWeight: wrapperspb.UInt32(max(1, weight)),
		HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
			Address: util.BuildInternalAddressWithIdentifier("connect_originate", target),
		}},
		Metadata: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
			util.OriginalDstMetadataKey: util.BuildTunnelMetadataStruct(address, int(port), waypoint),
		}},
	}
}

// proxy is that of a workload of the ambient mesh.
func (z *ztunnels) proxy(w *workload) *traffic.Proxy {
	var made *traffic.View
	view := func() *traffic.View {
		if made == nil {
			made = z.inbound(w)
		}
		return made
	}
	return &traffic.Proxy{Name: w.Name, Role: traffic.Ztunnel, Workload: &w.Workload, Outbound: z.sends, Inbound: traffic.NewPart(view)}
}

// inbound is what a ztunnel takes for a workload.
func (z *ztunnels) inbound(w *workload) *traffic.View {
	filters, strict := policyFilters(z.mesh.of(w))
	filters = append(filters, tcpProxy(util.InboundPassthroughCluster))
	l := &listenerv3.Listener{
		Name: "virtualInbound", Address: util.BuildAddress("0.0.0.0", hbonePort), TrafficDirection: corev3.TrafficDirection_INBOUND,
		FilterChains: []*listenerv3.FilterChain{{
			Name: "hbone", FilterChainMatch: &listenerv3.FilterChainMatch{TransportProtocol: "tls"}, Filters: filters,
			TransportSocket: &corev3.TransportSocket{Name: "tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: packed(&tlsv3.DownstreamTlsContext{
				RequireClientCertificate: wrapperspb.Bool(true),
				CommonTlsContext:         &tlsv3.CommonTlsContext{TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{Name: "default"}}},
			})}},
		}},
		ListenerFilters: []*listenerv3.ListenerFilter{{Name: "envoy.filters.listener.tls_inspector"}},
	}
	if !strict {
		l.FilterChains = append(l.FilterChains, &listenerv3.FilterChain{Name: "plaintext", Filters: filters})
	}
	return &traffic.View{Inbound: []*listenerv3.Listener{l}}
}

func tcpProxy(cluster string) *listenerv3.Filter {
	return filter("envoy.filters.network.tcp_proxy", &tcpv3.TcpProxy{StatPrefix: cluster, ClusterSpecifier: &tcpv3.TcpProxy_Cluster{Cluster: cluster}})
}

func filter(name string, config proto.Message) *listenerv3.Filter {
	return &listenerv3.Filter{Name: name, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed(config)}}
}

// packed packs a message that was made here.
func packed(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(fmt.Sprintf("a message of our own cannot be packed: %v", err))
	}
	return a
}
