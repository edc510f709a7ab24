package generate

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// Mesh is a set of objects and the settings of the mesh.
type Mesh struct {
	// Objects and MeshConfig are YAML.
	Objects    string
	MeshConfig string
}

// InboundLabel is the label of a workload of which inbound calls are to be tried.
const InboundLabel = "oracle-inbound"

type object = map[string]any

type list = []any

// services are those of the generated meshes, in namespace shop; team has one
// more. Each has two versions.
var services = []string{"web", "reviews", "ratings", "cart", "pay"}

// normalizations are what a mesh may do with paths.
var normalizations = []string{"BASE", "NONE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"}

// connectionSettings are what a mesh may set beside; EDGE is for gateways.
var connectionSettings = []string{
	"", "", "defaultConfig: {connectionSettings: {profile: EDGE}}\n",
	"defaultConfig: {connectionSettings: {httpHeadersWithUnderscoresAction: HEADERS_WITH_UNDERSCORES_DROP_HEADER, httpPathWithEscapedSlashesAction: REJECT_REQUEST, httpMaxStreamDuration: 90s}}\n",
}

// builder writes one mesh.
type builder struct {
	rnd *rand.Rand
	// aside decides about what came later, so that seeds keep their meshes.
	aside *rand.Rand
	out   []object
	n     int
}

// NewMesh returns the mesh of a seed: services with two versions, rules of Istio
// or of the Gateway API for them, hosts outside of the mesh, a gateway, and
// policies for one of the services, which trusts tokens that keys (a JSON web
// key set) verify.
func NewMesh(seed uint64, keys string) (Mesh, error) {
	b := &builder{rnd: rand.New(rand.NewPCG(seed, 0x6d657368)), aside: rand.New(rand.NewPCG(seed, 0x6173))}
	for i, name := range services {
		b.service("shop", name, i+1)
		b.destinationRule("shop", name)
		if b.chance(80) {
			b.virtualService(name, list{name}, nil)
		} else {
			api := &builder{rnd: rand.New(rand.NewPCG(seed, 0x617069+uint64(i)))}
			api.httpRoute(name)
			b.out = append(b.out, api.out...)
		}
	}
	b.service("team", "other", 20)
	b.add("networking.istio.io/v1", "ServiceEntry", "shop", "external", object{
		"hosts": list{"api.ext.example.com", "*.wild.example.com"}, "location": "MESH_EXTERNAL", "resolution": "NONE",
		"ports": list{object{"number": 9080, "name": "http", "protocol": "HTTP"}},
	})
	if b.chance(50) {
		b.virtualService("external", list{"api.ext.example.com", "*.wild.example.com"}, nil)
	}
	b.gateway()
	if b.chance(30) {
		b.add("networking.istio.io/v1", "Sidecar", "team", "default", object{
			"egress": list{object{"hosts": list{"./*", "shop/" + b.one("reviews", "*") + ".shop.svc.cluster.local"}}},
		})
	}
	b.policies(keys)
	b.streams(seed)
	text, err := b.text()
	config := "pathNormalization: {normalization: " + b.one(normalizations...) + "}\n" + connectionSettings[b.aside.IntN(len(connectionSettings))]
	return Mesh{Objects: text, MeshConfig: config}, err
}

func (b *builder) text() (string, error) {
	var documents []string
	for _, o := range b.out {
		y, err := yaml.Marshal(o)
		if err != nil {
			return "", fmt.Errorf("generate: %w", err)
		}
		documents = append(documents, string(y))
	}
	return strings.Join(documents, "---\n"), nil
}

func (b *builder) add(version, kind, namespace, name string, spec object) {
	b.out = append(b.out, object{
		"apiVersion": version, "kind": kind, "spec": spec,
		"metadata": object{"name": name, "namespace": namespace},
	})
}

// chance is true in so many of a hundred cases.
func (b *builder) chance(percent int) bool { return b.rnd.IntN(100) < percent }

func (b *builder) one(of ...string) string { return of[b.rnd.IntN(len(of))] }

func (b *builder) number(of ...int) int { return of[b.rnd.IntN(len(of))] }

func (b *builder) service(namespace, name string, i int) {
	b.add("v1", "Service", namespace, name, object{
		"selector": object{"app": name}, "clusterIP": fmt.Sprintf("10.0.0.%d", i),
		"ports": list{
			object{"name": "http", "port": 9080, "targetPort": 8080},
			object{"name": "tcp-raw", "port": 9000 + i, "targetPort": 9000},
		},
	})
	for _, version := range []string{"v1", "v2"} {
		labels := object{"app": name, "version": version}
		b.add("apps/v1", "Deployment", namespace, name+"-"+version, object{
			"selector": object{"matchLabels": labels},
			"template": object{
				// Without injection there is no sidecar, and nothing to ask.
				"metadata": object{"labels": object{"app": name, "version": version, "sidecar.istio.io/inject": "true", InboundLabel: strconv.FormatBool(name == "pay" && version == "v1")}},
				"spec":     object{"serviceAccountName": name, "containers": list{object{"name": "c", "image": "x"}}},
			},
		})
	}
}

func (b *builder) destinationRule(namespace, name string) {
	spec := object{"host": name, "subsets": list{
		object{"name": "v1", "labels": object{"version": "v1"}}, object{"name": "v2", "labels": object{"version": "v2"}},
	}}
	switch b.rnd.IntN(4) {
	case 0:
		spec["trafficPolicy"] = object{"loadBalancer": object{"simple": b.one("RANDOM", "ROUND_ROBIN", "LEAST_REQUEST")}}
	case 1:
		spec["trafficPolicy"] = object{"loadBalancer": object{"consistentHash": object{"httpHeaderName": "x-user"}}}
	case 2:
		spec["trafficPolicy"] = object{
			"outlierDetection": object{"consecutive5xxErrors": 2, "interval": "1s"},
			"connectionPool":   object{"http": object{"http1MaxPendingRequests": 100, "maxRequestsPerConnection": b.number(0, 1, 10)}},
		}
	}
	b.add("networking.istio.io/v1", "DestinationRule", namespace, name, spec)
}

// gateway adds a gateway with a plain and a TLS port, and rules for its hosts.
func (b *builder) gateway() {
	labels := object{"istio": "ingressgateway"}
	b.add("v1", "Service", "edge", "ingress", object{
		"selector": labels, "clusterIP": "10.0.1.1",
		"ports": list{object{"name": "http2", "port": 80, "targetPort": 8080}, object{"name": "https", "port": 443, "targetPort": 8443}},
	})
	b.add("apps/v1", "Deployment", "edge", "ingress", object{
		"selector": object{"matchLabels": labels},
		"template": object{"metadata": object{"labels": labels}, "spec": object{"containers": list{object{"name": "istio-proxy", "image": "auto"}}}},
	})
	plain := object{"port": object{"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": list{"*.example.com", "example.com", "shop.example.org"}}
	old := object{
		"port": object{"number": 80, "name": "old", "protocol": "HTTP"}, "hosts": list{"old.example.net"},
		"tls": object{"httpsRedirect": true},
	}
	secure := object{
		"port": object{"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": list{"secure.example.com", "*.secure.example.com"},
		"tls": object{"mode": "SIMPLE", "credentialName": "secure"},
	}
	b.add("networking.istio.io/v1", "Gateway", "edge", "gw", object{"selector": labels, "servers": list{plain, secure, old}})
	at := list{"edge/gw"}
	if b.chance(30) {
		at = append(at, "mesh")
	}
	b.virtualService("public", list{"www.example.com", "example.com", "secure.example.com"}, at)
	b.virtualService("wild", list{"*.example.com"}, list{"edge/gw"})
	b.virtualService("old", list{"old.example.net"}, list{"edge/gw"})
}

// virtualService adds rules for hosts. Some end with one that takes all.
func (b *builder) virtualService(name string, hosts, gateways list) {
	var routes list
	for range 2 + b.rnd.IntN(6) {
		routes = append(routes, b.route(true))
	}
	if b.chance(70) {
		routes = append(routes, b.route(false))
	}
	spec := object{"hosts": hosts, "http": routes}
	if gateways != nil {
		spec["gateways"] = gateways
	}
	b.add("networking.istio.io/v1", "VirtualService", "shop", name, spec)
}
