package effect

import (
	"fmt"
	"slices"
	"strings"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// viaWaypoint begins the names of a waypoint's clusters and filter chains for
// what it serves: "inbound-vip|80|http|reviews.shop.svc.cluster.local".
const viaWaypoint = "inbound-vip"

// servedBy returns the name of a waypoint's filter chain for a host that it
// serves, "" for other chains.
func servedBy(chain *listenerv3.FilterChain) string {
	if strings.HasPrefix(chain.GetName(), viaWaypoint+"|") {
		return chain.GetName()
	}
	return ""
}

// servedRoutes are the routes of a waypoint for one host. It takes whatever
// comes to the host's address; a reader knows the host by its name.
func servedRoutes(chain *listenerv3.FilterChain, rc *routev3.RouteConfiguration) *routev3.RouteConfiguration {
	n, ok := parseCluster(chain.GetName())
	if !ok || len(rc.GetVirtualHosts()) != 1 {
		return rc
	}
	named := proto.Clone(rc).(*routev3.RouteConfiguration)
	vh := named.VirtualHosts[0]
	vh.Name = n.host + ":" + n.port
	vh.Domains = append([]string{n.host}, vh.Domains...)
	return named
}

// throughTunnel is the address of who takes the connection to an endpoint that
// is reached by a tunnel: the waypoint on the way, or the workload.
func throughTunnel(e *endpointv3.LbEndpoint) string {
	if e.GetEndpoint().GetAddress().GetEnvoyInternalAddress() == nil {
		return ""
	}
	way := e.GetMetadata().GetFilterMetadata()["envoy.filters.listener.original_dst"].GetFields()
	for _, field := range []string{"waypoint", "local"} {
		at := way[field].GetStringValue()
		if i := strings.LastIndexByte(at, ':'); i > 0 {
			return strings.Trim(at[:i], "[]")
		}
	}
	return ""
}

// ambient are the callers whose requests go through a waypoint: the workloads of
// the ambient mesh on both sides, or the waypoint's own name if there are none.
func (c *comparison) ambient(waypoint string) []string {
	var out []string
	for _, w := range c.after.Workloads {
		if b := c.before.workload(w.Name); w.Ambient && b != nil && b.Ambient {
			out = append(out, w.Name)
		}
	}
	if len(out) == 0 {
		return []string{waypoint}
	}
	return out
}

// waypoints tells of policies that begin or cease to be asked since a host gets
// a waypoint, or leaves it. Where its requests go is told as connections.
func (c *comparison) waypoints() {
	for _, host := range union(c.before.Waypoints, c.after.Waypoints) {
		b, a := c.before.Waypoints[host], c.after.Waypoints[host]
		if slices.Equal(b, a) {
			continue
		}
		old, now := c.before.waypointOf(b), c.after.waypointOf(a)
		if old == nil && now == nil || len(b) > 1 || len(a) > 1 {
			continue
		}
		c.handOver(host, old, now)
	}
}

// waypointOf returns the proxy of the waypoint that takes all requests.
func (s *side) waypointOf(shares []traffic.WaypointShare) *traffic.Proxy {
	if len(shares) != 1 {
		return nil
	}
	if p := s.proxies[shares[0].Waypoint]; p != nil && p.Role == traffic.Waypoint {
		return p
	}
	return nil
}

// handOver compares the policies of the waypoints of a host on both sides;
// without one, nobody is refused on the way.
func (c *comparison) handOver(host string, old, now *traffic.Proxy) {
	before, after := servedChains(old, host), servedChains(now, host)
	p := now
	if p == nil {
		p = old
	}
	total := matrix{}
	for _, name := range union(before, after) {
		b, a := before[name], after[name]
		if b == nil {
			b = open(a)
		}
		if a == nil {
			a = open(b)
		}
		d, ok := c.servedDoor(name, b, a)
		if ok {
			total.join(c.matrix(d, p.Workload), d.port)
		}
	}
	c.tellMatrix(total, p, shortHost(host))
}

// served compares the policies of the hosts that a waypoint serves on both
// sides.
func (c *comparison) served(b, a *traffic.Proxy) {
	before, after := servedChains(b, ""), servedChains(a, "")
	totals := map[string]*matrix{}
	for _, name := range sortedKeys(after) {
		if before[name] == nil {
			continue
		}
		n, _ := parseCluster(name)
		if d, ok := c.servedDoor(name, before[name], after[name]); ok {
			if totals[n.host] == nil {
				totals[n.host] = &matrix{}
			}
			totals[n.host].join(c.matrix(d, a.Workload), d.port)
		}
	}
	for _, host := range sortedKeys(totals) {
		c.tellMatrix(*totals[host], a, shortHost(host))
	}
}

// servedDoor is the way to a host through a waypoint. Whoever comes by it shows
// who it is.
func (c *comparison) servedDoor(name string, b, a *listenerv3.FilterChain) (d door, ok bool) {
	n, ok := parseCluster(name)
	if !ok {
		return d, false
	}
	if _, err := fmt.Sscanf(n.port, "%d", &d.port); err != nil {
		return d, false
	}
	d.waypoint, d.host = true, anyHost
	d.secured, d.key = c.pair(b, a)
	return d, d.key != ""
}

// servedChains returns the filter chains of a waypoint for a host, or for all
// hosts, by name.
func servedChains(p *traffic.Proxy, host string) map[string]*listenerv3.FilterChain {
	out := map[string]*listenerv3.FilterChain{}
	for _, l := range accepted(p).Inbound {
		for _, chain := range chains(l) {
			if n, ok := parseCluster(servedBy(chain)); ok && (host == "" || n.host == host) {
				out[chain.GetName()] = chain
			}
		}
	}
	return out
}

// open returns a filter chain without what refuses requests.
func open(chain *listenerv3.FilterChain) *listenerv3.FilterChain {
	out := &listenerv3.FilterChain{Name: chain.GetName()}
	for _, f := range chain.GetFilters() {
		if decides(f.GetTypedConfig().GetTypeUrl()) {
			continue
		}
		if h, ok := unpack(f.GetTypedConfig(), &hcmv3.HttpConnectionManager{}); ok {
			h = proto.Clone(h).(*hcmv3.HttpConnectionManager)
			h.HttpFilters = slices.DeleteFunc(h.HttpFilters, func(f *hcmv3.HttpFilter) bool { return decides(f.GetTypedConfig().GetTypeUrl()) })
			if packed, err := anypb.New(h); err == nil {
				f = &listenerv3.Filter{Name: f.GetName(), ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed}}
			}
		}
		out.Filters = append(out.Filters, f)
	}
	return out
}

// rebound names what changed the waypoint of a host: its Service, its namespace
// or the Gateway.
func (c *comparison) rebound(host string) (cause, bool) {
	if slices.Equal(c.before.Waypoints[host], c.after.Waypoints[host]) {
		return cause{}, false
	}
	name, _, _ := strings.Cut(host, ".")
	namespace := namespaceOf(host)
	own := []mizzen.Ref{{Kind: "Service", Namespace: namespace, Name: name}, {Kind: "Namespace", Name: namespace}}
	for _, ref := range append(own, c.changes.ofKind("Gateway")...) {
		if c.changes.changed(ref) {
			return c.cause(traffic.Rule{Ref: ref}, hints{"use-waypoint", "waypoint-for"}), true
		}
	}
	return cause{}, false
}

// elsewhere is a waypoint among the destinations that is not among the objects,
// "" for none. It stands there by its name, which no address has.
func (d destination) elsewhere() string {
	for _, name := range d.outside {
		if strings.Contains(name, "/") {
			return name
		}
	}
	return ""
}

// detour says of connections that begin or cease to be led through a waypoint
// what else that means.
func (c *comparison) detour(f *found, b, a *connection) {
	was, is := c.before.leadsThrough(b.fate), c.after.leadsThrough(a.fate)
	switch {
	case f.code != mizzen.EffectDestination && f.code != mizzen.EffectServed && f.code != mizzen.EffectFails || was == is:
	case is == "":
		f.message += fmt.Sprintf("; they no longer go through the waypoint %s, whose routes and policies do not apply any more", was)
	case c.after.proxies[is] == nil:
		f.message += fmt.Sprintf("; they go through the waypoint %s, which is not known here: what it does with them cannot be told", is)
	case was == "":
		f.message += fmt.Sprintf("; they go through the waypoint %s, whose routes and policies apply", is)
	default:
		f.message += fmt.Sprintf("; they go through the waypoint %s instead of %s", is, was)
	}
}

// leadsThrough names the waypoint among the destinations of a connection; ""
// for none.
func (s *side) leadsThrough(f fate) string {
	for _, share := range f.shares {
		for _, w := range share.workloads {
			if p := s.proxies[w]; p != nil && p.Role == traffic.Waypoint {
				return w
			}
		}
		if name := share.elsewhere(); name != "" {
			return name
		}
	}
	return ""
}
