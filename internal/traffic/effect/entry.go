package effect

import (
	"fmt"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// entry is a place at which requests enter a proxy: a route configuration and
// how one gets there. Both sides have the same entry if the keys are equal.
type entry struct {
	key     string
	rc      *routev3.RouteConfiguration
	router  *match.Router
	options match.Options
	// manners are the options in words.
	manners fields
	// scheme is https where the gateway ends TLS; name is the server name asked
	// for there, "" for any.
	scheme, name string
	// port is that of the listener, for gateways.
	port uint32
}

// entries returns the entries of a proxy by key. A sidecar's are named by port;
// of a gateway, listener and server name count, since the name of the route
// configuration holds names of the Gateway that decide nothing.
func entries(v *traffic.View, role traffic.Role) map[string]*entry {
	out := map[string]*entry{}
	listeners := v.Outbound
	if !role.ForWorkload() {
		listeners = v.Inbound
	}
	for _, l := range listeners {
		for _, chain := range chains(l) {
			m := httpManager(chain)
			if m == nil || role == traffic.Waypoint && servedBy(chain) == "" {
				continue
			}
			rc := routesOf(v, chain, m, role)
			if rc == nil {
				continue
			}
			for _, e := range entriesOf(l, chain, m, role) {
				if _, there := out[e.key]; !there {
					e.rc, e.router = rc, match.NewRouter(rc)
					out[e.key] = e
				}
			}
		}
	}
	return out
}

// routesOf returns the routes that a connection manager asks, nil if there are
// none.
func routesOf(v *traffic.View, chain *listenerv3.FilterChain, m *hcmv3.HttpConnectionManager, role traffic.Role) *routev3.RouteConfiguration {
	rc := m.GetRouteConfig()
	if name := m.GetRds().GetRouteConfigName(); name != "" {
		rc = v.Routes[name]
	}
	if rc != nil && role == traffic.Waypoint {
		rc = servedRoutes(chain, rc)
	}
	return rc
}

func entriesOf(l *listenerv3.Listener, chain *listenerv3.FilterChain, m *hcmv3.HttpConnectionManager, role traffic.Role) []*entry {
	options := match.OptionsOf(m)
	options.WithoutTried = true
	if role == traffic.Sidecar {
		name := m.GetRds().GetRouteConfigName()
		if name == "" {
			name = m.GetRouteConfig().GetName()
		}
		return []*entry{{key: name, options: options, manners: mannersOf(m), scheme: "http"}}
	}
	port := l.GetAddress().GetSocketAddress().GetPortValue()
	scheme := "http"
	if chain.GetTransportSocket() != nil {
		scheme = "https"
	}
	names := chain.GetFilterChainMatch().GetServerNames()
	if len(names) == 0 {
		names = []string{""}
	}
	var out []*entry
	for _, name := range names {
		at := fmt.Sprintf("%d/%s", port, name)
		if role == traffic.Waypoint {
			at = chain.GetName()
		}
		out = append(out, &entry{key: at, options: options, manners: mannersOf(m), scheme: scheme, name: name, port: port})
	}
	return out
}

// takes tells whether requests for a host get to the entry.
func (e *entry) takes(host string) bool {
	switch {
	case e.name == "" || e.name == "*" || host == e.name:
		return true
	case strings.HasPrefix(e.name, "*"):
		return strings.HasSuffix(host, e.name[1:])
	}
	return false
}

// hostPort reads the name of a virtual host: "reviews.shop.svc.cluster.local:9080".
func hostPort(vh *routev3.VirtualHost) (host, port string) { return splitPort(vh.GetName()) }

func splitPort(name string) (host, port string) {
	i := strings.LastIndexByte(name, ':')
	if i < 0 {
		return name, ""
	}
	return name[:i], name[i+1:]
}

// hosts returns the virtual hosts of an entry by name, without the fallback. A
// sidecar's are also there by the names of ExternalName Services that stand for
// them.
func (e *entry) hosts(role traffic.Role) map[string]*routev3.VirtualHost {
	out := map[string]*routev3.VirtualHost{}
	if e == nil {
		return out
	}
	for _, vh := range e.rc.GetVirtualHosts() {
		if fallback(vh) {
			continue
		}
		out[vh.Name] = vh
		if host, port := hostPort(vh); role == traffic.Sidecar && strings.HasSuffix(host, clusterDomain) {
			for _, d := range vh.GetDomains() {
				if strings.HasSuffix(d, clusterDomain) && d != host && !strings.HasPrefix(d, "*") {
					out[d+":"+port] = vh
				}
			}
		}
	}
	return out
}

// signature returns what decides about requests to a virtual host, beside its
// domains: its rules and the state of the destinations. Addresses are left out, since those of
// Services and workloads without one are invented anew for each side.
func (c *comparison) signature(x *index, vh *routev3.VirtualHost) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %x", vh.GetRequireTls(), c.hash.of(vh.GetRetryPolicy()))
	for _, r := range vh.GetRoutes() {
		fmt.Fprintf(&b, " %x", c.hash.of(r))
		for _, name := range clustersOf(r) {
			d := x.destination(name)
			fmt.Fprintf(&b, " %q%v%v", d.problem, d.places, d.outside)
		}
	}
	return b.String()
}

// clustersOf returns the clusters that a route names.
func clustersOf(r *routev3.Route) []string {
	a := r.GetRoute()
	var out []string
	if name := a.GetCluster(); name != "" {
		out = append(out, name)
	}
	for _, w := range a.GetWeightedClusters().GetClusters() {
		out = append(out, w.GetName())
	}
	for _, m := range a.GetRequestMirrorPolicies() {
		out = append(out, m.GetCluster())
	}
	return out
}
