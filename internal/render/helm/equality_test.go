package helm_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/corpus"
	"mizzen.dev/mizzen/internal/render/helm"
)

// A realChart is one that people install.
type realChart struct {
	module, path string
	// values are given on top of the chart's own, as YAML.
	values string
	// hooks are the objects that Helm prints and we leave out.
	hooks []string
	// random are fields that differ between two runs of Helm, as
	// "object: field.path".
	random []string
}

var realCharts = []realChart{
	{module: corpus.Istio, path: "manifests/charts/base"},
	{module: corpus.Istio, path: "manifests/charts/istio-control/istio-discovery"},
	{module: corpus.Istio, path: "manifests/charts/istio-control/istio-discovery", values: "{profile: ambient, meshConfig: {accessLogFile: /dev/stdout}, autoscaleMin: 2, env: {PILOT_X: 1}}"},
	{module: corpus.Istio, path: "manifests/charts/gateway", values: "{service: {type: ClusterIP}, labels: {a: b}}"},
	{module: corpus.Istio, path: "manifests/charts/gateways/istio-ingress"},
	{module: corpus.Istio, path: "manifests/charts/gateways/istio-egress"},
	{module: corpus.Istio, path: "manifests/charts/istio-cni"},
	{module: corpus.Istio, path: "manifests/charts/ztunnel"},
	{module: corpus.Istio, path: "manifests/charts/default"},
	{module: corpus.Karpenter, path: "kwok/charts"},
	{module: corpus.ExternalDNS, path: "charts/external-dns"},
	{module: corpus.Kueue, path: "charts/kueue"},
	{module: corpus.Kueue, path: "charts/kueue", values: "{enableCertManager: true, enablePrometheus: true, enableKueueViz: true}"},
	{module: corpus.ArgoCD, path: "util/helm/testdata/minio"},
	{module: corpus.ArgoCD, path: "util/helm/testdata/redis", random: []string{"Secret demo-redis: data/redis-password"}},
	{module: corpus.ArgoCD, path: "util/helm/testdata/crds"},
	{module: corpus.ArgoCD, path: "test/e2e/testdata/helm-guestbook"},
	{module: corpus.Crossplane, path: "cluster/charts/crossplane"},
	{module: corpus.Kyverno, path: "charts/kyverno-policies"},
	{
		module: corpus.Cilium, path: "install/kubernetes/cilium",
		random: []string{"Secret shop/cilium-ca: data", "Secret shop/hubble-server-certs: data"},
	},
	{
		module: corpus.Cilium, path: "install/kubernetes/cilium",
		values: "{hubble: {relay: {enabled: true}, ui: {enabled: true}, tls: {auto: {method: cronJob}}}, ingressController: {enabled: true}}",
		hooks:  []string{"batch/Job shop/hubble-generate-certs"},
	},
	{
		module: corpus.Gatekeeper, path: "charts/gatekeeper",
		hooks: []string{
			"ServiceAccount shop/gatekeeper-admin-upgrade-crds",
			"ServiceAccount shop/gatekeeper-update-namespace-label",
			"batch/Job shop/gatekeeper-update-crds-hook",
			"batch/Job shop/gatekeeper-update-namespace-label",
			"rbac.authorization.k8s.io/ClusterRole gatekeeper-admin-upgrade-crds",
			"rbac.authorization.k8s.io/ClusterRole gatekeeper-update-namespace-label",
			"rbac.authorization.k8s.io/ClusterRoleBinding gatekeeper-admin-upgrade-crds",
			"rbac.authorization.k8s.io/ClusterRoleBinding gatekeeper-update-namespace-label",
		},
	},
	{module: corpus.KWOK, path: "charts/kwok"},
	{module: corpus.KWOK, path: "charts/stage-fast"},
	{module: corpus.KWOK, path: "charts/metrics-usage"},
	{module: corpus.CertManager, path: "make/config/pebble/chart"},
	{module: corpus.CertManager, path: "make/config/samplewebhook/chart"},
	{module: corpus.Helm, path: "pkg/chart/v2/util/testdata/subpop"},
}

func (c realChart) name() string {
	module, _, _ := strings.Cut(c.module, "@")
	name := filepath.Base(module) + "/" + filepath.Base(c.path)
	if c.values != "" {
		name += "+values"
	}
	return name
}

func (c realChart) render(t *testing.T, fields bool) *render.Output {
	t.Helper()
	o := options()
	o.Path, o.ReleaseName, o.FieldOrigins = c.path, "demo", fields
	if err := yaml.Unmarshal([]byte(c.values), &o.Values); err != nil {
		t.Fatal(err)
	}
	out, err := helm.Render(t.Context(), os.DirFS(corpus.Module(t, c.module)), o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// reference is what the helm command prints.
func (c realChart) reference(t *testing.T) map[string]map[string]any {
	t.Helper()
	values := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(values, []byte(c.values), 0o600); err != nil {
		t.Fatal(err)
	}
	printed, err := corpus.Run(t, corpus.Module(t, c.module), corpus.Tool(t, corpus.HelmTool), "template", "demo", c.path,
		"--include-crds", "--namespace", "shop", "--kube-version", "v1.36.0", "--values", values)
	if err != nil {
		t.Fatal(err)
	}
	return corpus.Objects(t, printed)
}

// TestEqualsHelm compares with the helm command, as sets of parsed objects.
// Everything that differs is in the table above.
func TestEqualsHelm(t *testing.T) {
	for _, c := range realCharts {
		t.Run(c.name(), func(t *testing.T) {
			want := c.reference(t)
			var hooks []string
			for name, object := range want {
				metadata, _ := object["metadata"].(map[string]any)
				annotations, _ := metadata["annotations"].(map[string]any)
				if annotations["helm.sh/hook"] != nil {
					hooks = append(hooks, name)
					delete(want, name)
				}
			}
			got := map[string]map[string]any{}
			for _, o := range c.render(t, false).Objects {
				corpus.Add(got, o.Object)
			}
			for _, field := range c.random {
				object, path, _ := strings.Cut(field, ": ")
				clear := func(in map[string]map[string]any) { remove(in[object], strings.Split(path, "/")) }
				clear(got)
				clear(want)
			}
			if len(want) == 0 {
				t.Fatal("helm prints no object")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("objects (-helm +mizzen):\n%s", diff)
			}
			sortStrings := cmp.Transformer("sort", func(s []string) map[string]int {
				m := map[string]int{}
				for _, v := range s {
					m[v]++
				}
				return m
			})
			if diff := cmp.Diff(c.hooks, hooks, sortStrings); diff != "" {
				t.Errorf("hooks (-listed +helm):\n%s", diff)
			}
		})
	}
}

func remove(object map[string]any, path []string) {
	for _, key := range path[:len(path)-1] {
		object, _ = object[key].(map[string]any)
	}
	delete(object, path[len(path)-1])
}
