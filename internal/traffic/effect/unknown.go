package effect

import (
	"maps"
	"regexp"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// unknowns tells of what differs in what proxies accept and has no words of its
// own: what an EnvoyFilter or a WasmPlugin adds, and settings that only Envoy's
// manual names.
func (c *comparison) unknowns() {
	for _, name := range sortedKeys(c.after.proxies) {
		b, a := c.before.proxies[name], c.after.proxies[name]
		if b == nil || c.hash.inbound(b) == c.hash.inbound(a) {
			continue
		}
		u := &residue{c: c, from: &peers{names: []string{name}}, inbound: a.Role.ForWorkload()}
		before, after := accepted(b), accepted(a)
		u.listeners(before.Inbound, after.Inbound)
		if a.Role.ForWorkload() { // of a gateway, the vantage point tells
			u.applications(before, after)
			u.clusters(before, after)
			u.routes(before, after)
		}
	}
}

// unknown tells of what differs in what proxies send, and was not understood.
func (c *comparison) unknown(v *vantage) {
	if v.parts[0] == nil || v.parts[1] == nil {
		return
	}
	u := &residue{c: c, from: v.peers}
	u.listeners(v.before.Outbound, v.after.Outbound)
	u.clusters(v.before, v.after)
	u.routes(v.before, v.after)
}

// residue compares what is left of the resources of proxies.
type residue struct {
	c    *comparison
	from *peers
	// inbound: they are about what arrives at a workload.
	inbound bool
}

// compare tells how two resources differ once strip has left out what is told
// elsewhere.
func (u *residue) compare(kind, name string, b, a proto.Message, strip func(proto.Message) proto.Message) {
	pair := [2]uint64{u.c.hash.of(b), u.c.hash.of(a)}
	if pair[0] == pair[1] {
		return
	}
	words, ok := u.c.residues[pair]
	if !ok {
		x, y := strip(b), strip(a)
		if !proto.Equal(x, y) {
			words[0], words[1] = difference(x, y)
		}
		u.c.residues[pair] = words
	}
	if words[0] != words[1] {
		u.tell(kind+" "+name, words[0], words[1])
	}
}

func (u *residue) tell(subject, before, after string) {
	f := found{
		code: mizzen.EffectUnknown, impact: mizzen.ImpactWarning, subjects: []string{subject}, noun: "resources of the proxies", before: before, after: after,
		message: "the proxies' configuration changes in a way that is not understood", from: []*peers{u.from},
	}
	f.cause = u.cause()
	u.c.out.add(f)
}

// cause is the likeliest: an object that is meant to change proxies, or else the
// workload, whose pods may ask something of theirs.
func (u *residue) cause() cause {
	workload := u.from.names[0]
	for _, kind := range []string{"EnvoyFilter", "WasmPlugin", "Sidecar", "DestinationRule", "Gateway", "VirtualService"} {
		if refs := u.c.changes.ofKind(kind); len(refs) > 0 {
			return u.c.oneOf(refs, namespaceOfWorkload(workload), hints{"configPatches"})
		}
	}
	found, _ := u.c.workloadCause(workload)
	return found
}

// presence tells of resources that only one side has, unless istiod makes
// them of what is told elsewhere.
func (u *residue) presence(kind, name string, before, after bool) {
	if before == after || istiods.MatchString(name) {
		return
	}
	words := map[bool]string{true: "there", false: ""}
	u.tell(kind+" "+name, words[before], words[after])
}

// istiods are the names that istiod gives to listeners, clusters and virtual
// hosts by itself.
var istiods = regexp.MustCompile(`^(outbound|inbound)(\||_|-vip)|^[0-9a-fA-F.:]+_\d+|^(virtual|connect|main_internal)|Cluster|^[^ ]+:\d+$|^(allow_any|block_all)$`)

func (u *residue) listeners(before, after []*listenerv3.Listener) {
	b, a := map[string]*listenerv3.Listener{}, map[string]*listenerv3.Listener{}
	for _, l := range before {
		b[l.GetName()] = l
	}
	for _, l := range after {
		a[l.GetName()] = l
	}
	for _, name := range union(b, a) {
		if b[name] == nil || a[name] == nil {
			u.presence("listener", name, b[name] != nil, a[name] != nil)
			continue
		}
		if u.c.hash.of(b[name]) != u.c.hash.of(a[name]) {
			u.chains(name, b[name], a[name])
		}
	}
}

// chains compares the filter chains that have the same name on both sides.
func (u *residue) chains(listener string, before, after *listenerv3.Listener) {
	b, a := map[string]*listenerv3.FilterChain{}, map[string]*listenerv3.FilterChain{}
	for _, chain := range chains(before) {
		b[chainKey(chain)] = chain
	}
	for _, chain := range chains(after) {
		a[chainKey(chain)] = chain
	}
	for _, key := range union(b, a) {
		if b[key] != nil && a[key] != nil {
			if (httpManager(b[key]) == nil) != (httpManager(a[key]) == nil) {
				u.protocol(b[key], a[key])
				continue
			}
			u.manners(b[key], a[key])
			u.compare("listener", listener, b[key], a[key], bareChain)
		}
	}
	u.compare("listener", listener, before, after, bareListener)
}

func chainKey(chain *listenerv3.FilterChain) string {
	return chain.GetName() + " " + chain.GetFilterChainMatch().String()
}

// bareListener leaves what is no filter chain.
func bareListener(m proto.Message) proto.Message {
	l := m.(*listenerv3.Listener)
	out := &listenerv3.Listener{ConnectionBalanceConfig: l.ConnectionBalanceConfig, SocketOptions: l.SocketOptions}
	for _, f := range l.GetListenerFilters() {
		if !strings.HasSuffix(f.GetName(), "_inspector") && !strings.HasSuffix(f.GetName(), "original_dst") {
			out.ListenerFilters = append(out.ListenerFilters, f)
		}
	}
	return out
}

// bareChain leaves out what mtls, gateways, routes, policies and telemetry tell.
func bareChain(m proto.Message) proto.Message {
	chain := proto.Clone(m).(*listenerv3.FilterChain)
	chain.FilterChainMatch, chain.TransportSocket, chain.Metadata = nil, nil, nil
	chain.Filters = nil
	for _, f := range m.(*listenerv3.FilterChain).GetFilters() {
		if !told(f.GetName()) {
			chain.Filters = append(chain.Filters, &listenerv3.Filter{Name: f.GetName(), ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: bareFilter(f.GetTypedConfig())}})
		}
	}
	return chain
}

// bareFilter leaves out what differs for reasons that are told elsewhere.
func bareFilter(config *anypb.Any) *anypb.Any {
	if p, ok := unpack(config, &tcpv3.TcpProxy{}); ok {
		p.ClusterSpecifier, p.AccessLog, p.StatPrefix, p.HashPolicy = nil, nil, "", nil
		return packed(p, config)
	}
	h, ok := unpack(config, &hcmv3.HttpConnectionManager{})
	if !ok {
		return config
	}
	h.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: overrides(h.GetRouteConfig())}
	h.AccessLog, h.Tracing, h.StatPrefix = nil, nil, ""
	withoutManners(h)
	kept := h.HttpFilters[:0]
	for _, f := range h.HttpFilters {
		if !told(f.GetName()) || leftToRoutes[f.GetName()] && len(f.GetTypedConfig().GetValue()) > 0 {
			kept = append(kept, f)
		}
	}
	h.HttpFilters = kept
	return packed(h, config)
}

// leftToRoutes are the filters of which istiod lets routes say all there is to
// say, and the routes' effects tell it.
var leftToRoutes = map[string]bool{"envoy.filters.http.fault": true, "envoy.filters.http.cors": true}

// overrides leaves of routes what they say to filters that istiod sets alone.
func overrides(rc *routev3.RouteConfiguration) *routev3.RouteConfiguration {
	out := &routev3.RouteConfiguration{}
	for _, vh := range rc.GetVirtualHosts() {
		for _, r := range vh.GetRoutes() {
			left := &routev3.Route{TypedPerFilterConfig: maps.Clone(r.GetTypedPerFilterConfig())}
			maps.DeleteFunc(left.TypedPerFilterConfig, func(filter string, _ *anypb.Any) bool { return leftToRoutes[filter] })
			if len(left.TypedPerFilterConfig) > 0 {
				out.VirtualHosts = append(out.VirtualHosts, &routev3.VirtualHost{Routes: []*routev3.Route{left}})
			}
		}
	}
	return out
}

func packed(m proto.Message, instead *anypb.Any) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		return instead
	}
	return a
}

// told tells whether a filter's settings are compared by what they do.
func told(filter string) bool {
	for _, name := range []string{
		"envoy.filters.http.rbac", "envoy.filters.network.rbac", "envoy.filters.http.jwt_authn", "envoy.filters.http.ext_authz",
		"envoy.filters.network.ext_authz", "envoy.filters.http.fault", "envoy.filters.http.cors", statsFilter, "istio_authn",
		"envoy.filters.http.grpc_stats", "envoy.filters.network.sni_cluster",
	} {
		if strings.HasPrefix(filter, name) {
			return true
		}
	}
	return false
}

func (u *residue) clusters(before, after *traffic.View) {
	if hashMap(u.c.hash, before.Clusters) == hashMap(u.c.hash, after.Clusters) {
		return
	}
	for _, name := range union(before.Clusters, after.Clusters) {
		b, a := before.Clusters[name], after.Clusters[name]
		if b == nil || a == nil {
			u.presence("cluster", name, b != nil, a != nil)
			continue
		}
		u.compare("cluster", name, b, a, bareCluster)
	}
}

// bareCluster leaves out what clusters and routes tell, and what follows from
// where a destination is.
func bareCluster(m proto.Message) proto.Message {
	cl := proto.Clone(m).(*clusterv3.Cluster)
	cl.CircuitBreakers, cl.OutlierDetection, cl.ConnectTimeout, cl.UpstreamConnectionOptions = nil, nil, nil, nil
	cl.LbPolicy, cl.LbConfig, cl.LoadBalancingPolicy, cl.CommonLbConfig, cl.LbSubsetConfig = 0, nil, nil, nil, nil
	cl.TransportSocket, cl.TransportSocketMatches, cl.Metadata, cl.LoadAssignment = nil, nil, nil, nil
	cl.EdsClusterConfig, cl.ClusterDiscoveryType, cl.AltStatName, cl.TypedExtensionProtocolOptions = nil, nil, "", nil
	cl.Filters = nil
	for _, f := range m.(*clusterv3.Cluster).GetFilters() {
		if f.GetName() != "istio.metadata_exchange" {
			cl.Filters = append(cl.Filters, f)
		}
	}
	return cl
}

func (u *residue) routes(before, after *traffic.View) {
	if hashMap(u.c.hash, before.Routes) == hashMap(u.c.hash, after.Routes) {
		return
	}
	for _, name := range sortedKeys(before.Routes) {
		b, a := before.Routes[name], after.Routes[name]
		if a == nil || u.c.hash.of(b) == u.c.hash.of(a) {
			continue
		}
		u.compare("routes", name, b, a, bareRoutes)
		old := map[string]*routev3.VirtualHost{}
		for _, vh := range b.GetVirtualHosts() {
			old[vh.GetName()] = vh
		}
		for _, vh := range a.GetVirtualHosts() {
			if was := old[vh.GetName()]; was != nil {
				u.compare("host", vh.GetName(), was, vh, bareHost)
			}
		}
	}
}

func bareRoutes(m proto.Message) proto.Message {
	rc := &routev3.RouteConfiguration{}
	m.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd.Name() != "name" && fd.Name() != "virtual_hosts" { // there may be thousands
			rc.ProtoReflect().Set(fd, v)
		}
		return true
	})
	return rc
}

func bareHost(m proto.Message) proto.Message {
	vh := proto.Clone(m).(*routev3.VirtualHost)
	vh.Name, vh.Domains, vh.Routes, vh.RequireTls, vh.RetryPolicy = "", nil, nil, 0, nil
	return vh
}
