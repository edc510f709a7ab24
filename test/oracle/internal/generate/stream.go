package generate

import (
	"math/rand/v2"
	"slices"
)

// streams adds routes of bytes: to the raw ports of services by port, caller and
// address, and to hosts outside of the mesh by the server name of TLS. They are
// decided about by themselves, so that seeds keep their meshes.
func (b *builder) streams(seed uint64) {
	s := &builder{rnd: rand.New(rand.NewPCG(seed, 0x62797465))}
	for _, o := range b.out {
		name, _ := o["metadata"].(object)["name"].(string)
		if i := slices.Index(services, name); o["kind"] == "VirtualService" && i >= 0 && s.chance(60) {
			o["spec"].(object)["tcp"] = s.tcpRoutes(name, 9001+i)
		}
	}
	s.add("networking.istio.io/v1", "ServiceEntry", "shop", "secure", object{
		"hosts": list{"*.tls.example.com"}, "location": "MESH_EXTERNAL", "resolution": "NONE",
		"ports": list{object{"number": 8443, "name": "tls", "protocol": "TLS"}},
	})
	if s.chance(75) {
		s.add("networking.istio.io/v1", "VirtualService", "shop", "secure", object{
			"hosts": list{"*.tls.example.com"}, "tls": s.tlsRoutes(),
		})
	}
	b.out = append(b.out, s.out...)
}

// tcpRoutes are those of a service; the last takes what comes to its raw port.
func (b *builder) tcpRoutes(host string, port int) list {
	var routes list
	if b.chance(50) {
		condition := []object{
			{"port": port, "sourceLabels": object{"app": b.one(services...)}},
			{"port": port, "destinationSubnets": list{b.one("10.0.0.0/24", "10.0.0.2/32", "10.9.0.0/16")}},
			{"port": port, "sourceLabels": object{"app": "nobody"}},
		}[b.rnd.IntN(3)]
		routes = append(routes, object{"match": list{condition}, "route": b.split(host, port)})
	}
	return append(routes, object{"match": list{object{"port": port}}, "route": b.split(host, port)})
}

// tlsRoutes lead one name, or all of them, to raw ports of services.
func (b *builder) tlsRoutes() list {
	var routes list
	for _, name := range []string{"a.tls.example.com", "*.tls.example.com"} {
		if i := b.rnd.IntN(len(services)); b.chance(75) || len(routes) == 0 && name[0] == '*' {
			routes = append(routes, object{
				"match": list{object{"port": 8443, "sniHosts": list{name}}}, "route": b.split(services[i], 9001+i),
			})
		}
	}
	return routes
}

// split is one destination, or both versions by weight; a weight may be none.
func (b *builder) split(host string, port int) list {
	to := func(version string) object {
		return object{"host": host, "subset": version, "port": object{"number": port}}
	}
	if b.chance(40) {
		return list{object{"destination": to(b.one("v1", "v2"))}}
	}
	first := b.number(0, 1, 50, 99)
	return list{object{"destination": to("v1"), "weight": first}, object{"destination": to("v2"), "weight": 100 - first}}
}
