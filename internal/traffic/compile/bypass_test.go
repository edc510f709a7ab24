package compile

import (
	"net/netip"
	"testing"

	meshconfig "istio.io/api/mesh/v1alpha1"

	"mizzen.dev/mizzen/internal/traffic/inject"
)

// TestBypass holds what is led past a sidecar to what istio-iptables writes.
func TestBypass(t *testing.T) {
	const (
		in  = "traffic.sidecar.istio.io/includeInboundPorts"
		out = "traffic.sidecar.istio.io/excludeInboundPorts"
		ips = "traffic.sidecar.istio.io/includeOutboundIPRanges"
		not = "traffic.sidecar.istio.io/excludeOutboundIPRanges"
		to  = "traffic.sidecar.istio.io/includeOutboundPorts"
		no  = "traffic.sidecar.istio.io/excludeOutboundPorts"
	)
	redirect, none := meshconfig.ProxyConfig_REDIRECT, meshconfig.ProxyConfig_NONE
	type set = map[string]string
	for _, c := range []struct {
		name        string
		annotations set
		mode        meshconfig.ProxyConfig_InboundInterceptionMode
		values      inject.Capture
		arrives     map[uint32]bool
		leaves      map[string]bool
	}{
		{"nothing said", nil, redirect, inject.Everything, map[uint32]bool{80: false, 0: false}, map[string]bool{"10.0.0.1:80": false}},
		{"a port", set{out: "8080, 9090"}, redirect, inject.Everything, map[uint32]bool{8080: true, 9090: true, 80: false}, nil},
		{"what is taken comes first", set{in: "80,8080", out: "8080"}, redirect, inject.Everything, map[uint32]bool{80: false, 8080: false, 90: true, 0: true}, nil},
		{"none is taken", set{in: ""}, redirect, inject.Everything, map[uint32]bool{80: true, 0: true}, map[string]bool{"10.0.0.1:80": false}},
		{"the injector's value", nil, redirect, inject.Capture{IncludeInboundPorts: "*", ExcludeInboundPorts: "80", IncludeIPRanges: "*"}, map[uint32]bool{80: true, 81: false}, nil},
		{"an annotation before it", set{out: ""}, redirect, inject.Capture{IncludeInboundPorts: "*", ExcludeInboundPorts: "80", IncludeIPRanges: "*"}, map[uint32]bool{80: false}, nil},
		{"ports to others", set{no: "443"}, redirect, inject.Everything, nil, map[string]bool{"10.0.0.1:443": true, "10.0.0.1:80": false}},
		{"addresses", set{not: "10.0.0.0/8,192.0.2.7"}, redirect, inject.Everything, nil, map[string]bool{"10.0.0.1:443": true, "192.0.2.7:80": true, "192.0.2.8:80": false}},
		{"only addresses", set{ips: "10.0.0.0/8"}, redirect, inject.Everything, nil, map[string]bool{"10.0.0.1:443": false, "192.0.2.7:80": true}},
		{"only addresses, and a port", set{ips: "10.0.0.0/8", to: "443"}, redirect, inject.Everything, nil, map[string]bool{"192.0.2.7:443": false, "192.0.2.7:80": true}},
		{"no address", set{ips: ""}, redirect, inject.Everything, nil, map[string]bool{"10.0.0.1:443": true}},
		{"a port alone", set{ips: "", to: "443,80", no: "80"}, redirect, inject.Everything, nil, map[string]bool{"10.0.0.1:443": false, "10.0.0.1:80": true, "10.0.0.1:81": true}},
		{"every address", set{not: "0.0.0.0/0"}, redirect, inject.Everything, nil, map[string]bool{"10.0.0.1:443": true}},
		{"no interception", set{"sidecar.istio.io/interceptionMode": "NONE"}, redirect, inject.Everything, map[uint32]bool{80: true}, map[string]bool{"10.0.0.1:443": true}},
		{"none in the mesh", nil, none, inject.Everything, map[uint32]bool{80: true}, map[string]bool{"10.0.0.1:443": true}},
		{"but in a pod", set{"sidecar.istio.io/interceptionMode": "TPROXY"}, none, inject.Everything, map[uint32]bool{80: false}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bypassOf(c.annotations, c.mode, c.values)
			for port, want := range c.arrives {
				if got := b.In.Has(port); got != want {
					t.Errorf("port %d is reached past the sidecar: %v", port, got)
				}
			}
			for to, want := range c.leaves {
				ap := netip.MustParseAddrPort(to)
				if got, known := b.Leaves(ap.Addr(), uint32(ap.Port())); got != want || !known {
					t.Errorf("%s leaves past the sidecar: %v, known: %v", to, got, known)
				}
			}
		})
	}
	if _, known := bypassOf(set1(not), redirect, inject.Everything).Leaves(netip.Addr{}, 80); known {
		t.Error("an address that nobody knows is taken for one of those that are left out, or none")
	}
}

func set1(name string) map[string]string { return map[string]string{name: "10.0.0.0/8"} }
