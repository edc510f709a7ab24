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

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/xds/endpoints"

	"mizzen.dev/mizzen/internal/traffic"
)

// istioVersion is that of the proxies: of the Istio that is linked in.
const istioVersion = "1.31.0"

// proxies returns those of the workloads that have one and matter. What istiod would
// send to them is compiled when it is asked for.
func (e *environment) proxies(ctx context.Context, in *input, v *Vantage) ([]*traffic.Proxy, error) {
	var out []*traffic.Proxy
	compiled := newViews()
	for _, w := range in.workloads {
		if w.role == "" || v != nil && !slices.Contains(v.Namespaces, w.Namespace) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		// istiod's registries end with the compilation, its push context does not:
		// the node gets from them what it needs now.
		if w.role == traffic.Ztunnel {
			out = append(out, e.ztunnel(w))
			continue
		}
		key, node := e.alike(in, w), e.node(w)
		view := func() *traffic.View {
			return compiled.of(key, func() *traffic.View { return e.view(node) })
		}
		out = append(out, &traffic.Proxy{Name: w.Name, Role: w.role, Workload: &w.Workload, View: view})
	}
	return out, nil
}

// node describes a workload's proxy to istiod, as its agent would.
func (e *environment) node(w *workload) *model.Proxy {
	kind := model.SidecarProxy
	switch w.role {
	case traffic.Gateway:
		kind = model.Router
	case traffic.Waypoint:
		kind = model.Waypoint
	}
	return e.gen.SetupProxy(&model.Proxy{
		ID: shortName(w) + "." + w.Namespace, Type: kind, IPAddresses: []string{w.Address}, ConfigNamespace: w.Namespace, Labels: w.Labels,
		Metadata: &model.NodeMetadata{
			Labels: w.Labels, Namespace: w.Namespace, ClusterID: clusterID, IstioVersion: istioVersion, WorkloadName: shortName(w),
			ServiceAccount: w.serviceAccount, MeshID: trustDomain(e.push.Mesh),
		},
	})
}

// view asks istiod's generators for all that a proxy subscribes to.
func (e *environment) view(p *model.Proxy) *traffic.View {
	v := &traffic.View{
		Routes: map[string]*routev3.RouteConfiguration{}, Clusters: map[string]*clusterv3.Cluster{},
		Endpoints: map[string]*endpointv3.ClusterLoadAssignment{},
	}
	listeners := e.gen.Listeners(p)
	for _, l := range listeners {
		if inbound(p, l) {
			v.Inbound = append(v.Inbound, l)
		} else {
			v.Outbound = append(v.Outbound, l)
		}
	}
	for _, r := range e.gen.RoutesFromListeners(p, listeners) {
		sortQueries(r)
		v.Routes[r.Name] = r
	}
	for _, c := range e.gen.Clusters(p) {
		v.Clusters[c.Name] = c
		if c.GetType() == clusterv3.Cluster_EDS {
			b := endpoints.NewEndpointBuilder(c.Name, p, e.push)
			v.Endpoints[c.Name] = b.BuildClusterLoadAssignment(e.gen.Env().EndpointIndex)
		}
	}
	return v
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
