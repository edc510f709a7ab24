package review_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/engine/review"
	"mizzen.dev/mizzen/internal/render/memtree"
)

// alive is a ConfigMap as a cluster has it.
func alive(name, value string) mizzen.Object {
	return mizzen.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name, "namespace": "shop"}, "data": map[string]any{"v": value},
	}}}
}

// A cluster completes both sides alike, by what neither of them has: also not
// by what the change takes away.
func TestLive(t *testing.T) {
	b := newBench(t)
	p := &planner{}
	b.Traffic, b.Analyzer = p, p
	after := edited(shop, map[string]string{"web/cm.yaml": configMap("web", "2")})
	request := review.Request{Base: shop, Head: after, Live: &review.Live{
		Server: "https://cluster.example", Objects: []mizzen.Object{alive("live", "bad"), alive("other", "9"), alive("web", "9")},
	}}
	r, err := b.Review(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"api=1 live=bad other=1 web=1 db=<nil> -> api=1 live=bad web=2 db=<nil>"}
	if diff := cmp.Diff(want, p.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&mizzen.ReviewLive{Server: "https://cluster.example", Objects: 1}, r.Live); diff != "" {
		t.Errorf("live (-want +got):\n%s", diff)
	}
	if len(r.Findings) > 0 {
		t.Errorf("what is wrong in the cluster is no news: %v", r.Findings)
	}
	request.Live.Cluster = "east"
	if _, err := b.Review(t.Context(), request); err == nil || !strings.Contains(err.Error(), "name one of in-cluster") {
		t.Errorf("of an unknown cluster: %v", err)
	}
	environments := memtree.Tree{
		"overlays/dev/kustomization.yaml": "resources: [cm.yaml]\n", "overlays/dev/cm.yaml": configMap("web", "1"),
		"overlays/prod/kustomization.yaml": "resources: [cm.yaml]\n", "overlays/prod/cm.yaml": configMap("web", "1"),
	}
	request = review.Request{Base: environments, Head: edited(environments, map[string]string{"overlays/prod/cm.yaml": configMap("web", "2")}), Live: request.Live}
	request.Live.Cluster = ""
	if _, err := b.Review(t.Context(), request); err == nil || !strings.Contains(err.Error(), "several clusters: dev, prod; choose one with --cluster") {
		t.Errorf("of several clusters: %v", err)
	}
	request.Live.Cluster, p.asked = "prod", nil
	if r, err = b.Review(t.Context(), request); err != nil || r.Live.Objects != 3 || len(p.asked) != 1 || !strings.Contains(p.asked[0], "live=bad") {
		t.Errorf("%+v, %v, %v", r, p.asked, err)
	}
}

// A mesh that runs another Istio is named, whatever changes in it.
func TestAnotherIstio(t *testing.T) {
	const istiod = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: istiod\n  namespace: istio-system\n  labels: {app: istiod}\nspec:\n  selector: {matchLabels: {app: istiod}}\n  template:\n    metadata: {labels: {app: istiod}}\n    spec:\n      containers:\n      - name: discovery\n        image: istio/pilot:1.40.0\n"
	b := newBench(t)
	before := edited(shop, map[string]string{"db/istiod.yaml": istiod})
	check(t, b.review(t, before, before), "unchanged 3")
	after := edited(before, map[string]string{"api/cm.yaml": configMap("api", "2")})
	r := b.review(t, before, after)
	check(t, r, "finding MZ4002 istiod is Istio 1.40.0, newer than the Istio 1.31.0 that effects and traces are computed with",
		"update m/api", "  update ConfigMap shop/api: data.v 1 → 2 at api/cm.yaml:1", "unchanged 2")
	if at := r.Findings[0].Origin.String(); at != "db/istiod.yaml" || r.Fatal() {
		t.Errorf("at %s", at)
	}
	silent := strings.ReplaceAll(istiod, "  labels:", "  annotations: {mizzen.dev/lint-ignore: \"MZ4002: we know\"}\n  labels:")
	before = edited(shop, map[string]string{"db/istiod.yaml": silent})
	check(t, b.review(t, before, edited(before, map[string]string{"api/cm.yaml": configMap("api", "2")})),
		"update m/api", "  update ConfigMap shop/api: data.v 1 → 2 at api/cm.yaml:1", "unchanged 2")
}
