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

// standIn points a cluster at its stand-in, in plaintext. Protocol options,
// circuit breakers, outlier detection and the like stay.
func standIn(c *clusterv3.Cluster, up *upstream.Upstreams) (*clusterv3.Cluster, error) {
	c = proto.CloneOf(c)
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
	address, err := up.Address(c.Name)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
	}
	c.LoadAssignment = &endpointv3.ClusterLoadAssignment{ClusterName: c.Name, Endpoints: []*endpointv3.LocalityLbEndpoints{{
		LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
			Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
				Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(n)},
			}}},
		}}}},
	}}}
	return c, nil
}
