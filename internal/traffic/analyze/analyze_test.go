package analyze

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/analysis"
	"istio.io/istio/pkg/config/analysis/analyzers"
	"istio.io/istio/pkg/config/analysis/msg"
	"istio.io/istio/pkg/config/schema/gvk"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/meshtest"
)

func judge(t testing.TB, manifests, known string, complete bool) []mizzen.Finding {
	t.Helper()
	findings, err := Analyze(t.Context(), meshtest.Objects(t, manifests), Known{Objects: meshtest.Objects(t, known), Complete: complete}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return findings
}

func brief(findings []mizzen.Finding) []string {
	var lines []string
	for _, f := range findings {
		lines = append(lines, string(f.Code)+" "+string(f.Severity)+" "+f.Ref.Kind+" "+f.Ref.Name+" "+string(f.Path)+": "+f.Message)
	}
	return lines
}

// shop is a service with two versions, in the mesh.
const shop = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {selector: {app: reviews}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews, namespace: shop}
spec:
  selector: {matchLabels: {app: reviews}}
  template:
    metadata: {labels: {app: reviews, version: v1}}
    spec: {containers: [{name: reviews, image: reviews}]}
---
`

func TestAnalyze(t *testing.T) {
	cases := map[string]struct {
		manifests, known string
		complete         bool
		want             []string
	}{
		"nothing wrong": {manifests: shop},
		"no objects":    {},
		"a host that does not exist": {
			manifests: shop + virtualService("v", "[reviews]", "http: [{route: [{destination: {host: revews}}]}]"),
			want:      []string{`IST0101 warning VirtualService v spec.http[0].route[0].destination.host: referenced host not found: "revews"`},
		},
		"a port that the service does not have": {
			manifests: shop + virtualService("v", "[reviews]", "http: [{route: [{destination: {host: reviews, port: {number: 81}}}]}]"),
			want:      []string{`IST0101 warning VirtualService v spec.http[0].route[0].destination.host: referenced host:port not found: "reviews:81"`},
		},
		"a subset that no rule has": {
			manifests: shop + virtualService("v", "[reviews]", "http: [{route: [{destination: {host: reviews, subset: v1}}]}]"),
			want:      []string{`IST0101 warning VirtualService v spec.http[0].route[0].destination.host: referenced host+subset in destinationrule not found: "reviews+v1"`},
		},
		"a subset that another application has": {
			manifests: virtualService("v", "[reviews]", "http: [{route: [{destination: {host: reviews, subset: v1}}]}]"),
			known: shop + `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec: {host: reviews.shop.svc.cluster.local, subsets: [{name: v1, labels: {version: v1}}]}
`,
		},
		"nothing is said about what is known": {
			manifests: shop,
			known:     virtualService("v", "[reviews]", "http: [{route: [{destination: {host: revews}}]}]"),
		},
		"a negative weight": {
			manifests: shop + virtualService("v", "[reviews]", `http:
  - {match: [{uri: {prefix: /a}}], route: [{destination: {host: reviews}}]}
  - {route: [{destination: {host: reviews}, weight: -1}, {destination: {host: reviews}, weight: 5}]}`),
			want: []string{`IST0106 error VirtualService v spec.http[1].route[0].weight: weight -1 < 0`},
		},
		"a route without a destination": {
			manifests: shop + virtualService("v", "[reviews]", "http: [{timeout: 1s}]"),
			want:      []string{`IST0106 error VirtualService v spec.http[0]: HTTP route, redirect or direct_response is required`},
		},
		"a host that is none": {
			manifests: shop + virtualService("v", "['re_views!']", "http: [{route: [{destination: {host: reviews}}]}]"),
			want:      []string{`IST0106 error VirtualService v spec.hosts[0]: domain name "re_views!" invalid (label "re_views!" invalid)`},
		},
		"a wrong type": {
			manifests: shop + virtualService("v", "[reviews]", "http: [{route: [{destination: {host: 5}}]}]"),
			want:      []string{`IST0106 error VirtualService v : `},
		},
		"a rule that is not used": {
			manifests: shop + virtualService("v", "[reviews]", `http:
  - {route: [{destination: {host: reviews}}]}
  - {name: late, match: [{uri: {prefix: /a}}], route: [{destination: {host: reviews}}]}`),
			want: []string{`IST0130 warning VirtualService v spec.http[1]: VirtualService rule "late" not used (route without matches defined before)`},
		},
		"an old version of the kind": {
			manifests: shop + strings.Replace(virtualService("v", "[reviews]", "http: [{route: [{destination: {host: revews}}]}]"), "io/v1\n", "io/v1alpha3\n", 1),
			want:      []string{`IST0101 warning VirtualService v spec.http[0].route[0].destination.host: referenced host not found: "revews"`},
		},
		"a version that Istio does not have": {
			manifests: shop + strings.Replace(virtualService("v", "[reviews]", "http: [{route: [{destination: {host: revews}}]}]"), "io/v1\n", "io/v7\n", 1),
		},
		"two sidecars for one workload": {
			manifests: shop + sidecar("a") + sidecar("b"),
			want: []string{
				`IST0110 warning Sidecar a metadata.name: the Sidecars [a b] in namespace "shop" select the same workload pod "reviews", which can lead to undefined behavior`,
				`IST0110 warning Sidecar b metadata.name: the Sidecars [a b] in namespace "shop" select the same workload pod "reviews", which can lead to undefined behavior`,
			},
		},
		"an annotation of a pod": {
			manifests: strings.Replace(shop, "metadata: {labels:", "metadata: {annotations: {sidecar.istio.io/bogus: a}, labels:", 1),
			want: []string{
				`IST0108 warning Deployment reviews spec.template.metadata.annotations["sidecar.istio.io/bogus"]: unknown annotation: sidecar.istio.io/bogus`,
			},
		},
		"a gateway that nothing serves": {
			manifests: shop + gateway("app: edge", ""),
			want:      []string{`IST0101 warning Gateway g spec.selector.app: referenced selector not found: "app=edge"`},
		},
		"a certificate that the cluster does not have": {
			manifests: shop + gateway("istio: ingressgateway", "g-cert"), complete: true,
			want: []string{`IST0101 warning Gateway g spec.servers[0].tls.credentialName: referenced credentialName not found: "g-cert"`},
		},
		"several hosts that others speak for too": {
			manifests: virtualService("v", "[b.example, a.example, c.example]", routed) + virtualService("w", "[c.example, b.example]", routed) +
				virtualService("x", "[a.example]", "exportTo: ['.']\n"+routed),
			want: []string{
				conflict("v", "shop/v,shop/w", "*/b.example"), conflict("w", "shop/v,shop/w", "*/b.example"), conflict("x", "shop/v,shop/x", "shop/a.example"),
			},
		},
		"a policy for a workload that is not in the mesh": {
			manifests: strings.Replace(shop, "istio-injection: enabled", "istio-injection: disabled", 1) + `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: shop}
spec: {selector: {matchLabels: {app: reviews}}}
`,
			want: []string{`IST0127 warning AuthorizationPolicy p spec.selector: no matching workloads for this resource with the following labels: app=reviews`},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := brief(judge(t, c.manifests, c.known, c.complete))
			if name == "a wrong type" && len(got) == 1 {
				got[0] = got[0][:min(len(got[0]), len(c.want[0]))] // the JSON library words it
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

const routed = "http: [{route: [{destination: {host: reviews}}]}]"

func conflict(name, all, host string) string {
	return "IST0109 warning VirtualService " + name + " spec.hosts: the VirtualServices " + all + " associated with mesh gateway define the same host " + host +
		" which can lead to undefined behavior"
}

func virtualService(name, hosts, rest string) string {
	return "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: " + name + ", namespace: shop}\nspec:\n  hosts: " + hosts + "\n  " +
		strings.ReplaceAll(rest, "\n", "\n  ") + "\n---\n"
}

func sidecar(name string) string {
	return "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: " + name +
		", namespace: shop}\nspec: {workloadSelector: {labels: {app: reviews}}, egress: [{hosts: ['*/*']}]}\n---\n"
}

func gateway(selector, credential string) string {
	server := "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}"
	if credential != "" {
		server = "{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: " + credential + "}}"
	}
	return "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: shop}\nspec: {selector: {" + selector + "}, servers: [" + server + "]}\n---\n"
}

// A Finding stands at the line of its field, else of its object.
func TestOrigin(t *testing.T) {
	objects := meshtest.Objects(t, shop+virtualService("v", "[reviews]", "http: [{route: [{destination: {host: revews}}]}]"))
	for i := range objects {
		objects[i].Origins = mizzen.Origins{
			Object: mizzen.Origin{File: "all.yaml", Line: 10 * i},
			Fields: map[mizzen.Path]mizzen.Origin{"spec.http[0].route[0].destination.host": {File: "all.yaml", Line: 99}},
		}
	}
	findings, err := Analyze(t.Context(), objects, Known{}, Options{})
	if err != nil || len(findings) != 1 {
		t.Fatalf("%v, %v", findings, err)
	}
	if got := findings[0].Origin.String(); got != "all.yaml:99" {
		t.Errorf("origin = %s", got)
	}
}

// Odd input that makes Istio's analyzers panic is a Finding, and the rest of
// their work is done.
func TestPanics(t *testing.T) {
	policies := `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: odd, namespace: shop}
spec: {rules: [{from: [{}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: other, namespace: shop}
spec: {selector: {matchLabels: {app: nobody}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-sidecar-injector, namespace: istio-system}
data: {values: '{}'}
`
	var codes []string
	for _, f := range judge(t, shop+policies, "", false) {
		codes = append(codes, string(f.Code)+" "+f.Ref.Name)
	}
	for _, want := range []string{"MZ4001 odd", "MZ4001 istio-sidecar-injector", "IST0127 other"} {
		if !slices.Contains(codes, want) {
			t.Errorf("no %s in %v", want, codes)
		}
	}
}

type stuck struct{ analysis.Analyzer }

func (stuck) Analyze(analysis.Context) { panic("always") }

// An analyzer that panics about nothing in particular is left out.
func TestPanicWithoutObject(t *testing.T) {
	c, _, err := newCatalog(t.Context(), nil, Known{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	findings := run(stuck{analyzers.All()[0]}, c)
	if len(findings) != 1 || findings[0].Code != mizzen.CodeAnalyzerFailed || findings[0].Ref != (mizzen.Ref{}) {
		t.Errorf("findings = %v", findings)
	}
}

func TestContext(t *testing.T) {
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	if _, err := Analyze(ctx, meshtest.Objects(t, shop), Known{}, Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
}

func TestMeshConfig(t *testing.T) {
	_, err := Analyze(t.Context(), nil, Known{}, Options{MeshConfig: "trustDomain: [a]"})
	if mizzen.KindOf(err) != mizzen.Invalid {
		t.Errorf("err = %v", err)
	}
	// An analyzer remembers the settings of its first run; each counts.
	objects := meshtest.Objects(t, strings.ReplaceAll(policy("shop"), "namespace: shop", "namespace: base"))
	delete(objects[0].Object["spec"].(map[string]any), "selector")
	for _, c := range []struct {
		options Options
		want    bool
	}{
		{Options{}, true},
		{Options{RootNamespace: "base"}, false},
		{Options{MeshConfig: "rootNamespace: base"}, false},
		{Options{RootNamespace: "istio-system", MeshConfig: "rootNamespace: base"}, true},
	} {
		findings, err := Analyze(t.Context(), objects, Known{Complete: true}, c.options)
		if err != nil {
			t.Fatal(err)
		}
		got := slices.ContainsFunc(findings, func(f mizzen.Finding) bool { return f.Code == "IST0127" })
		if got != c.want {
			t.Errorf("%+v: a policy for a namespace without pods is found: %v", c.options, got)
		}
	}
}

// Whatever the order of the objects, and however often: the same Findings. The
// objects stay as they are.
func TestDeterministic(t *testing.T) {
	manifests := shop + sidecar("a") + sidecar("b") + gateway("app: edge", "") +
		virtualService("v", "[reviews]", "http: [{route: [{destination: {host: revews}}]}]") +
		virtualService("w", "[reviews]", "http: [{route: [{destination: {host: reviews, subset: v9}, weight: 1}, {destination: {host: reviews}, weight: 1}]}]")
	first := judge(t, manifests, "", false)
	if len(first) < 6 {
		t.Fatalf("too few findings: %v", brief(first))
	}
	for range 10 {
		objects := meshtest.Objects(t, manifests)
		slices.Reverse(objects)
		before := slices.Clone(objects)
		for i := range before {
			before[i].Unstructured = before[i].DeepCopy()
		}
		again, err := Analyze(t.Context(), objects, Known{}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, again); diff != "" {
			t.Fatalf("(-first +again):\n%s", diff)
		}
		if diff := cmp.Diff(before, objects); diff != "" {
			t.Fatalf("an object changed:\n%s", diff)
		}
	}
}

// Every code that this Istio has is shown with a remedy, or known not to be
// shown; and nothing else is in the tables.
func TestRemedies(t *testing.T) {
	known := map[string]bool{}
	for _, m := range msg.All() {
		known[m.Code()] = true
		if (remedies[m.Code()] == "") == (neverShown[m.Code()] == "") {
			t.Errorf("%s (%s) must have a remedy or be listed as never shown, not both", m.Code(), m.Template())
		}
	}
	for code, text := range remedies {
		if !known[code] {
			t.Errorf("%s is no code of this Istio", code)
		}
		if strings.HasSuffix(text, ".") {
			t.Errorf("%s: the remedy ends with a stop", code)
		}
	}
	for code := range neverShown {
		if !known[code] {
			t.Errorf("%s is no code of this Istio", code)
		}
	}
}

func TestSentence(t *testing.T) {
	cases := map[string]string{
		"The Subset a does not select any pods. Which may lead to 503.": "the Subset a does not select any pods",
		"VirtualService rule #1 not used.":                              "VirtualService rule #1 not used",
		"the host a.b. is odd":                                          "the host a.b. is odd",
		"Gateway reference":                                             "Gateway reference",
		"BLOCKED_CIDRS is not set":                                      "BLOCKED_CIDRS is not set",
		"":                                                              "",
		"Two\nlines":                                                    "two lines",
	}
	for in, want := range cases {
		if got := sentence(in); got != want {
			t.Errorf("sentence(%q) = %q, want %q", in, got, want)
		}
	}
}

// Big objects with many errors take a bounded time. Their values tell which is
// where; without one the search ends somewhere.
func TestManyErrors(t *testing.T) {
	var hosts, routes []string
	for i := range 3000 {
		hosts = append(hosts, fmt.Sprintf("'h_%d!'", i))
		routes = append(routes, "{destination: {host: reviews}, weight: -1}")
	}
	rest := "http: [{route: [{destination: {host: reviews}}]}]"
	findings := judge(t, shop+virtualService("v", "["+strings.Join(hosts, ", ")+"]", rest), "", false)
	if len(findings) != 3000 || findings[42].Path == "" || findings[42].Path == "spec" {
		t.Errorf("%d findings, such as %+v", len(findings), findings[:min(1, len(findings))])
	}
	findings = judge(t, shop+virtualService("v", "[reviews]", "http: [{route: ["+strings.Join(routes, ", ")+"]}]"), "", false)
	if len(findings) == 0 || len(findings) > 2 || !strings.HasPrefix(string(findings[0].Path), "spec.http") {
		t.Errorf("findings = %q", brief(findings))
	}
}

// Two workloads of one name have a pod each.
func TestNamesakes(t *testing.T) {
	set := strings.NewReplacer("kind: Deployment", "kind: StatefulSet", "app: d", "app: s").Replace(deployment("shop"))
	objects := meshtest.Objects(t, deployment("shop")+set)
	c, _, err := newCatalog(t.Context(), objects, Known{}, Options{})
	if err != nil || !c.has(gvk.Pod, "shop", "d") || !c.has(gvk.Pod, "shop", "d-statefulset") {
		t.Errorf("%v: the pods are %v", err, c.byKind[gvk.Pod].byName)
	}
}

// Whatever the object: no panic gets out, and its fields are where they are.
func FuzzAnalyze(f *testing.F) {
	for _, o := range meshtest.Objects(f, shop+sidecar("a")+gateway("istio: x", "c")+policy("x")+webhook+
		virtualService("v", "[reviews]", "http: [{match: [{uri: {regex: 'a.*'}}], route: [{destination: {host: reviews, subset: v1}, weight: 3}], mirror: {host: a}}]")) {
		b, err := json.Marshal(o.Object)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var object map[string]any
		if utiljson.Unmarshal(b, &object) != nil || object == nil {
			return
		}
		o := mizzen.Object{Unstructured: &unstructured.Unstructured{Object: object}}
		findings, err := Analyze(t.Context(), append(meshtest.Objects(t, shop), o), Known{}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range findings {
			if _, ok := found.Path.Lookup(object); found.Ref == o.Ref() && found.Path != "" && !ok {
				t.Errorf("the object has no %s: %+v", found.Path, found)
			}
		}
	})
}

// Whether an analyzer sees all objects or only the neighbors of the one that
// it looks at is the same to it.
func TestNeighbors(t *testing.T) {
	manifests := ""
	for _, namespace := range []string{"one", "two", "three"} {
		manifests += strings.ReplaceAll(`
apiVersion: v1
kind: Namespace
metadata: {name: NS, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NS}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web}]}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NS}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
`, "NS", namespace)
	}
	// In one namespace two Services say different things of the same port.
	manifests += `
apiVersion: v1
kind: Service
metadata: {name: other, namespace: two}
spec: {selector: {app: web}, ports: [{name: udp, port: 80, protocol: UDP, targetPort: 8080}, {name: http, port: 81, targetPort: 8080}]}
`
	c, _, err := newCatalog(t.Context(), meshtest.Objects(t, manifests), Known{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, a := range analyzers.All() {
		kind, ok := neighbors[a.Metadata().Name]
		if !ok {
			continue
		}
		found++
		narrow := run(a, c)
		c.messages, c.neighbors = nil, config.GroupVersionKind{}
		a.Analyze(c)
		if wide := c.findings(); len(wide) < 2 || !cmp.Equal(narrow, wide) {
			t.Errorf("%s: %q, with all of %s %q", a.Metadata().Name, brief(narrow), kind.Kind, brief(wide))
		}
	}
	if found != len(neighbors) {
		t.Errorf("%d of %d analyzers exist", found, len(neighbors))
	}
}

// Istio's code walks over maps: what it says of objects with several mistakes
// must be the same each time.
func TestDeterminism(t *testing.T) {
	objects := meshtest.Objects(t, `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: shop}
spec:
  hosts: [reviews, a.example, b.example]
  http:
  - match:
    - {headers: {"bad name": {exact: a}, "worse name": {regex: "("}, fine: {regex: "["}}}
    - {withoutHeaders: {"bad name": {exact: a}, "worse name": {regex: "("}}}
    headers: {request: {set: {"bad name": a, "worse name": b, ":authority": c, host: d}}, response: {add: {"bad name": a, "worse name": b}}}
    route:
    - {destination: {host: reviews}, headers: {request: {add: {"bad name": a, "worse name": b}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: w, namespace: shop}
spec: {hosts: [b.example, a.example, reviews], http: [{route: [{destination: {host: reviews}}]}]}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: f, namespace: shop}
spec:
  workloadSelector: {labels: {"a*": b, "c*": d}}
  configPatches:
  - applyTo: CLUSTER
    patch: {operation: MERGE, value: {no_such_field: 1, nor_this: 2, circuit_breakers: {bad: 1, worse: 2}}}
  - applyTo: HTTP_FILTER
    match: {listener: {filterChain: {filter: {name: envoy.http_connection_manager}}}}
    patch: {operation: INSERT_BEFORE, value: {name: envoy.lua, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, bad: 1, worse: 2}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: s, namespace: shop}
spec:
  hosts: [a.example]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 1.2.3.4, ports: {http: 70000, other: 80000, third: 90000}, labels: {"bad key": a, "worse key": b}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: d, namespace: shop}
spec: {host: reviews, subsets: [{name: v1, labels: {"bad key": a, "worse key": b, fine: "bad value"}}]}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: t, namespace: shop}
spec: {tracing: [{customTags: {a: {literal: {value: ""}}, b: {literal: {value: ""}}}}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: p, namespace: shop}
spec: {selector: {matchLabels: {"a*": b, "c*": d}}, portLevelMtls: {"0": {mode: STRICT}, "70000": {mode: STRICT}, "80000": {mode: DISABLE}}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec: {egress: [{hosts: ["*/*", "./*", "shop/a.example", "shop/b.example"]}]}
`)
	var first []mizzen.Finding
	for i := range 20 {
		got, err := Analyze(t.Context(), objects, Known{}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = got
		}
		if diff := cmp.Diff(first, got); diff != "" {
			t.Fatalf("run %d differs (-first +now):\n%s", i, diff)
		}
	}
	if len(first) < 20 {
		t.Errorf("only %d findings", len(first))
	}
}

func TestSettled(t *testing.T) {
	for message, want := range map[string]string{
		"using deprecated type_url(s); b, c, a":                                          "using deprecated type_url(s); a, b, c",
		`authority header cannot be set multiple times: have "d", attempting to set "c"`: `authority header cannot be set multiple times: have "c", attempting to set "d"`,
		"weights b, a": "weights b, a",
	} {
		if got := settled(message); got != want {
			t.Errorf("%q is %q, want %q", message, got, want)
		}
	}
}
