package compile

import (
	"cmp"
	"context"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"istio.io/api/annotation"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/xds/endpoints"

	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/release"
)

// istioVersion is that of the proxies: of the Istio that is linked in.
const istioVersion = release.Compiled

// proxies returns those of the workloads that have one and matter. What istiod would
// send to them is compiled when it is asked for.
func (e *environment) proxies(ctx context.Context, in *input, v *Vantage) ([]*traffic.Proxy, error) {
	e.routeless = v != nil && v.NoRoutes
	var out []*traffic.Proxy
	sending, accepting := newViews(), newViews()
	for _, w := range in.workloads {
		if w.role == "" || !v.sees(w) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if w.role == traffic.Ztunnel {
			out = append(out, e.tunnels.proxy(w))
			continue
		}
		node := e.node(w)
		sends, accepts := in.alike(w, node)
		p := &traffic.Proxy{Name: w.Name, Role: w.role, Workload: &w.Workload}
		if w.role == traffic.Sidecar {
			p.Outbound = sending.part(sends, func() *traffic.View { return w.Bypass.Outbound(e.outbound(node)) })
			p.Inbound = accepting.part(accepts, func() *traffic.View { return w.Bypass.Inbound(e.inbound(node)) })
		} else {
			p.Outbound = sending.part(accepts, func() *traffic.View { return e.view(node) })
			p.Inbound = p.Outbound
		}
		out = append(out, p)
	}
	return out, nil
}

// node describes a workload's proxy to istiod, as its agent would. istiod's
// registries end with the compilation, its push context does not: the node gets
// from them what it needs now. What a sidecar sees of the mesh comes later (see
// scoped), as it takes 10 ms for each namespace of a large one.
func (e *environment) node(w *workload) *model.Proxy {
	kind := model.SidecarProxy
	switch w.role {
	case traffic.Gateway:
		kind = model.Router
	case traffic.Waypoint:
		kind = model.Waypoint
	}
	p := &model.Proxy{
		ID: shortName(w) + "." + w.Namespace, Type: kind, IPAddresses: []string{w.Address}, ConfigNamespace: w.Namespace, Labels: w.Labels,
		DNSDomain: w.Namespace + ".svc." + domain, IstioVersion: model.ParseIstioVersion(istioVersion),
		Metadata: &model.NodeMetadata{
			Labels: w.Labels, Namespace: w.Namespace, ClusterID: clusterID, IstioVersion: istioVersion, WorkloadName: shortName(w),
			ServiceAccount: w.serviceAccount, MeshID: trustDomain(e.push.Mesh),
		},
	}
	if _, own := w.annotations[annotation.ProxyConfig.Name]; own {
		// The injector hands it to the agent, and the agent to istiod.
		meta := &model.NodeMetadata{Namespace: w.Namespace, Labels: w.Labels, Annotations: w.annotations}
		p.Metadata.ProxyConfig = (*model.NodeMetaProxyConfig)(e.push.ProxyConfigs.EffectiveProxyConfig(meta, e.push.Mesh))
	}
	if kind != model.SidecarProxy {
		return e.gen.SetupProxy(p)
	}
	p.SetServiceTargets(e.gen.Env().ServiceDiscovery)
	p.DiscoverIPMode()
	return p
}

// scoped returns a proxy with what it sees of the mesh.
func (e *environment) scoped(p *model.Proxy) *model.Proxy {
	if p.SidecarScope == nil {
		p.SetSidecarScope(e.push)
	}
	return p
}

// view asks istiod's generators for all that a proxy subscribes to.
func (e *environment) view(p *model.Proxy) *traffic.View {
	v := newView()
	listeners := e.gen.Listeners(e.scoped(p))
	for _, l := range listeners {
		if inbound(p, l) {
			v.Inbound = append(v.Inbound, l)
		} else {
			v.Outbound = append(v.Outbound, l)
		}
	}
	e.complete(v, p, listeners, e.clusters(p))
	return v
}

// outbound returns the part of view that does not depend on what is sent to the
// workload itself.
func (e *environment) outbound(p *model.Proxy) *traffic.View {
	v := newView()
	for _, l := range e.gen.Listeners(e.scoped(p)) {
		if !inbound(p, l) {
			v.Outbound = append(v.Outbound, l)
		}
	}
	clusters := slices.DeleteFunc(e.clusters(p), func(c *clusterv3.Cluster) bool { return inboundCluster(c.Name) })
	e.complete(v, p, v.Outbound, clusters)
	return v
}

// inbound returns the rest of view. That istiod builds inbound and outbound
// listeners apart, and inbound clusters with every change of some others, saves
// all that is outbound.
func (e *environment) inbound(p *model.Proxy) *traffic.View {
	v := newView()
	whole := e.scoped(p).SidecarScope
	defer func() { p.SidecarScope = whole }()
	own := *whole
	own.EgressListeners = nil // read for outbound listeners alone
	p.SidecarScope = &own
	for _, l := range e.gen.Listeners(p) {
		if inbound(p, l) {
			v.Inbound = append(v.Inbound, l)
		}
	}
	none := &model.PushRequest{Push: e.push}
	resources, _, _, _ := e.gen.ConfigGen.BuildDeltaClusters(p, none, &model.WatchedResource{})
	clusters := slices.DeleteFunc(e.decoded(resources), func(c *clusterv3.Cluster) bool { return !inboundCluster(c.Name) })
	e.complete(v, p, v.Inbound, clusters)
	return v
}

func newView() *traffic.View {
	return &traffic.View{
		Routes: map[string]*routev3.RouteConfiguration{}, Clusters: map[string]*clusterv3.Cluster{},
		Endpoints: map[string]*endpointv3.ClusterLoadAssignment{},
	}
}

// complete adds clusters, their endpoints, and the routes that listeners name.
func (e *environment) complete(v *traffic.View, p *model.Proxy, listeners []*listenerv3.Listener, clusters []*clusterv3.Cluster) {
	if !e.routeless {
		for _, r := range e.gen.RoutesFromListeners(p, listeners) {
			sortQueries(r)
			v.Routes[r.Name] = r
		}
	}
	for _, c := range clusters {
		v.Clusters[c.Name] = c
		if c.GetType() == clusterv3.Cluster_EDS {
			v.Endpoints[c.Name] = e.shared.loads(endpoints.NewEndpointBuilder(c.Name, p, e.push), e.gen.Env().EndpointIndex)
		}
	}
}

func (e *environment) clusters(p *model.Proxy) []*clusterv3.Cluster {
	resources, _ := e.gen.ConfigGen.BuildClusters(p, &model.PushRequest{Push: e.push})
	return e.decoded(resources)
}

func (e *environment) decoded(resources []*discoveryv3.Resource) []*clusterv3.Cluster {
	out := make([]*clusterv3.Cluster, 0, len(resources))
	for _, r := range resources {
		if c, err := e.shared.cluster(r); err == nil { // istiod has just encoded it
			out = append(out, c)
		}
	}
	return out
}

// sortQueries orders conditions on the query, all of which must hold: istiod
// writes them in the order of a map, another one each time.
func sortQueries(r *routev3.RouteConfiguration) {
	for _, host := range r.VirtualHosts {
		for _, route := range host.Routes {
			slices.SortFunc(route.GetMatch().GetQueryParameters(), func(a, b *routev3.QueryParameterMatcher) int {
				return cmp.Compare(a.Name, b.Name)
			})
		}
	}
}

// inbound tells whether a listener takes requests to the workload itself.
func inbound(p *model.Proxy, l *listenerv3.Listener) bool {
	if p.Type != model.SidecarProxy {
		return true
	}
	return l.TrafficDirection == corev3.TrafficDirection_INBOUND || strings.HasPrefix(l.Name, "virtualInbound")
}

// inboundCluster tells whether a cluster leads to the workload itself.
func inboundCluster(name string) bool {
	return strings.HasPrefix(name, "inbound|") || name == "InboundPassthroughCluster"
}
