package effect

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
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
	// hosts are those of the addresses of Services.
	hosts map[string]string
	// addressless are the hosts without an address by port, as they were asked for.
	addressless map[uint32][]string
	proxies     map[string]*traffic.Proxy
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
		Mesh: m, byAddress: map[string]*traffic.Workload{}, hosts: map[string]string{}, addressless: map[uint32][]string{}, proxies: map[string]*traffic.Proxy{}, recent: recent,
		accepts: map[at]acceptance{},
	}
	for _, w := range m.Workloads {
		s.byAddress[w.Address] = w
	}
	for _, host := range sortedKeys(m.Addresses) {
		for _, a := range m.Addresses[host] {
			if s.hosts[a] == "" {
				s.hosts[a] = host
			}
		}
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

// unknownService is what istiod calls the backend of a route of the Gateway API
// that is not there, or that the route may not refer to.
const unknownService = "UnknownService"

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
	// places are where exactly its requests arrive, sorted.
	places []place
	// original: its requests go to the address that the caller asked for.
	original bool
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
	for address, port := range addresses(loads) {
		p := x.side.place(address, port)
		if p.name != "" {
			d.workloads = append(d.workloads, p.name)
		} else {
			d.outside = append(d.outside, address)
		}
		d.places = append(d.places, p)
	}
	d.workloads, d.outside = distinct(d.workloads), distinct(d.outside)
	slices.SortFunc(d.places, comparePlaces)
	d.places = slices.Compact(d.places)
	d.original = c.GetType() == clusterv3.Cluster_ORIGINAL_DST
	if c.GetType() == clusterv3.Cluster_EDS && len(d.workloads)+len(d.outside) == 0 {
		d.problem = "has no workload"
	}
	return d
}

// missing says why there is no cluster: the subset, the port or the host.
func (x *index) missing(d destination) string {
	ports := x.ports[d.name.host]
	switch {
	case d.cluster == unknownService:
		return "the backend of the rule is not there, or no ReferenceGrant lets the rule refer to it"
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
	case d.cluster == unknownService:
		return d.problem
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

// portThrough is the port at the end of a tunnel; 0 at a waypoint, which takes
// everything at one.
func portThrough(e *endpointv3.LbEndpoint) uint32 {
	way := e.GetMetadata().GetFilterMetadata()["envoy.filters.listener.original_dst"].GetFields()
	at := way["local"].GetStringValue()
	port, err := strconv.ParseUint(at[strings.LastIndexByte(at, ':')+1:], 10, 16)
	if err != nil || way["waypoint"].GetStringValue() != "" {
		return 0
	}
	return uint32(port)
}

// addresses yields the addresses and ports of endpoints.
func addresses(loads *endpointv3.ClusterLoadAssignment) func(func(string, uint32) bool) {
	return func(yield func(string, uint32) bool) {
		for _, locality := range loads.GetEndpoints() {
			for _, e := range locality.GetLbEndpoints() {
				at := e.GetEndpoint().GetAddress()
				if a := cmp.Or(addressOf(at), throughTunnel(e)); a != "" && !yield(a, cmp.Or(at.GetSocketAddress().GetPortValue(), portThrough(e))) {
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

// pods lists the workloads, without the namespace where it is the host's, and
// after them the addresses outside.
func (d destination) pods(host string) string {
	const most = 3
	names := make([]string, 0, len(d.workloads))
	for _, w := range d.workloads {
		names = append(names, strings.TrimPrefix(w, namespaceOf(host)+"/"))
	}
	if len(d.outside) == 0 {
		return list(names, most)
	}
	outside := list(d.outside, most)
	if len(names) == 0 {
		return outside
	}
	return list(names, most) + ", " + outside
}

// same tells whether two destinations are the same to a request.
func (d destination) same(e destination) bool { return d.alike(e) && slices.Equal(d.places, e.places) }

// alike tells whether two destinations are the same but for the ports, and the
// addresses of workloads, at which requests arrive there.
func (d destination) alike(e destination) bool {
	if d.original && e.original && d.problem == e.problem {
		return true
	}
	return d.problem == e.problem && d.sameName(e) && slices.Equal(d.workloads, e.workloads) && slices.Equal(d.outside, e.outside)
}

// sameName tells whether two destinations are called the same, as far as that
// matters: the workloads behind a host count, not the host.
func (d destination) sameName(e destination) bool {
	if d.known != e.known || d.name.port != e.name.port {
		return false
	}
	return (d.name.host == e.name.host || len(d.workloads) > 0) && (d.known || d.cluster == e.cluster)
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
