package worker

import (
	"encoding/json"
	"reflect"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/testing/protocmp"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

func TestFreeze(t *testing.T) {
	web := &traffic.Workload{Name: "shop/web", Namespace: "shop", Labels: map[string]string{"app": "web"}, Ports: []traffic.ServicePort{{Port: 80, Target: 8080}}, Sidecar: true}
	view := &traffic.View{
		Outbound: []*listenerv3.Listener{{Name: "out"}}, Inbound: []*listenerv3.Listener{{Name: "in"}},
		Routes: map[string]*routev3.RouteConfiguration{"80": {Name: "80"}, "other": {Name: "80"}}, Clusters: map[string]*clusterv3.Cluster{"c": {Name: "c"}},
		Endpoints: map[string]*endpointv3.ClusterLoadAssignment{"c": {ClusterName: "c"}},
	}
	both := traffic.NewPart(func() *traffic.View { return view })
	in := traffic.NewPart(func() *traffic.View { return &traffic.View{Inbound: []*listenerv3.Listener{{Name: "own"}}} })
	ref := mizzen.Ref{Kind: "Service", Namespace: "shop", Name: "web"}
	m := &traffic.Mesh{
		Proxies:   []*traffic.Proxy{{Name: "shop/web", Role: traffic.Sidecar, Workload: web, Outbound: both, Inbound: in}, {Name: "shop/api", Role: traffic.Gateway, Outbound: both, Inbound: both}, {Name: "shop/none"}},
		Workloads: []*traffic.Workload{web}, Hosts: map[string][]uint32{"web.shop": {80}}, Rejected: []traffic.Rejection{{Ref: ref, Path: "spec", Reason: "no"}},
		Addresses: map[string][]string{"web.shop": {"10.64.0.1"}}, Aliases: map[string]string{"ext.shop": "web.shop"}, Contested: map[string][]mizzen.Ref{"web.shop": {ref, ref}},
		Origins:  map[mizzen.Ref]mizzen.Origins{ref: {Object: mizzen.Origin{File: "a.yaml", Line: 3}, Fields: map[mizzen.Path]mizzen.Origin{"spec": {File: "a.yaml", Line: 4}}}},
		Injected: map[string]bool{"shop": true}, Waypoints: map[string][]traffic.WaypointShare{"web.shop": {{Waypoint: "shop/way", Percent: 100}}}, TrustDomain: "td", RootNamespace: "istio-system",
	}
	cold, err := freeze(m)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(cold)
	if err != nil {
		t.Fatal(err)
	}
	var sent frozen
	if err := json.Unmarshal(b, &sent); err != nil {
		t.Fatal(err)
	}
	got, err := sent.thaw()
	if err != nil {
		t.Fatal(err)
	}
	seen := cmp.Transformer("seen", func(p *traffic.Part) *traffic.View { return p.View() })
	if diff := cmp.Diff(m, got, protocmp.Transform(), seen, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("mesh (-want +got):\n%s", diff)
	}
	if got.Proxies[0].Workload != got.Workloads[0] || got.Proxies[0].Outbound != got.Proxies[1].Outbound || got.Proxies[1].Outbound != got.Proxies[1].Inbound {
		t.Error("what was shared is no more")
	}
	// What is new in these types must be frozen too.
	for _, c := range []struct {
		of   any
		want int
	}{{traffic.Mesh{}, 12}, {traffic.Proxy{}, 5}, {traffic.View{}, 5}} {
		if n := reflect.TypeOf(c.of).NumField(); n != c.want {
			t.Errorf("%T has %d fields, and %d are known here", c.of, n, c.want)
		}
	}
}

func TestThawWhatIsBroken(t *testing.T) {
	for name, f := range map[string]frozen{
		"no such view":     {Proxies: []frozenProxy{{Name: "a", Inbound: 3}}},
		"no such workload": {Views: []frozenView{{}}, Proxies: []frozenProxy{{Name: "a", Workload: 1}}},
		"no such resource": {Views: []frozenView{{Outbound: []int{1}}}},
		"no message":       {Resources: []resource{{Bytes: []byte{255}}}, Views: []frozenView{{Routes: []int{0}}}},
	} {
		if _, err := f.thaw(); err == nil {
			t.Errorf("%s: there is no error", name)
		}
	}
}
