package generate

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// mixed is a service of ambient meshes that speaks all kinds of protocols.
const mixed = "mixed"

// NewAmbientMesh returns the ambient mesh of a seed: the services of NewMesh
// behind a waypoint, with rules of both kinds, and policies for the waypoint and
// for the services, whose tokens keys verify.
func NewAmbientMesh(seed uint64, keys string) (Mesh, error) {
	b := &builder{rnd: rand.New(rand.NewPCG(seed, 0x616d62)), aside: rand.New(rand.NewPCG(seed, 0x6173))}
	waypoint := object{"istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "waypoint"}
	b.out = append(b.out, object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": "shop", "labels": waypoint}})
	b.out = append(b.out, object{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
		"metadata": object{"name": "waypoint", "namespace": "shop", "labels": object{"istio.io/waypoint-for": b.one("service", "all")}},
		"spec": object{
			"gatewayClassName": "istio-waypoint",
			"listeners":        list{object{"name": "mesh", "port": 15008, "protocol": "HBONE"}},
		},
	})
	for i, name := range services {
		b.service("shop", name, i+1)
		b.destinationRule("shop", name)
		switch b.rnd.IntN(5) {
		case 0, 1:
			b.virtualService(name, list{name}, nil)
		case 2, 3:
			b.httpRoute(name)
		}
	}
	b.service("team", "other", 20)
	// Of a port without a protocol, a waypoint finds out what it speaks.
	b.add("v1", "Service", "shop", mixed, object{
		"selector": object{"app": "pay"}, "clusterIP": "10.0.0.30",
		"ports": list{object{"name": "any", "port": 7777}, object{"name": "tls-any", "port": 443}, object{"name": "grpc", "port": 9090}},
	})
	b.guard("gateway.networking.k8s.io", "Gateway", "waypoint", keys)
	for _, name := range append(slices.Clone(services), mixed) {
		if b.chance(70) {
			b.guard("", "Service", name, keys)
		}
	}
	text, err := b.text()
	return Mesh{Objects: text, MeshConfig: "pathNormalization: {normalization: " + b.one(normalizations...) + "}\n"}, err
}

// guard adds policies for one target.
func (b *builder) guard(group, kind, name, keys string) {
	target := list{object{"group": group, "kind": kind, "name": name}}
	if b.chance(40) {
		b.add("security.istio.io/v1", "RequestAuthentication", "shop", name, object{"targetRefs": target, "jwtRules": b.jwtRules(keys)})
	}
	for i := range b.rnd.IntN(3) {
		spec := b.authorization()
		spec["targetRefs"] = target
		b.add("security.istio.io/v1", "AuthorizationPolicy", "shop", fmt.Sprintf("%s-%d", name, i), spec)
	}
}

// httpRoute adds rules of the Gateway API for a service.
func (b *builder) httpRoute(name string) {
	var rules list
	for range 2 + b.rnd.IntN(5) {
		rules = append(rules, b.apiRule(true))
	}
	if b.chance(70) {
		rules = append(rules, b.apiRule(false))
	}
	b.add("gateway.networking.k8s.io/v1", "HTTPRoute", "shop", name, object{
		"parentRefs": list{object{"group": "", "kind": "Service", "name": name, "port": 9080}}, "rules": rules,
	})
}

// apiRule returns one rule of an HTTPRoute; guarded is whether it has
// conditions.
func (b *builder) apiRule(guarded bool) object {
	r := object{}
	if guarded {
		r["matches"] = b.repeat(b.apiMatch)
	}
	if b.chance(12) {
		r["filters"] = list{object{"type": "RequestRedirect", "requestRedirect": b.apiRedirect()}}
		return r
	}
	if filters := b.apiFilters(); filters != nil {
		r["filters"] = filters
	}
	var backends list
	for _, weight := range [][]int{{1}, {1}, {9, 1}, {1, 0, 5}, {0}}[b.rnd.IntN(5)] {
		backend := object{"name": b.backend(), "port": 9080, "weight": weight}
		if b.chance(15) {
			backend["filters"] = list{b.apiHeaders("RequestHeaderModifier", "requestHeaderModifier", "x-a", "x-b")}
		}
		backends = append(backends, backend)
	}
	r["backendRefs"] = backends
	if b.chance(25) {
		r["timeouts"] = object{"request": b.one("3s", "10s"), "backendRequest": b.one("1s", "2s")}
	}
	return r
}

// backend names a service, now and then one that there is not.
func (b *builder) backend() string {
	if b.chance(6) {
		return "nobody"
	}
	return b.one(services...)
}

func (b *builder) apiMatch() object {
	m := object{}
	if b.chance(85) {
		m["path"] = b.choose(
			object{"type": "Exact", "value": b.one(exactPaths...)}, object{"type": "PathPrefix", "value": b.one(prefixPaths...)},
			object{"type": "RegularExpression", "value": b.one(pathRegexes...)},
		)
	}
	if b.chance(30) {
		m["headers"] = list{b.apiText(b.one("x-user", "end-user", "x-a"))}
	}
	if b.chance(20) {
		m["queryParams"] = list{b.apiText(b.one("q", "page"))}
	}
	if b.chance(15) {
		m["method"] = b.one("GET", "POST", "DELETE")
	}
	return m
}

// apiText is a match of a header or of a parameter.
func (b *builder) apiText(name string) object {
	return b.choose(
		object{"name": name, "value": b.one("jason", "a", "A", "v1")},
		object{"name": name, "value": b.one(textRegexes...), "type": "RegularExpression"},
	)
}

func (b *builder) apiRedirect() object {
	r := object{"statusCode": b.number(301, 302)}
	if b.chance(50) {
		r["scheme"] = b.one("https", "http")
	}
	if b.chance(50) {
		r["hostname"] = "new.example.com"
	}
	if b.chance(30) {
		r["port"] = b.number(8443, 80, 443)
	}
	if b.chance(50) {
		r["path"] = b.apiPath()
	}
	return r
}

func (b *builder) apiPath() object {
	return b.choose(
		object{"type": "ReplaceFullPath", "replaceFullPath": b.one("/", "/full")},
		object{"type": "ReplacePrefixMatch", "replacePrefixMatch": b.one("/", "/new", "/new/")},
	)
}

// apiFilters is what may be done on the way.
func (b *builder) apiFilters() list {
	var out list
	if b.chance(30) {
		out = append(out, b.apiHeaders("RequestHeaderModifier", "requestHeaderModifier", "x-a", "x-b"))
	}
	if b.chance(30) {
		out = append(out, b.apiHeaders("ResponseHeaderModifier", "responseHeaderModifier", "x-c", "x-d"))
	}
	if b.chance(30) {
		w := object{"path": b.apiPath()}
		if b.chance(40) {
			w["hostname"] = "rewritten.example.com"
		}
		out = append(out, object{"type": "URLRewrite", "urlRewrite": w})
	}
	if b.chance(20) {
		out = append(out, object{"type": "RequestMirror", "requestMirror": object{"backendRef": object{"name": b.one(services...), "port": 9080}}})
	}
	return out
}

func (b *builder) apiHeaders(kind, field, a, other string) object {
	change := object{}
	if b.chance(50) {
		change["set"] = list{object{"name": b.one(a, "x-new"), "value": b.one("set", "s e t")}}
	}
	if b.chance(40) {
		change["add"] = list{object{"name": other, "value": "added"}}
	}
	if b.chance(40) || len(change) == 0 {
		change["remove"] = list{b.one(a, other)}
	}
	return object{"type": kind, field: change}
}
