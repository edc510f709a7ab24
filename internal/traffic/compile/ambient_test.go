package compile_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen/internal/meshtest"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/compile"
)

// TestAmbient compiles an ambient mesh in a process of its own, since istiod's
// code reads whether there is one when it starts.
func TestAmbient(t *testing.T) {
	if !meshtest.Ambient(t) {
		return
	}
	mesh, err := compile.Compile(t.Context(), objects(t, "testdata/ambient.yaml"), compile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	through := []traffic.WaypointShare{{Waypoint: "shop/waypoint", Percent: 100}}
	want := map[string][]traffic.WaypointShare{"api.shop.svc.cluster.local": through, "api-v2.shop.svc.cluster.local": through}
	if diff := cmp.Diff(want, mesh.Waypoints); diff != "" {
		t.Errorf("waypoints (-want +got):\n%s", diff)
	}
	var got []string
	for _, p := range mesh.Proxies {
		got = append(got, fmt.Sprint(p.Name, " ", p.Role, " ", p.Workload.Ambient, " ", chainsOf(p.View())))
	}
	proxies := []string{
		"old/sidecar sidecar false []",
		"shop/api-v1 ztunnel true [hbone]",
		"shop/api-v2 ztunnel true [hbone]",
		"shop/waypoint waypoint false [inbound-vip|80|http|api-v2.shop.svc.cluster.local inbound-vip|80|http|api.shop.svc.cluster.local]",
		"shop/web ztunnel true [hbone]",
	}
	if diff := cmp.Diff(proxies, got); diff != "" {
		t.Errorf("proxies (-want +got):\n%s", diff)
	}
}

// chainsOf are the filter chains of ztunnels, and those of waypoints for the
// hosts that they serve.
func chainsOf(v *traffic.View) []string {
	var out []string
	for _, l := range v.Inbound {
		for _, chain := range l.FilterChains {
			if name := chain.Name; name == "hbone" || name == "plaintext" || len(name) > 11 && name[:11] == "inbound-vip" {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out
}

// TestAmbientOff: an istiod without the ambient mesh ignores a waypoint.
func TestAmbientOff(t *testing.T) {
	mesh, err := compile.Compile(t.Context(), objects(t, "testdata/ambient.yaml"), compile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(mesh.Rejected) != 1 || mesh.Rejected[0].Ref.Name != "waypoint" || len(mesh.Waypoints) != 0 {
		t.Errorf("rejected %v, waypoints %v", mesh.Rejected, mesh.Waypoints)
	}
	for _, p := range mesh.Proxies {
		if p.Role != traffic.Sidecar || p.Name != "old/sidecar" {
			t.Errorf("there is the proxy %s (%s)", p.Name, p.Role)
		}
	}
}
