// Package traffic is the boundary of the stage that says what a mesh does with
// a request. Its folders are the steps: compile turns objects into what istiod
// would send to each proxy, match decides about one request as Envoy does,
// trace follows a request hop by hop, effect compares two meshes, and worker
// runs all of it in a process of its own, since istiod's code keeps state in
// globals.
package traffic

import (
	"maps"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"mizzen.dev/mizzen"
)

// Role is what a proxy is there for.
type Role string

// The roles of proxies.
const (
	Sidecar  Role = "sidecar"
	Gateway  Role = "gateway"
	Waypoint Role = "waypoint"
	// Ztunnel is the proxy of the node, for the workloads of the ambient mesh.
	Ztunnel Role = "ztunnel"
)

// ForWorkload tells whether a proxy takes what a workload sends and gets: a
// sidecar or a ztunnel, not one that stands between workloads.
func (r Role) ForWorkload() bool { return r == Sidecar || r == Ztunnel }

// Mesh is what a set of objects makes of a mesh: everything that decides about
// a request, as istiod would send it.
type Mesh struct {
	// Proxies are the vantage points, sorted by name: one for each workload
	// with a sidecar, each gateway, each waypoint.
	Proxies []*Proxy
	// Workloads are all, with and without a sidecar, sorted by name.
	Workloads []*Workload
	// Hosts are the names that Services and ServiceEntries have, with their
	// ports, sorted.
	Hosts map[string][]uint32
	// Addresses are those of the hosts, where they have any. Where Git does not
	// say one it is invented, anew for each mesh.
	Addresses map[string][]string
	// Aliases are the names that the hosts of ExternalName Services stand for.
	Aliases map[string]string
	// Contested are the hosts for which several VirtualServices of one age speak,
	// with these, sorted: which one decides hangs on their names.
	Contested map[string][]mizzen.Ref
	// Rejected are the objects, or parts of them, that istiod ignores.
	Rejected []Rejection
	// Origins says where an object was written.
	Origins map[mizzen.Ref]mizzen.Origins
	// Injected says of each namespace whether new pods get a sidecar.
	Injected map[string]bool
	// Waypoints are, by host, those that callers of the ambient mesh are led
	// through.
	Waypoints map[string][]WaypointShare
	// TrustDomain and RootNamespace are the mesh's settings of these names.
	TrustDomain   string
	RootNamespace string
}

// Workload is what runs: a Deployment, StatefulSet, DaemonSet, Job, Pod or
// WorkloadEntry. A request that arrives at one of its pods arrives at all.
type Workload struct {
	// Name is "namespace/name".
	Name      string
	Namespace string
	Labels    map[string]string
	// Identity is the SPIFFE ID without its scheme:
	// "cluster.local/ns/shop/sa/web".
	Identity string
	// Address is the invented address of its only pod; endpoints of Clusters
	// point at it.
	Address string
	// Entry tells that it is a WorkloadEntry, whose address is a real one.
	Entry bool
	// Ports says where the ports of the Services in front of it lead to.
	Ports []ServicePort
	// OnNode tells whether its pods are reached at ports of the node, without a
	// Service.
	OnNode bool
	// Sidecar tells whether its pods have one.
	Sidecar bool
	// Bypass is what never gets to the sidecar.
	Bypass Bypass
	// Ambient tells whether a ztunnel stands in for a sidecar.
	Ambient bool
	// Elsewhere tells that no object is the workload: it stands in for a gateway
	// that is deployed from elsewhere, if there is one.
	Elsewhere bool
	// Idle tells that it has no pods: it is scaled to none.
	Idle bool
	// Waypoint is the name of the waypoint through which ambient callers reach
	// it at its own address, "" if they reach it directly.
	Waypoint string
	Origin   mizzen.Origin
}

// WaypointShare is a waypoint and its share of the requests, 0 to 100.
type WaypointShare struct {
	Waypoint string
	Percent  float64
}

// ServicePort is the port of a Service, and the port of the pod behind it.
type ServicePort struct {
	Port, Target uint32
	// Service is "namespace/name".
	Service string
	// Outside says by what clients outside of the cluster reach it, such as
	// "LoadBalancer"; empty if they do not.
	Outside string
}

// Proxy is one vantage point.
type Proxy struct {
	// Name is that of its workload.
	Name     string
	Role     Role
	Workload *Workload
	// Outbound is about requests that leave the workload, Inbound about those
	// that arrive at it. Of a gateway or a waypoint both are all.
	Outbound, Inbound *Part
}

// Part is what istiod sends to a proxy about requests of one direction. Proxies
// that get the same have the same Part.
type Part struct{ compile func() *View }

// NewPart returns the Part that a function compiles.
func NewPart(compile func() *View) *Part { return &Part{compile: compile} }

// View returns what istiod sends; nothing for a nil Part. It is compiled by the
// first call, and again after much else was asked for: who keeps it keeps it in
// memory. It is not safe for concurrent use, across all proxies of a mesh.
func (p *Part) View() *View {
	if p == nil {
		return nothing
	}
	return p.compile()
}

var nothing = &View{}

// View returns all that istiod sends to a proxy.
func (p *Proxy) View() *View {
	in := p.Inbound.View()
	if p.Outbound == p.Inbound {
		return in
	}
	out := p.Outbound.View()
	return &View{
		Outbound: slices.Concat(out.Outbound, in.Outbound), Inbound: slices.Concat(out.Inbound, in.Inbound),
		Routes: joined(out.Routes, in.Routes), Clusters: joined(out.Clusters, in.Clusters), Endpoints: joined(out.Endpoints, in.Endpoints),
	}
}

func joined[V any](a, b map[string]V) map[string]V {
	out := make(map[string]V, len(a)+len(b))
	maps.Copy(out, a)
	maps.Copy(out, b)
	return out
}

// View is configuration of an Envoy, as istiod would send it. It is not changed
// once it is made.
type View struct {
	// Outbound and Inbound are the listeners of a sidecar by direction; those
	// of gateways and waypoints are Inbound.
	Outbound []*listenerv3.Listener
	Inbound  []*listenerv3.Listener
	// Routes, Clusters and Endpoints are by name.
	Routes    map[string]*routev3.RouteConfiguration
	Clusters  map[string]*clusterv3.Cluster
	Endpoints map[string]*endpointv3.ClusterLoadAssignment
}

// Rejection is an object, or a part of one, that istiod ignores.
type Rejection struct {
	Ref    mizzen.Ref
	Path   mizzen.Path
	Reason string
}

// Rule is the part of an object that made a route, a policy or a cluster.
type Rule struct {
	Ref mizzen.Ref
	// Path is the field, such as spec.http[1].match[0]; empty for the whole
	// object.
	Path mizzen.Path
}
