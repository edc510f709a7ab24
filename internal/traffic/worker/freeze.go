package worker

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// frozen is a compiled mesh as one worker gives it to another. What proxies
// have in common is in it once.
type frozen struct {
	Resources []resource    `json:"resources"`
	Views     []frozenView  `json:"views"`
	Proxies   []frozenProxy `json:"proxies"`
	// The rest is as in traffic.Mesh.
	Workloads     []*traffic.Workload                `json:"workloads"`
	Hosts         map[string][]uint32                `json:"hosts"`
	Addresses     map[string][]string                `json:"addresses"`
	Aliases       map[string]string                  `json:"aliases"`
	Contested     map[string][]mizzen.Ref            `json:"contested,omitempty"`
	Rejected      []traffic.Rejection                `json:"rejected"`
	Origins       []frozenOrigins                    `json:"origins"`
	Injected      map[string]bool                    `json:"injected"`
	Waypoints     map[string][]traffic.WaypointShare `json:"waypoints,omitempty"`
	TrustDomain   string                             `json:"trustDomain"`
	RootNamespace string                             `json:"rootNamespace"`
}

// resource is a message of Envoy's API by its name in a view.
type resource struct {
	Name  string `json:"n,omitempty"`
	Bytes []byte `json:"b"`
}

// frozenView holds indexes of Resources.
type frozenView struct {
	Outbound  []int `json:"outbound,omitempty"`
	Inbound   []int `json:"inbound,omitempty"`
	Routes    []int `json:"routes,omitempty"`
	Clusters  []int `json:"clusters,omitempty"`
	Endpoints []int `json:"endpoints,omitempty"`
}

type frozenProxy struct {
	Name string       `json:"name"`
	Role traffic.Role `json:"role"`
	// Workload, and the Views of both directions, are indexes; -1 is none.
	Workload int `json:"workload"`
	Outbound int `json:"outbound"`
	Inbound  int `json:"inbound"`
}

type frozenOrigins struct {
	Ref     mizzen.Ref     `json:"ref"`
	Origins mizzen.Origins `json:"origins"`
}

// maxFrozen bounds the resources of a frozen mesh, in bytes.
const maxFrozen = 256 << 20

// freezer builds a frozen mesh.
type freezer struct {
	frozen
	size int
	// known has the indexes of resources by their content, and parts those of
	// views.
	known map[[sha256.Size]byte]int
	parts map[*traffic.Part]int
}

// freeze compiles all views of a mesh. An error is of Kind TooLarge if they
// exceed maxFrozen.
func freeze(m *traffic.Mesh) (*frozen, error) {
	f := &freezer{known: map[[sha256.Size]byte]int{}, parts: map[*traffic.Part]int{nil: -1}}
	f.Workloads, f.Hosts, f.Addresses, f.Aliases, f.Contested = m.Workloads, m.Hosts, m.Addresses, m.Aliases, m.Contested
	f.Rejected, f.Injected = m.Rejected, m.Injected
	f.Waypoints, f.TrustDomain, f.RootNamespace = m.Waypoints, m.TrustDomain, m.RootNamespace
	for _, ref := range slices.SortedFunc(maps.Keys(m.Origins), mizzen.CompareRefs) {
		f.Origins = append(f.Origins, frozenOrigins{ref, m.Origins[ref]})
	}
	for _, p := range m.Proxies {
		frozen := frozenProxy{Name: p.Name, Role: p.Role, Workload: slices.Index(m.Workloads, p.Workload)}
		var err error
		if frozen.Outbound, err = f.part(p.Outbound); err != nil {
			return nil, err
		}
		if frozen.Inbound, err = f.part(p.Inbound); err != nil {
			return nil, err
		}
		f.Proxies = append(f.Proxies, frozen)
	}
	return &f.frozen, nil
}

// part returns the index of what proxies get for one direction.
func (f *freezer) part(p *traffic.Part) (int, error) {
	if i, ok := f.parts[p]; ok {
		return i, nil
	}
	v := p.View()
	out := frozenView{
		Outbound: f.list(v.Outbound), Inbound: f.list(v.Inbound),
		Routes: named(f, v.Routes), Clusters: named(f, v.Clusters), Endpoints: named(f, v.Endpoints),
	}
	if f.size > maxFrozen {
		return 0, &mizzen.Error{
			Kind: mizzen.TooLarge, Object: "traffic plan", Err: fmt.Errorf("the proxies' configuration exceeds %d MiB", maxFrozen>>20),
			Remedy: "plan fewer Applications at once",
		}
	}
	f.Views = append(f.Views, out)
	f.parts[p] = len(f.Views) - 1
	return len(f.Views) - 1, nil
}

func (f *freezer) list(listeners []*listenerv3.Listener) []int {
	var out []int
	for _, l := range listeners {
		out = append(out, f.add("", l))
	}
	return out
}

func named[M proto.Message](f *freezer, messages map[string]M) []int {
	var out []int
	for _, name := range slices.Sorted(maps.Keys(messages)) {
		out = append(out, f.add(name, messages[name]))
	}
	return out
}

// add returns the index of a message. What cannot be written has no content:
// it came from a proxy's configuration, so that it can.
func (f *freezer) add(name string, m proto.Message) int {
	b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	id := sha256.Sum256(slices.Concat([]byte(m.ProtoReflect().Descriptor().FullName()), []byte{0}, []byte(name), []byte{0}, b))
	if i, ok := f.known[id]; ok {
		return i
	}
	f.size += len(name) + len(b)
	f.Resources = append(f.Resources, resource{name, b})
	f.known[id] = len(f.Resources) - 1
	return f.known[id]
}

// thaw is the inverse of freeze.
func (f *frozen) thaw() (*traffic.Mesh, error) {
	t := thawer{frozen: f, messages: make([]proto.Message, len(f.Resources))}
	m := &traffic.Mesh{
		Workloads: f.Workloads, Hosts: f.Hosts, Addresses: f.Addresses, Aliases: f.Aliases, Contested: f.Contested, Rejected: f.Rejected, Injected: f.Injected, Waypoints: f.Waypoints, TrustDomain: f.TrustDomain,
		RootNamespace: f.RootNamespace, Origins: map[mizzen.Ref]mizzen.Origins{},
	}
	for _, o := range f.Origins {
		m.Origins[o.Ref] = o.Origins
	}
	parts := make([]*traffic.Part, len(f.Views))
	for i, v := range f.Views {
		view := t.view(v)
		parts[i] = traffic.NewPart(func() *traffic.View { return view })
	}
	for _, p := range f.Proxies {
		if max(p.Outbound, p.Inbound) >= len(parts) || p.Workload >= len(f.Workloads) {
			return nil, fmt.Errorf("read a compiled mesh: proxy %s has views %d and %d, and workload %d", p.Name, p.Outbound, p.Inbound, p.Workload)
		}
		proxy := &traffic.Proxy{Name: p.Name, Role: p.Role, Outbound: at(parts, p.Outbound), Inbound: at(parts, p.Inbound), Workload: at(f.Workloads, p.Workload)}
		m.Proxies = append(m.Proxies, proxy)
	}
	return m, t.err
}

// at returns an element; nil for the index -1.
func at[T any](list []*T, i int) *T {
	if i < 0 {
		return nil
	}
	return list[i]
}

// thawer reads each message once, so that views share it again.
type thawer struct {
	*frozen
	messages []proto.Message
	err      error
}

func (t *thawer) view(v frozenView) *traffic.View {
	return &traffic.View{
		Outbound: listeners(t, v.Outbound), Inbound: listeners(t, v.Inbound),
		Routes:    byName(t, v.Routes, func() *routev3.RouteConfiguration { return &routev3.RouteConfiguration{} }),
		Clusters:  byName(t, v.Clusters, func() *clusterv3.Cluster { return &clusterv3.Cluster{} }),
		Endpoints: byName(t, v.Endpoints, func() *endpointv3.ClusterLoadAssignment { return &endpointv3.ClusterLoadAssignment{} }),
	}
}

func listeners(t *thawer, indexes []int) []*listenerv3.Listener {
	var out []*listenerv3.Listener
	for _, i := range indexes {
		out = append(out, message(t, i, func() *listenerv3.Listener { return &listenerv3.Listener{} }))
	}
	return out
}

func byName[M proto.Message](t *thawer, indexes []int, empty func() M) map[string]M {
	out := make(map[string]M, len(indexes))
	for _, i := range indexes {
		m := message(t, i, empty)
		if t.err == nil {
			out[t.Resources[i].Name] = m
		}
	}
	return out
}

// message reads a resource; after an error it is empty.
func message[M proto.Message](t *thawer, i int, empty func() M) M {
	if i < 0 || i >= len(t.Resources) {
		t.err = cmp.Or(t.err, fmt.Errorf("read a compiled mesh: there is no resource %d", i))
		return empty()
	}
	if known, ok := t.messages[i].(M); ok {
		return known
	}
	m := empty()
	if err := proto.Unmarshal(t.Resources[i].Bytes, m); err != nil {
		t.err = cmp.Or(t.err, fmt.Errorf("read a compiled mesh: %w", err))
	}
	t.messages[i] = m
	return m
}
