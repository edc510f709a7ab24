package trace

import (
	"fmt"
	"strconv"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"mizzen.dev/mizzen/internal/traffic"
)

// Clusters that istiod makes of no host.
const (
	passthrough        = "PassthroughCluster"
	blackHole          = "BlackHoleCluster"
	inboundPassthrough = "InboundPassthroughCluster"
	unknownService     = "UnknownService"
)

// viaWaypoint begins the names of a waypoint's clusters for what it serves.
const viaWaypoint = "inbound-vip"

// target is what the name of a cluster says.
type target struct {
	direction, subset, host string
	port                    uint32
}

// targetOf reads "outbound|80|v1|reviews.shop.svc.cluster.local", and the form
// "outbound_.80_.v1_.reviews…" that gateways use for names in TLS. Not ok for
// other names.
func targetOf(cluster string) (t target, ok bool) {
	parts := strings.Split(cluster, "|")
	if len(parts) != 4 {
		parts = strings.Split(cluster, "_.")
	}
	if len(parts) != 4 {
		return target{}, false
	}
	if parts[0] == viaWaypoint {
		_, parts[2], _ = strings.Cut(parts[2], "/") // "http/v1": what a waypoint reads, and the subset
	}
	port, err := strconv.ParseUint(parts[1], 10, 16)
	return target{parts[0], parts[2], parts[3], uint32(port)}, err == nil
}

func clusterName(port uint32, subset, host string) string {
	return fmt.Sprintf("outbound|%d|%s|%s", port, subset, host)
}

func waypointCluster(port uint32, protocol, host string) string {
	return fmt.Sprintf("%s|%d|%s|%s", viaWaypoint, port, protocol, host)
}

// place is one address behind a cluster.
type place struct {
	address string
	port    uint32
	// weight is relative to the others of the cluster.
	weight   float64
	endpoint *endpointv3.LbEndpoint
	// waypoint is the address of the waypoint on the way there, if any.
	waypoint string
}

// places are the addresses that a cluster sends to first: those of the best
// priority, as long as they are healthy.
func places(view *traffic.View, c *clusterv3.Cluster) []place {
	load := c.GetLoadAssignment()
	if c.GetType() == clusterv3.Cluster_EDS {
		name := c.GetEdsClusterConfig().GetServiceName()
		if name == "" {
			name = c.GetName()
		}
		load = view.Endpoints[name]
	}
	byPriority := map[uint32][]place{}
	best := ^uint32(0)
	for _, group := range load.GetEndpoints() {
		for _, e := range group.GetLbEndpoints() {
			address, port := addressOf(e)
			weight := float64(max(1, e.GetLoadBalancingWeight().GetValue()))
			byPriority[group.GetPriority()] = append(byPriority[group.GetPriority()], place{address, port, weight, e, waypointOf(e)})
			best = min(best, group.GetPriority())
		}
	}
	return byPriority[best]
}

// addressOf is where an endpoint is: its address, the host of a pipe, or for a
// tunnel the address at its other end.
func addressOf(e *endpointv3.LbEndpoint) (string, uint32) {
	address := e.GetEndpoint().GetAddress()
	if s := address.GetSocketAddress(); s != nil {
		return s.GetAddress(), s.GetPortValue()
	}
	if inner := address.GetEnvoyInternalAddress(); inner != nil {
		local := e.GetMetadata().GetFilterMetadata()["envoy.filters.listener.original_dst"].GetFields()["local"].GetStringValue()
		if host, port, found := cutPort(local); found {
			return host, port
		}
		return inner.GetEndpointId(), 0
	}
	return address.GetPipe().GetPath(), 0
}

func cutPort(s string) (host string, port uint32, ok bool) {
	at := strings.LastIndexByte(s, ':')
	if at < 0 {
		return s, 0, false
	}
	n, err := strconv.ParseUint(s[at+1:], 10, 16)
	return strings.Trim(s[:at], "[]"), uint32(n), err == nil
}
