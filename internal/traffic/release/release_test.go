package release

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
)

// objects reads manifests; each knows the line of nothing.
func objects(t *testing.T, text string) []mizzen.Object {
	t.Helper()
	var out []mizzen.Object
	for part := range strings.SplitSeq(text, "\n---\n") {
		content := map[string]any{}
		if err := yaml.Unmarshal([]byte(part), &content); err != nil {
			t.Fatal(err)
		}
		if len(content) > 0 {
			out = append(out, mizzen.Object{Unstructured: &unstructured.Unstructured{Object: content}, Origins: mizzen.Origins{Object: mizzen.Origin{File: "mesh.yaml"}}})
		}
	}
	return out
}

// istiod is a control plane as Istio's chart renders it: Deployment and injector.
func istiod(revision, tag string) string {
	suffix := ""
	if revision != "default" {
		suffix = "-" + revision
	}
	return strings.NewReplacer("SUFFIX", suffix, "REVISION", revision, "TAG", tag).Replace(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiodSUFFIX, namespace: istio-system, labels: {app: istiod, istio.io/rev: REVISION, app.kubernetes.io/version: 1.0.0}}
spec: {template: {spec: {containers: [{name: other, image: x:2.0.0}, {name: discovery, image: "docker.io/istio/pilot:TAG"}]}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-sidecar-injectorSUFFIX, namespace: istio-system}
data:
  values: '{"global": {"hub": "docker.io/istio", "tag": "TAG", "proxy": {"image": "proxyv2"}}, "revision": "REVISION"}'
---
`)
}

func namespace(name, labels string) string {
	return "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + ", labels: {" + labels + "}}\n---\n"
}

// tag is a revision tag as Istio's chart renders it.
func tag(name, revision string) string {
	return "apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\nmetadata: {name: istio-revision-tag-" + name +
		", labels: {app: sidecar-injector, istio.io/rev: " + revision + ", istio.io/tag: " + name + "}}\nwebhooks:\n" +
		"- namespaceSelector: {matchExpressions: [{key: istio.io/rev, operator: In, values: [" + name + "]}, {key: istio-injection, operator: DoesNotExist}]}\n---\n"
}

func web(annotations, containers string) string {
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {template: {metadata: {annotations: {" + annotations + "}}, spec: {containers: [" + containers + "]}}}\n---\n"
}

const own = "sidecar.istio.io/proxyImage: "

// Compiled must follow the Istio that is linked in. A pseudo-version does not
// tell a release, but Istio's API does.
func TestCompiledIsWhatIsLinked(t *testing.T) {
	b, err := os.ReadFile("../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	linked := regexp.MustCompile(`istio\.io/api v(\d+\.\d+)\.`).FindStringSubmatch(string(b))
	if linked == nil || !strings.HasPrefix(Compiled, linked[1]+".") {
		t.Errorf("go.mod has Istio's API %v, and the model says that it is of Istio %s", linked, Compiled)
	}
}

func TestVersionOf(t *testing.T) {
	for image, want := range map[string]string{
		"docker.io/istio/pilot:1.31.0":                         "1.31.0",
		"istio/pilot:1.30.2-distroless":                        "1.30.2",
		"localhost:5000/istio/proxyv2:v1.29.1":                 "1.29.1",
		"istio/pilot:1.32-alpha.abcdef":                        "1.32",
		"istio/pilot:1.31.0@sha256:" + strings.Repeat("a", 64): "1.31.0",
		"istio/pilot@sha256:" + strings.Repeat("a", 64):        "",
		"localhost:5000/istio/pilot":                           "",
		"lab/pilot:v1":                                         "",
		"istio/pilot:latest":                                   "",
		"istio/pilot:" + strings.Repeat("9", 100) + ".1":       "",
		"": "",
	} {
		if got := versionOf(image); got != want {
			t.Errorf("the version of %q is %q, want %q", image, got, want)
		}
	}
}

func TestFindings(t *testing.T) {
	for _, c := range []struct {
		name, objects string
		want          []string
	}{
		{name: "no mesh", objects: web("", "{name: app, image: web:9.9.9}")},
		{name: "the same release", objects: istiod("default", Compiled)},
		{name: "another patch", objects: istiod("default", "1.31.7")},
		{name: "a tag that tells nothing", objects: istiod("default", "latest")},
		{
			name: "newer", objects: istiod("default", "1.40.0"),
			want: []string{
				"MZ4002 the proxies are those of Istio 1.40.0, newer than the Istio 1.31.0 that effects and traces are computed with",
				"MZ4002 istiod is Istio 1.40.0, newer than the Istio 1.31.0 that effects and traces are computed with",
			},
		},
		{
			name: "two revisions, one of them older", objects: istiod("default", Compiled) + istiod("old", "1.28.3-distroless"),
			want: []string{
				"MZ4002 the proxies of revision old are those of Istio 1.28.3, older than the Istio 1.31.0 that effects and traces are computed with",
				"MZ4002 istiod of revision old is Istio 1.28.3, older than the Istio 1.31.0 that effects and traces are computed with",
			},
		},
		{
			name: "one workload", objects: istiod("default", Compiled) + web(own+"istio/proxyv2:1.12.0", ""),
			want: []string{"MZ4002 the proxies of shop/web are those of Istio 1.12.0, older than the Istio 1.31.0 that effects and traces are computed with"},
		},
		{
			name: "another Envoy", objects: web(own+"envoyproxy/envoy:v1.36.0", ""),
			want: []string{"MZ4002 the proxies of shop/web run the image envoyproxy/envoy:v1.36.0, of which nothing is known; effects and traces are those of Istio 1.31.0 and its Envoy"},
		},
		{
			name: "injected by hand", objects: web("", "{name: istio-proxy, image: mine/envoy:blue}") + strings.ReplaceAll(web("", "{name: istio-proxy, image: mine/envoy:blue}"), "name: web", "name: api"),
			want: []string{"MZ4002 the proxies of shop/api run the image mine/envoy:blue, of which nothing is known; effects and traces are those of Istio 1.31.0 and its Envoy; 1 more of this image"},
		},
		{name: "a gateway's placeholder", objects: web("", "{name: istio-proxy, image: auto}")},
		{name: "nonsense", objects: "kind: ConfigMap\napiVersion: v1\nmetadata: {name: istio-sidecar-injector}\ndata: 3\n---\nkind: ConfigMap\napiVersion: v1\nmetadata: {name: istio-sidecar-injector}\ndata: {values: '['}\n---\nkind: Deployment\napiVersion: apps/v1\nmetadata: {name: istiod, labels: {app: istiod}}\nspec: [1]\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, f := range Findings(objects(t, c.objects)) {
				if f.Severity != mizzen.Info || f.Remedy == "" || f.Origin.File != "mesh.yaml" {
					t.Errorf("%+v", f)
				}
				got = append(got, string(f.Code)+" "+f.Message)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEffects(t *testing.T) {
	const doubt = "; effects are computed with Istio 1.31.0"
	for _, c := range []struct {
		name, before, after string
		want                []string
	}{
		{name: "no change", before: istiod("default", "1.40.0"), after: istiod("default", "1.40.0")},
		{name: "the mesh is new", after: istiod("default", Compiled)},
		{
			name: "a patch", before: istiod("default", "1.31.0"), after: istiod("default", "1.31.1"),
			want: []string{
				"notice istiod: another release of Istio runs (Istio 1.31.0 -> Istio 1.31.1)",
				"notice the proxies: another release of Istio runs (Istio 1.31.0 -> Istio 1.31.1)",
			},
		},
		{
			name: "away from the model", before: istiod("default", "1.31.0"), after: istiod("default", "1.32.0"),
			want: []string{
				"warning istiod: another release of Istio runs" + doubt + " (Istio 1.31.0 -> Istio 1.32.0)",
				"warning the proxies: another release of Istio runs" + doubt + " (Istio 1.31.0 -> Istio 1.32.0)",
			},
		},
		{
			name: "another build", before: istiod("default", "1.31.0"), after: istiod("default", "1.31.0-distroless"),
			want: []string{
				"notice istiod: another build of the same release of Istio runs (docker.io/istio/pilot:1.31.0 -> docker.io/istio/pilot:1.31.0-distroless)",
				"notice the proxies: another build of the same release of Istio runs (docker.io/istio/proxyv2:1.31.0 -> docker.io/istio/proxyv2:1.31.0-distroless)",
			},
		},
		{
			name: "a tag that tells nothing", before: istiod("default", "v1"), after: istiod("default", "v2"),
			want: []string{
				"notice istiod: another release of Istio runs (image docker.io/istio/pilot:v1 -> image docker.io/istio/pilot:v2)",
				"notice the proxies: another release of Istio runs (image docker.io/istio/proxyv2:v1 -> image docker.io/istio/proxyv2:v2)",
			},
		},
		{
			name:   "a revision beside, and a namespace that moves to it",
			before: istiod("default", "1.30.0") + namespace("shop", "istio-injection: enabled") + namespace("bank", "istio-injection: enabled"),
			after:  istiod("default", "1.30.0") + istiod("canary", "1.31.0") + namespace("shop", "istio.io/rev: canary") + namespace("bank", "istio-injection: enabled, istio.io/rev: canary"),
			want: []string{
				"notice istiod of revision canary: another control plane comes beside the one there is ( -> Istio 1.31.0)",
				"notice namespace shop: new pods belong to another revision of Istio (default: Istio 1.30.0 -> canary: Istio 1.31.0)",
			},
		},
		{
			name:   "a tag moves, and a namespace with it",
			before: istiod("default", "1.30.0") + istiod("canary", "1.31.0") + tag("prod", "default") + namespace("shop", "istio.io/rev: prod"),
			after:  istiod("default", "1.30.0") + istiod("canary", "1.31.0") + tag("prod", "canary") + namespace("shop", "istio.io/rev: prod"),
			want: []string{
				"notice namespace shop: new pods belong to another revision of Istio (default, by the tag prod: Istio 1.30.0 -> canary, by the tag prod: Istio 1.31.0)",
			},
		},
		{
			name:   "another tag of the same revision",
			before: istiod("canary", "1.31.0") + tag("prod", "canary") + tag("next", "canary") + namespace("shop", "istio.io/rev: prod"),
			after:  istiod("canary", "1.31.0") + tag("prod", "canary") + tag("next", "canary") + namespace("shop", "istio.io/rev: next"),
		},
		{
			name:   "a namespace moves, and no istiod is in the repository",
			before: namespace("shop", "istio-injection: enabled") + namespace("bank", "istio-injection: enabled"),
			after:  namespace("shop", "istio.io/rev: canary") + namespace("bank", "istio.io/rev: default"),
			want: []string{
				"warning namespace shop: new pods belong to another revision of Istio, of which nothing is known here: without its control plane they get no sidecar (default -> canary)",
			},
		},
		{
			name:   "a namespace moves to a revision that is not there",
			before: istiod("default", "1.31.0") + namespace("shop", "istio-injection: enabled"),
			after:  istiod("default", "1.31.0") + namespace("shop", "istio.io/rev: next"),
			want: []string{
				"warning namespace shop: new pods belong to another revision of Istio, of which nothing is known here: without its control plane they get no sidecar (default: Istio 1.31.0 -> next)",
			},
		},
		{
			name:   "the mesh comes to a namespace that has the label of a tag",
			before: namespace("shop", "istio.io/rev: prod"), after: istiod("default", "1.31.0") + tag("prod", "default") + namespace("shop", "istio.io/rev: prod"),
		},
		{
			name:   "the old revision goes",
			before: istiod("default", "1.31.0") + istiod("old", "1.30.0"), after: istiod("default", "1.31.0"),
			want: []string{"warning istiod of revision old: the control plane goes: the proxies of its revision get no more configuration (Istio 1.30.0 -> )"},
		},
		{
			name:   "a workload pins its proxies",
			before: istiod("default", "1.31.0") + web("", ""), after: istiod("default", "1.31.0") + web(own+"istio/proxyv2:1.30.0", ""),
			want: []string{"warning the proxies of shop/web: an image of its own takes the place of the one that is injected" + doubt + " ( -> Istio 1.30.0)"},
		},
		{
			name:   "and no longer",
			before: istiod("default", "1.31.0") + web(own+"istio/proxyv2:1.30.0", ""), after: istiod("default", "1.31.0") + web("", ""),
			want: []string{"notice the proxies of shop/web: the image that is injected takes the place of one of its own (Istio 1.30.0 -> )"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, e := range Effects(objects(t, c.before), objects(t, c.after)) {
				if e.Code != mizzen.EffectVersion || e.Cause.Kind == "" || e.Origin.File != "mesh.yaml" {
					t.Errorf("%+v", e)
				}
				got = append(got, string(e.Impact)+" "+e.Subject+": "+e.Message+" ("+e.Before+" -> "+e.After+")")
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("effects (-want +got):\n%s", diff)
			}
		})
	}
}
