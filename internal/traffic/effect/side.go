package effect

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"mizzen.dev/mizzen/internal/traffic"
)

// side is one of the two meshes with its look-ups.
type side struct {
	*traffic.Mesh
	byAddress map[string]*traffic.Workload
	proxies   map[string]*traffic.Proxy
	// recent are the look-ups of the last views, accepts what was asked of
	// workloads.
	recent  *simplelru.LRU[*traffic.View, *index]
	accepts map[at]acceptance
}

// maxIndexes is how many views keep their look-ups: those of one vantage point
// are used together.
const maxIndexes = 4

func newSide(m *traffic.Mesh) *side {
	if m == nil {
		m = &traffic.Mesh{}
	}
	recent, err := simplelru.NewLRU[*traffic.View, *index](maxIndexes, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	s := &side{
		Mesh: m, byAddress: map[string]*traffic.Workload{}, proxies: map[string]*traffic.Proxy{}, recent: recent,
		accepts: map[at]acceptance{},
	}
	for _, w := range m.Workloads {
		s.byAddress[w.Address] = w
	}
	for _, p := range m.Proxies {
		s.proxies[p.Name] = p
	}
	return s
}

// The clusters that istiod makes for requests to hosts that it does not know.
const (
	passthrough = "PassthroughCluster"
	blackHole   = "BlackHoleCluster"
)

// clusterDomain is the suffix of the hosts of Kubernetes' Services.
const clusterDomain = ".svc.cluster.local"

// shortHost leaves out what every host of the mesh has.
func shortHost(host string) string { return strings.TrimSuffix(host, clusterDomain) }

// namespaceOf returns the namespace of a Service's host, "" for other hosts.
func namespaceOf(host string) string {
	short, ok := strings.CutSuffix(host, clusterDomain)
	if !ok {
		return ""
	}
	_, namespace, _ := strings.Cut(short, ".")
	return namespace
}

// clusterName is what istiod's name of a cluster says:
// "outbound|9080|v1|reviews.shop.svc.cluster.local".
type clusterName struct {
	port, subset, host string
}

// parseCluster reads istiod's name of an outbound cluster; ok is false for
// others, such as PassthroughCluster.
func parseCluster(name string) (n clusterName, ok bool) {
	parts := strings.Split(name, "|")
	if len(parts) != 4 {
		// The form for SNI-routed clusters: outbound_.9080_.v1_.host.
		if parts = strings.Split(name, "_."); len(parts) != 4 {
			return clusterName{}, false
		}
	}
	if parts[0] == viaWaypoint {
		_, parts[2], _ = strings.Cut(parts[2], "/") // "http/v1": what a waypoint reads, and the subset
	}
	return clusterName{port: parts[1], subset: parts[2], host: parts[3]}, true
}

// subject names what a cluster leads to: "reviews.shop:9080".
func (n clusterName) subject() string { return shortHost(n.host) + ":" + n.port }

// destination is a cluster as a reader knows it.
type destination struct {
	cluster string
	name    clusterName
	// known is false for clusters that are not istiod's.
	known bool
	// workloads are the names of what its endpoints are, sorted; outside are
	// addresses that no workload has.
	workloads, outside []string
	// problem says why requests to it fail, "" if they do not; missing, that
	// there is no such cluster.
	problem string
	missing bool
}

// index is a View with its look-ups, made as they are needed.
type index struct {
	*traffic.View
	side  *side
	ports map[string]map[string]bool
	found map[string]destination
}

// index returns the look-ups of a view.
func (s *side) index(v *traffic.View) *index {
	if x, ok := s.recent.Get(v); ok {
		return x
	}
	x := &index{View: v, side: s, ports: map[string]map[string]bool{}, found: map[string]destination{}}
	for name := range v.Clusters {
		if n, ok := parseCluster(name); ok {
			if x.ports[n.host] == nil {
				x.ports[n.host] = map[string]bool{}
			}
			x.ports[n.host][n.port] = true
		}
	}
	s.recent.Add(v, x)
	return x
}

// destination looks a cluster up as a proxy with this view would.
func (x *index) destination(cluster string) destination {
	d, ok := x.found[cluster]
	if !ok {
		d = x.resolve(cluster)
		x.found[cluster] = d
	}
	return d
}

func (x *index) resolve(cluster string) destination {
	d := destination{cluster: cluster}
	d.name, d.known = parseCluster(cluster)
	c := x.Clusters[cluster]
	if c == nil {
		d.problem, d.missing = x.missing(d), true
		return d
	}
	if cluster == blackHole {
		d.problem = "is blocked"
	}
	loads := c.GetLoadAssignment()
	if c.GetType() == clusterv3.Cluster_EDS {
		if loads = x.Endpoints[cluster]; loads == nil {
			loads = x.Endpoints[c.GetEdsClusterConfig().GetServiceName()]
		}
	}
	for address := range addresses(loads) {
		if w := x.side.byAddress[address]; w != nil {
			d.workloads = append(d.workloads, w.Name)
		} else {
			d.outside = append(d.outside, address)
		}
	}
	d.workloads, d.outside = distinct(d.workloads), distinct(d.outside)
	if c.GetType() == clusterv3.Cluster_EDS && len(d.workloads)+len(d.outside) == 0 {
		d.problem = "has no workload"
	}
	return d
}

// missing says why there is no cluster: the subset, the port or the host.
func (x *index) missing(d destination) string {
	ports := x.ports[d.name.host]
	switch {
	case !d.known:
		return "does not exist"
	case ports[d.name.port] && d.name.subset != "":
		return "is no subset of " + shortHost(d.name.host)
	case len(ports) > 0:
		return "is no port of " + shortHost(d.name.host)
	}
	return "is no known host"
}

// failing names a destination whose requests fail, with the reason.
func (d destination) failing() string {
	what := d.name.subset
	switch {
	case !d.known:
		what = d.cluster
	case strings.HasPrefix(d.problem, "is no port"):
		what = d.name.port
	case what == "" || strings.HasPrefix(d.problem, "is no known"):
		what = d.name.subject()
	}
	return what + " " + d.problem
}

// external tells whether a destination is outside of the mesh.
func (d destination) external() bool {
	return d.known && len(d.workloads) == 0 && !strings.HasSuffix(d.name.host, clusterDomain)
}

// addresses yields the addresses of endpoints.
func addresses(loads *endpointv3.ClusterLoadAssignment) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, locality := range loads.GetEndpoints() {
			for _, e := range locality.GetLbEndpoints() {
				if a := cmp.Or(addressOf(e.GetEndpoint().GetAddress()), throughTunnel(e)); a != "" && !yield(a) {
					return
				}
			}
		}
	}
}

func addressOf(a *corev3.Address) string { return a.GetSocketAddress().GetAddress() }

// words names a destination for requests to host: the subset, else the
// workloads; with the host in front if it is another one.
func (d destination) words(host string) string {
	switch {
	case d.cluster == passthrough:
		return "passed through to the address asked for"
	case !d.known:
		return d.cluster
	}
	name := d.name.subset
	foreign := d.name.host != host
	if name == "" {
		switch {
		case foreign:
			return d.name.subject()
		case len(d.workloads) > 0:
			return d.pods(host)
		case d.elsewhere() != "":
			return "waypoint " + d.elsewhere() + ", not known here"
		}
		return d.name.subject()
	}
	if foreign {
		return d.name.subject() + " " + name
	}
	return name
}

// pods lists the workloads, without the namespace where it is the host's.
func (d destination) pods(host string) string {
	const most = 3
	names := make([]string, 0, most)
	for i, w := range d.workloads {
		if i == most {
			return strings.Join(names, ", ") + fmt.Sprintf(" and %d more", len(d.workloads)-most)
		}
		names = append(names, strings.TrimPrefix(w, namespaceOf(host)+"/"))
	}
	return strings.Join(names, ", ")
}

// same tells whether two destinations are the same to a request.
func (d destination) same(e destination) bool {
	return d.problem == e.problem && (d.name.host == e.name.host || len(d.workloads) > 0) && d.name.port == e.name.port &&
		d.known == e.known && (d.known || d.cluster == e.cluster) &&
		slices.Equal(d.workloads, e.workloads) && slices.Equal(d.outside, e.outside)
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// sortedKeys returns the keys of a map in order.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// union returns the keys of both maps in order.
func union[K cmp.Ordered, V any](a, b map[K]V) []K {
	keys := sortedKeys(a)
	for k := range b {
		if _, both := a[k]; !both {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}
