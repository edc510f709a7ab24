package runnable

import (
	"fmt"
	"net"
	"strconv"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/proto"

	"mizzen.dev/mizzen/test/oracle/internal/upstream"
)

// Behind names the stand-ins of a cluster's endpoints. A cluster for which it
// returns none has no endpoints.
type Behind func(cluster string) []string

// One is one stand-in for each cluster, whatever its endpoints are.
func One(cluster string) []string { return []string{cluster} }

// standIn points a cluster at its stand-ins, in plaintext. Protocol options,
// circuit breakers, outlier detection and the like stay.
func standIn(c *clusterv3.Cluster, up *upstream.Upstreams, behind Behind) (*clusterv3.Cluster, error) {
	c = proto.CloneOf(c)
	if c.Name == inside {
		return c, nil
	}
	c.Filters, c.TransportSocket, c.TransportSocketMatches = nil, nil, nil
	c.EdsClusterConfig, c.DnsLookupFamily, c.LoadBalancingPolicy, c.LbConfig, c.UpstreamBindConfig = nil, 0, nil, nil, nil
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	if c.LbPolicy == clusterv3.Cluster_CLUSTER_PROVIDED {
		c.LbPolicy = clusterv3.Cluster_ROUND_ROBIN
	}
	c.LoadAssignment = nil
	if c.Name == blackHole {
		return c, nil
	}
	locality := &endpointv3.LocalityLbEndpoints{}
	for _, name := range behind(c.Name) {
		e, err := endpoint(name, up)
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
		}
		locality.LbEndpoints = append(locality.LbEndpoints, e)
	}
	c.LoadAssignment = &endpointv3.ClusterLoadAssignment{ClusterName: c.Name, Endpoints: []*endpointv3.LocalityLbEndpoints{locality}}
	return c, nil
}

// endpoint returns the address of a stand-in.
func endpoint(name string, up *upstream.Upstreams) (*endpointv3.LbEndpoint, error) {
	address, err := up.Address(name)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	return &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
		Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(n)},
		}}},
	}}}, nil
}
