package mesh

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/meshtest"
)

func brief(t testing.TB, manifests, known string) []string {
	t.Helper()
	findings, err := Check(t.Context(), meshtest.Objects(t, manifests), Known{meshtest.Objects(t, known), true})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range findings {
		if f.Remedy == "" {
			t.Errorf("%s has no remedy", f.Code)
		}
		lines = append(lines, string(f.Code)+" "+string(f.Severity)+" "+f.Ref.Name+" "+string(f.Path)+": "+f.Message)
	}
	return lines
}

// shop is a service with one version.
const shop = `
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {selector: {app: reviews}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews, namespace: shop}
spec: {template: {metadata: {labels: {app: reviews, version: v1}}}}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{name: tcp-db, port: 5432}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec: {template: {metadata: {labels: {app: db}}}}
---
`

func object(kind, name, spec string) string {
	group := "networking.istio.io"
	if kind == "PeerAuthentication" || kind == "AuthorizationPolicy" {
		group = "security.istio.io"
	}
	return "apiVersion: " + group + "/v1\nkind: " + kind + "\nmetadata: {name: " + name + ", namespace: shop}\nspec: " + spec + "\n---\n"
}

func TestCheck(t *testing.T) {
	cases := map[string]struct {
		manifests, known string
		want             []string
	}{
		"nothing wrong": {
			manifests: shop + object("VirtualService", "v", "{hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}, weight: 90}, {destination: {host: reviews}, weight: 10}]}]}") +
				object("DestinationRule", "d", "{host: reviews, subsets: [{name: v1, labels: {version: v1}}]}"),
		},
		"weights that are not 100": {
			manifests: shop + object("VirtualService", "v", "{hosts: [reviews], http: [{route: [{destination: {host: reviews}, weight: 90}, {destination: {host: reviews}, weight: 1}]}]}"),
			want:      []string{"MZ4101 warning v spec.http[0].route: the weights of the route add up to 91, not to 100, so that the shares differ from what is written"},
		},
		"weights of TLS and TCP routes": {
			manifests: shop + object("VirtualService", "v", "{hosts: [reviews], tls: [{route: [{destination: {host: db}, weight: 50}, {destination: {host: db}, weight: 60}]}], tcp: [{route: [{destination: {host: db}, weight: 80}]}]}"),
			want: []string{
				"MZ4101 warning v spec.tcp[0].route: the weight 80 of the only destination has no effect: it gets every request",
				"MZ4101 warning v spec.tls[0].route: the weights of the route add up to 110, not to 100, so that the shares differ from what is written",
			},
		},
		"weights as a ratio": {
			manifests: shop + object("VirtualService", "v", "{hosts: [reviews], http: [{route: [{destination: {host: reviews}, weight: 3}, {destination: {host: reviews}, weight: 1}]}]}"),
		},
		"a subset of nothing": {
			manifests: shop + object("DestinationRule", "d", "{host: reviews.shop.svc.cluster.local, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}"),
			want:      []string{"MZ4102 warning d spec.subsets[1]: the subset v2 selects no workload of reviews.shop.svc.cluster.local, so that requests to it get 503"},
		},
		"a subset of workloads of another service": {
			manifests: shop + object("DestinationRule", "d", "{host: reviews, subsets: [{name: v1, labels: {app: db}}]}"),
			want:      []string{"MZ4102 warning d spec.subsets[0]: the subset v1 selects no workload of reviews.shop.svc.cluster.local, so that requests to it get 503"},
		},
		"a subset by place, and one of workloads that are not known": {
			manifests: shop + "apiVersion: v1\nkind: Service\nmetadata: {name: far, namespace: shop}\nspec: {selector: {app: far}}\n---\n" +
				object("DestinationRule", "d", "{host: reviews, subsets: [{name: a, labels: {topology.istio.io/cluster: a}}]}") +
				object("DestinationRule", "e", "{host: far, subsets: [{name: a, labels: {version: a}}]}"),
		},
		"a host without a service": {
			manifests: shop + object("VirtualService", "v", "{hosts: [revews], http: [{route: [{destination: {host: reviews}}]}]}"),
			want:      []string{"MZ4103 warning v spec.hosts[0]: the namespace shop has no Service for the host revews.shop.svc.cluster.local, so that nobody can send requests to it"},
		},
		"hosts that may be": {
			manifests: shop + object("VirtualService", "v", "{hosts: ['*.shop.svc.cluster.local', a.example.com, a.other.svc.cluster.local], http: [{route: [{destination: {host: reviews}}]}]}") +
				object("VirtualService", "w", "{hosts: [anything], gateways: [edge], http: [{route: [{destination: {host: reviews}}]}]}") +
				object("VirtualService", "x", "{hosts: [entry.shop.svc.cluster.local], http: [{route: [{destination: {host: reviews}}]}]}") +
				object("ServiceEntry", "e", "{hosts: ['entry.shop.svc.cluster.local']}"),
		},
		"plaintext to a server that is strict": {
			manifests: shop + object("DestinationRule", "d", "{host: reviews, trafficPolicy: {tls: {mode: DISABLE}}}") + object("PeerAuthentication", "p", "{mtls: {mode: STRICT}}"),
			want: []string{"MZ4104 warning d spec.trafficPolicy.tls: callers use DISABLE for port 80 of reviews.shop.svc.cluster.local, " +
				"but PeerAuthentication shop/p is STRICT: calls fail"},
		},
		"the narrowest policy counts": {
			manifests: shop + object("DestinationRule", "d", "{host: reviews, trafficPolicy: {tls: {mode: DISABLE}}}") + object("PeerAuthentication", "p", "{mtls: {mode: STRICT}}") +
				object("PeerAuthentication", "q", "{selector: {matchLabels: {app: reviews}}, mtls: {mode: PERMISSIVE}}"),
		},
		"a port of its own": {
			manifests: shop + object("DestinationRule", "d", "{host: reviews, trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: ISTIO_MUTUAL}}]}}") +
				object("PeerAuthentication", "q", "{selector: {matchLabels: {app: reviews}}, mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}}}"),
			want: []string{"MZ4104 warning d spec.trafficPolicy.portLevelSettings[0].tls: callers use ISTIO_MUTUAL for port 80 of reviews.shop.svc.cluster.local, " +
				"but PeerAuthentication shop/q is DISABLE: calls fail, since the server does not take mutual TLS"},
		},
		"a strict mesh, and a workload outside": {
			manifests: strings.Replace(shop, "{app: reviews, version: v1}", "{app: reviews, sidecar.istio.io/inject: 'false'}", 1) +
				object("DestinationRule", "d", "{host: reviews, trafficPolicy: {tls: {mode: DISABLE}}}") +
				object("DestinationRule", "e", "{host: db, trafficPolicy: {tls: {mode: DISABLE}}}"),
			known: strings.Replace(object("PeerAuthentication", "p", "{mtls: {mode: STRICT}}"), "namespace: shop", "namespace: istio-system", 1),
			want: []string{"MZ4104 warning e spec.trafficPolicy.tls: callers use DISABLE for port 5432 of db.shop.svc.cluster.local, " +
				"but PeerAuthentication istio-system/p is STRICT: calls fail"},
		},
		"policies that do not say what they allow": {
			manifests: shop + object("AuthorizationPolicy", "a", "{rules: []}") + object("AuthorizationPolicy", "b", "{selector: {matchLabels: {app: db}}}") +
				object("AuthorizationPolicy", "c", "{action: ALLOW, rules: [{}]}"),
			want: []string{
				"MZ4105 warning a spec.rules: the policy allows nothing, so that every request is denied",
				"MZ4105 info b spec: the policy has no rules, so that every request to the workloads is denied",
				"MZ4105 warning c spec.rules[0]: the rule has no condition, so that every request is allowed",
			},
		},
		"policies that do": {
			manifests: shop + object("AuthorizationPolicy", "a", "{}") + object("AuthorizationPolicy", "b", "{action: DENY, rules: [{}]}") +
				object("AuthorizationPolicy", "c", "{rules: [{to: [{operation: {methods: [GET]}}]}]}"),
		},
		"HTTP for a port that is TCP": {
			manifests: shop + object("AuthorizationPolicy", "a", "{selector: {matchLabels: {app: db}}, rules: [{to: [{operation: {methods: [GET]}}]}]}") +
				object("AuthorizationPolicy", "b", "{selector: {matchLabels: {app: db}}, action: DENY, rules: [{from: [{source: {requestPrincipals: ['*']}}], to: [{operation: {ports: ['5432']}}]}]}") +
				object("AuthorizationPolicy", "c", "{selector: {matchLabels: {app: db}}, rules: [{when: [{key: 'request.headers[a]', values: [b]}]}]}"),
			want: []string{
				"MZ4106 warning a spec.rules[0]: methods is a matter of HTTP, but the ports of db.shop.svc.cluster.local are TCP: the rule never matches there",
				"MZ4106 warning b spec.rules[0]: requestPrincipals is a matter of HTTP, but the ports of db.shop.svc.cluster.local are TCP: it is left out there, and the rule denies more than it says",
				"MZ4106 warning c spec.rules[0]: request.headers[a] is a matter of HTTP, but the ports of db.shop.svc.cluster.local are TCP: the rule never matches there",
			},
		},
		"HTTP for a port that is, or may be": {
			manifests: shop + "apiVersion: v1\nkind: Service\nmetadata: {name: any, namespace: shop}\nspec: {selector: {app: db}, ports: [{port: 9000}]}\n---\n" +
				object("AuthorizationPolicy", "a", "{selector: {matchLabels: {app: reviews}}, rules: [{to: [{operation: {methods: [GET]}}]}]}") +
				object("AuthorizationPolicy", "b", "{selector: {matchLabels: {app: db}}, rules: [{to: [{operation: {methods: [GET]}}]}]}") +
				object("AuthorizationPolicy", "c", "{selector: {matchLabels: {app: db}}, rules: [{to: [{operation: {ports: ['5432']}}]}]}"),
		},
		"a sidecar that hides": {
			manifests: shop + object("Sidecar", "s", "{egress: [{hosts: ['./db.shop.svc.cluster.local', 'istio-system/*']}]}") +
				object("VirtualService", "v", "{hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}, {route: [{destination: {host: reviews}}]}], tcp: [{route: [{destination: {host: db}}]}]}"),
			want: []string{"MZ4107 warning s spec.egress: the host reviews.shop.svc.cluster.local is hidden from the workloads of shop, although the VirtualService v routes to it"},
		},
		"sidecars that show": {
			manifests: shop + object("Sidecar", "s", "{egress: [{hosts: ['./*']}]}") + object("Sidecar", "t", "{egress: [{hosts: ['*/*.shop.svc.cluster.local']}]}") +
				object("Sidecar", "u", "{workloadSelector: {labels: {app: db}}, egress: [{hosts: ['~/*']}]}") + object("Sidecar", "w", "{ingress: []}") +
				object("VirtualService", "v", "{hosts: [reviews], http: [{route: [{destination: {host: reviews}}, {destination: {host: nowhere.example.com}}]}]}"),
		},
		"plaintext at 443": {
			manifests: object("Gateway", "g", "{servers: [{port: {number: 443, protocol: HTTP}}, {port: {number: 80, protocol: HTTP}}, {port: {number: 443, protocol: HTTPS}, tls: {mode: SIMPLE}}, {port: {number: 443, protocol: TCP}}]}"),
			want:      []string{"MZ4108 warning g spec.servers[0].port: the server on port 443 speaks HTTP without TLS: browsers cannot connect, and what does is not encrypted"},
		},
		"a timeout that cuts retries off": {
			manifests: shop + object("VirtualService", "v", "{hosts: [reviews], http: [{timeout: 2s, retries: {attempts: 2, perTryTimeout: 1s}, route: [{destination: {host: reviews}}]}, "+
				"{timeout: 3s, retries: {attempts: 2, perTryTimeout: 1s}}, {retries: {attempts: 2, perTryTimeout: 1s}}, {timeout: 1s, retries: {attempts: 3}}, {timeout: 1s, retries: {attempts: 0, perTryTimeout: 5s}}]}"),
			want: []string{"MZ4109 warning v spec.http[0].timeout: the timeout 2s ends before 3 tries of 1s each are over, so that the last ones are cut off"},
		},
		"one host of a gateway in two places": {
			manifests: shop + object("VirtualService", "a", "{hosts: [a.example.com], gateways: [edge], http: [{match: [{uri: {prefix: /a}}]}, {name: all}]}") +
				object("VirtualService", "b", "{hosts: [b.example.com, a.example.com], gateways: [shop/edge], http: [{match: [{name: x, uri: {prefix: /a}}]}]}") +
				object("VirtualService", "c", "{hosts: [a.example.com], gateways: [edge], http: [{match: [{uri: {prefix: /c}}]}]}") +
				object("VirtualService", "d", "{hosts: [a.example.com], gateways: [other], http: [{route: []}]}"),
			want: []string{"MZ4110 warning b spec.hosts[1]: the VirtualServices shop/a and shop/b route the same requests for a.example.com at the gateway shop/edge, and the one which was created first gets them"},
		},
		"the other of the two is judged": {
			manifests: object("VirtualService", "a", "{hosts: [a.example.com], gateways: [edge], http: [{route: []}]}"),
			known:     object("VirtualService", "b", "{hosts: [a.example.com], gateways: [edge], http: [{route: []}]}"),
			want:      []string{"MZ4110 warning a spec.hosts[0]: the VirtualServices shop/a and shop/b route the same requests for a.example.com at the gateway shop/edge, and the one which was created first gets them"},
		},
		"the port of a service": {
			manifests: shop + object("PeerAuthentication", "p", "{selector: {matchLabels: {app: reviews}}, portLevelMtls: {80: {mode: DISABLE}, 8080: {mode: STRICT}, 9090: {mode: STRICT}}}"),
			want:      []string{`MZ4111 warning p spec.portLevelMtls.80: port 80 is that of the Service reviews; what it sends goes to port 8080 of the workload, whose mode stays as it is`},
		},
		"two rules for a host": {
			manifests: shop + object("DestinationRule", "a", "{host: reviews, trafficPolicy: {}, subsets: [{name: v1}]}") +
				object("DestinationRule", "b", "{host: reviews.shop.svc.cluster.local, trafficPolicy: {}}") +
				object("DestinationRule", "c", "{host: reviews, subsets: [{name: v2}, {name: v1}]}") +
				object("DestinationRule", "d", "{host: reviews, subsets: [{name: v3, labels: {version: v1}}]}") +
				object("DestinationRule", "e", "{host: reviews, exportTo: ['.'], trafficPolicy: {}}") +
				object("DestinationRule", "f", "{host: reviews, workloadSelector: {matchLabels: {app: db}}, trafficPolicy: {}}"),
			want: []string{
				"MZ4112 warning b spec.trafficPolicy: the DestinationRule a of the same host has a traffic policy too, and only that of the one which was created first counts",
				"MZ4112 warning c spec.subsets[1]: the DestinationRule a of the same host has a subset v1 too, and only that of the one which was created first counts",
			},
		},
		"delegates": {
			manifests: shop + object("VirtualService", "v", "{hosts: [reviews], http: [{delegate: {name: gone}}, {delegate: {name: own}}, {delegate: {name: deep}}, {delegate: {name: good, namespace: shop}}, {delegate: {name: far, namespace: far}}]}") +
				object("VirtualService", "own", "{hosts: [db]}") + object("VirtualService", "deep", "{http: [{delegate: {name: good}}]}") + object("VirtualService", "good", "{http: [{route: []}]}"),
			want: []string{
				"MZ4113 warning v spec.http[0].delegate: there is no VirtualService shop/gone to delegate to, so that requests get 404",
				"MZ4113 warning v spec.http[1].delegate: the VirtualService shop/own has hosts of its own, so that it is not used as a delegate and requests get 404",
				"MZ4113 warning v spec.http[2].delegate: the VirtualService shop/deep delegates in its turn, which Istio ignores",
			},
		},
		"nothing is said about what is known": {
			manifests: "", known: object("Gateway", "g", "{servers: [{port: {number: 443, protocol: HTTP}}]}"),
		},
		"objects without the form of their kind": {
			manifests: shop + object("VirtualService", "v", "{hosts: 5, http: {route: 1}}") + object("Gateway", "g", "[1]") + object("DestinationRule", "d", "null") +
				object("AuthorizationPolicy", "a", "{rules: [null]}") + object("Sidecar", "s", "{egress: [{hosts: ['']}]}"),
			want: []string{"MZ4105 warning a spec.rules[0]: the rule has no condition, so that every request is allowed"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, brief(t, c.manifests, c.known)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A Finding stands at the line of its field, or of the nearest one around it.
func TestOrigin(t *testing.T) {
	objects := meshtest.Objects(t, object("Gateway", "g", "{servers: [{port: {number: 443, protocol: HTTP}}]}"))
	objects[0].Origins = mizzen.Origins{
		Object: mizzen.Origin{File: "g.yaml", Line: 1},
		Fields: map[mizzen.Path]mizzen.Origin{"spec.servers[0]": {File: "g.yaml", Line: 7}},
	}
	findings, err := Check(t.Context(), objects, Known{Complete: true})
	if err != nil || len(findings) != 1 || findings[0].Origin.String() != "g.yaml:7" {
		t.Errorf("%v, %v", findings, err)
	}
}

// The order of the objects does not matter.
func TestOrder(t *testing.T) {
	manifests := shop + object("DestinationRule", "a", "{host: reviews, trafficPolicy: {}}") + object("DestinationRule", "b", "{host: reviews, trafficPolicy: {}}") +
		object("VirtualService", "a", "{hosts: [revews], gateways: [mesh, edge], http: [{route: []}]}") + object("VirtualService", "b", "{hosts: [revews], gateways: [edge], http: [{route: []}]}")
	objects := meshtest.Objects(t, manifests)
	first, err := Check(t.Context(), objects, Known{Complete: true})
	if err != nil || len(first) != 3 {
		t.Fatalf("%v, %v", first, err)
	}
	slices.Reverse(objects)
	second, err := Check(t.Context(), objects, Known{Complete: true})
	if diff := cmp.Diff(first, second); err != nil || diff != "" {
		t.Errorf("%v (-first +second):\n%s", err, diff)
	}
}

func TestContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Check(ctx, nil, Known{}); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

// A part of what a cluster gets is judged by itself: nothing is called missing.
func TestPart(t *testing.T) {
	manifests := shop + object("DestinationRule", "d", "{host: reviews, trafficPolicy: {tls: {mode: DISABLE}}, subsets: [{name: v2, labels: {version: v2}}]}") +
		object("PeerAuthentication", "p", "{selector: {matchLabels: {app: reviews}}, mtls: {mode: STRICT}, portLevelMtls: {80: {mode: DISABLE}}}") +
		object("VirtualService", "v", "{hosts: [revews], http: [{delegate: {name: gone}}]}") +
		object("AuthorizationPolicy", "a", "{selector: {matchLabels: {app: db}}, rules: [{to: [{operation: {methods: [GET]}}]}]}")
	if all := brief(t, manifests, ""); len(all) != 6 {
		t.Errorf("of all: %q", all)
	}
	findings, err := Check(t.Context(), meshtest.Objects(t, manifests), Known{})
	if err != nil || len(findings) > 0 {
		t.Errorf("of a part: %v, %v", findings, err)
	}
}

// FuzzCheck: whatever the objects, the checks end without a panic and say the
// same twice.
func FuzzCheck(f *testing.F) {
	for _, o := range meshtest.Objects(f, shop+object("Sidecar", "s", "{egress: [{hosts: ['./x']}]}")+object("Gateway", "g", "{servers: [{port: {number: 443, protocol: HTTP}}]}")+
		object("DestinationRule", "d", "{host: reviews, trafficPolicy: {tls: {mode: DISABLE}, portLevelSettings: [{port: {number: 80}}]}, subsets: [{name: v2, labels: {version: v2}}]}")+
		object("PeerAuthentication", "p", "{selector: {matchLabels: {app: reviews}}, mtls: {mode: STRICT}, portLevelMtls: {80: {mode: DISABLE}}}")+
		object("VirtualService", "v", "{hosts: [revews], gateways: [a], http: [{delegate: {name: gone}, timeout: 1s, retries: {attempts: 3, perTryTimeout: 1s}, route: [{weight: 40}]}]}")+
		object("AuthorizationPolicy", "a", "{selector: {matchLabels: {app: db}}, rules: [{to: [{operation: {methods: [GET]}}]}]}")) {
		b, err := o.MarshalJSON()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var content map[string]any
		if utiljson.Unmarshal(b, &content) != nil || content == nil {
			return
		}
		objects := append(meshtest.Objects(t, shop), mizzen.Object{Unstructured: &unstructured.Unstructured{Object: content}})
		first, err := Check(t.Context(), objects, Known{Complete: true})
		if err != nil {
			t.Fatal(err)
		}
		second, err := Check(t.Context(), objects, Known{Complete: true})
		if diff := cmp.Diff(first, second); err != nil || diff != "" {
			t.Errorf("%v (-first +second):\n%s", err, diff)
		}
	})
}
