package traffic

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Bypass is what of a workload's traffic its sidecar never gets to see: the
// pod's iptables lead past it, so that no route, no mTLS and no policy of the
// sidecar applies. The zero value is a sidecar that takes everything.
type Bypass struct {
	// In are the ports at which clients reach the application itself.
	In Ports
	// Out are the ports to which the application connects by itself, whatever
	// the address.
	Out Ports
	// Past are addresses to which it connects by itself; Only are the only ones
	// that the sidecar takes, nil for all. Taken are ports that it takes beside
	// Only.
	Past, Only []netip.Prefix
	Taken      Ports
}

// Ports is a set of ports.
type Ports struct {
	// List are the ports, sorted; with Except, all but these.
	List   []uint32
	Except bool
}

// AllPorts is every port.
var AllPorts = Ports{Except: true}

// Has tells whether a port is in the set. Port 0 stands for one that nobody
// names.
func (p Ports) Has(port uint32) bool { return slices.Contains(p.List, port) != p.Except }

// Empty tells whether no port is in the set.
func (p Ports) Empty() bool { return len(p.List) == 0 && !p.Except }

// Beyond tells whether a port is in p that is not in q.
func (p Ports) Beyond(q Ports) bool {
	if p.Has(0) && !q.Has(0) {
		return true
	}
	return slices.ContainsFunc(slices.Concat(p.List, q.List), func(port uint32) bool { return p.Has(port) && !q.Has(port) })
}

// String names the set: "port 80", "all ports but 443".
func (p Ports) String() string {
	var names []string
	for _, port := range p.List {
		names = append(names, fmt.Sprint(port))
	}
	list := strings.Join(names, ", ")
	switch {
	case p.Except && list == "":
		return "all ports"
	case p.Except:
		return "all ports but " + list
	case len(names) == 1:
		return "port " + list
	}
	return "ports " + list
}

// Key is equal for those that lead past a sidecar alike.
func (b Bypass) Key() string {
	if b.In.Empty() && !b.Sends() {
		return ""
	}
	return fmt.Sprint(b)
}

// Sends tells whether something that the workload sends is led past.
func (b Bypass) Sends() bool { return !b.Out.Empty() || len(b.Past) > 0 || b.Only != nil }

// Leaves tells whether a connection to an address leaves past the sidecar. An
// address that is not valid is one that nobody knows: known is false where it
// hangs on that.
func (b Bypass) Leaves(to netip.Addr, port uint32) (past, known bool) {
	if b.Out.Has(port) {
		return true, true
	}
	only := b.Only != nil && !b.Taken.Has(port)
	if len(b.Past) == 0 && !only {
		return false, true
	}
	if !to.IsValid() {
		return false, false
	}
	in := func(all []netip.Prefix) bool {
		return slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(to) })
	}
	return in(b.Past) || only && !in(b.Only), true
}

// The networks of the addresses that are invented for Services and for pods, and
// of those that istiod gives to ServiceEntries without one.
var (
	ServiceNetwork = netip.MustParsePrefix("10.64.0.0/12")
	PodNetwork     = netip.MustParsePrefix("10.128.0.0/12")
	entryNetwork   = netip.MustParsePrefix("240.240.0.0/16")
)

// Invented tells whether an address is likely none that a cluster has.
func Invented(a netip.Addr) bool {
	return ServiceNetwork.Contains(a) || PodNetwork.Contains(a) || entryNetwork.Contains(a)
}

// These are the listeners to which a pod's iptables lead what its
// workload gets and sends.
const (
	interceptsInbound  = "virtualInbound"
	interceptsOutbound = "virtualOutbound"
)

// Outbound returns what istiod sends about requests that leave a workload,
// without the ports that never get to its sidecar. Whether connections to an
// address leave past it is not in it, since most addresses are invented.
func (b Bypass) Outbound(v *View) *View {
	if b.Out.Empty() {
		return v
	}
	all := b.Out.Except && len(b.Out.List) == 0
	out := *v
	out.Outbound = nil
	for _, l := range v.Outbound {
		port := l.GetAddress().GetSocketAddress().GetPortValue()
		if kept := l.GetName() == interceptsOutbound || !b.Out.Has(port); kept && !all {
			out.Outbound = append(out.Outbound, l)
		}
	}
	out.Routes = maps.Clone(v.Routes)
	maps.DeleteFunc(out.Routes, func(name string, _ *routev3.RouteConfiguration) bool {
		port, ok := lastPort(name)
		return all || ok && b.Out.Has(port)
	})
	used := clustersUsed(out.Routes)
	out.Clusters = maps.Clone(v.Clusters)
	maps.DeleteFunc(out.Clusters, func(name string, _ *clusterv3.Cluster) bool {
		port, ok := outboundPort(name)
		return ok && b.Out.Has(port) && !used[name]
	})
	out.Endpoints = maps.Clone(v.Endpoints)
	maps.DeleteFunc(out.Endpoints, func(name string, _ *endpointv3.ClusterLoadAssignment) bool { return out.Clusters[name] == nil })
	return &out
}

// lastPort reads the port that the name of a route configuration ends with:
// "80", "db.shop.svc.cluster.local:5432".
func lastPort(name string) (uint32, bool) {
	port, err := strconv.ParseUint(name[strings.LastIndexByte(name, ':')+1:], 10, 16)
	return uint32(port), err == nil
}

// outboundPort reads the port of "outbound|80|v1|reviews.shop.svc.cluster.local".
func outboundPort(name string) (uint32, bool) {
	parts := strings.Split(name, "|")
	if len(parts) != 4 || parts[0] != "outbound" {
		return 0, false
	}
	return lastPort(parts[1])
}

// clustersUsed are those that routes name.
func clustersUsed(routes map[string]*routev3.RouteConfiguration) map[string]bool {
	used := map[string]bool{}
	for _, rc := range routes {
		for _, vh := range rc.GetVirtualHosts() {
			for _, r := range vh.GetRoutes() {
				used[r.GetRoute().GetCluster()] = true
				for _, w := range r.GetRoute().GetWeightedClusters().GetClusters() {
					used[w.GetName()] = true
				}
				for _, m := range r.GetRoute().GetRequestMirrorPolicies() {
					used[m.GetCluster()] = true
				}
			}
		}
	}
	return used
}

// Inbound returns what istiod sends about requests to a workload, as it is to
// clients that are led past the sidecar: there the port takes what comes, and
// no policy is asked.
func (b Bypass) Inbound(v *View) *View {
	if b.In.Empty() {
		return v
	}
	out := *v
	out.Inbound = slices.Clone(v.Inbound)
	for i, l := range out.Inbound {
		if l.GetName() == interceptsInbound {
			out.Inbound[i] = b.led(l)
		}
	}
	return &out
}

// led returns the listener for all ports with filter chains for those that are
// led past it.
func (b Bypass) led(l *listenerv3.Listener) *listenerv3.Listener {
	own := l.GetAddress().GetSocketAddress().GetPortValue()
	// istiod's code shares its filter chains: they are not changed here.
	out := &listenerv3.Listener{}
	proto.Merge(out, l)
	out.FilterChains = nil
	var general []*listenerv3.FilterChain
	named := map[uint32]bool{}
	for _, chain := range l.GetFilterChains() {
		port := chain.GetFilterChainMatch().GetDestinationPort()
		switch {
		case port == nil:
			general = append(general, chain)
		case port.GetValue() == own || !b.In.Has(port.GetValue()):
			named[port.GetValue()] = true
			out.FilterChains = append(out.FilterChains, chain)
		}
	}
	if !b.In.Except {
		for _, port := range b.In.List {
			out.FilterChains = append(out.FilterChains, past(port))
		}
		out.FilterChains = append(out.FilterChains, general...)
		return out
	}
	for _, port := range b.In.List {
		for _, chain := range general {
			if !named[port] {
				out.FilterChains = append(out.FilterChains, forPort(chain, port))
			}
		}
	}
	out.FilterChains = append(out.FilterChains, past(0))
	return out
}

func forPort(chain *listenerv3.FilterChain, port uint32) *listenerv3.FilterChain {
	out := proto.Clone(chain).(*listenerv3.FilterChain)
	if out.FilterChainMatch == nil {
		out.FilterChainMatch = &listenerv3.FilterChainMatch{}
	}
	out.FilterChainMatch.DestinationPort = wrapperspb.UInt32(port)
	return out
}

// past is a filter chain that does what iptables do: lead on to the
// application. Port 0 is all ports without one of their own.
func past(port uint32) *listenerv3.FilterChain {
	const onward = "InboundPassthroughCluster"
	config, err := anypb.New(&tcpv3.TcpProxy{StatPrefix: onward, ClusterSpecifier: &tcpv3.TcpProxy_Cluster{Cluster: onward}})
	if err != nil {
		panic(err) // only for a message that cannot be encoded
	}
	chain := &listenerv3.FilterChain{
		Name:    "past the sidecar",
		Filters: []*listenerv3.Filter{{Name: "envoy.filters.network.tcp_proxy", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: config}}},
	}
	if port != 0 {
		chain.FilterChainMatch = &listenerv3.FilterChainMatch{DestinationPort: wrapperspb.UInt32(port)}
	}
	return chain
}
