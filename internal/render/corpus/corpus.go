// Package corpus gives tests real charts and kustomizations, and the tools
// that Mizzen must agree with. Both come from Go modules at pinned versions,
// through the module proxy and its cache; nothing is copied into this
// repository.
package corpus

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
)

// The modules that hold charts and kustomizations.
const (
	ArgoCD      = "github.com/argoproj/argo-cd/v3@v3.5.7"
	CAdvisor    = "github.com/google/cadvisor@v0.56.2"
	CertManager = "github.com/cert-manager/cert-manager@v1.18.2"
	Cilium      = "github.com/cilium/cilium@v1.18.2"
	Crossplane  = "github.com/crossplane/crossplane/v2@v2.0.2"
	ExternalDNS = "sigs.k8s.io/external-dns@v0.19.0"
	Gatekeeper  = "github.com/open-policy-agent/gatekeeper/v3@v3.20.1"
	GatewayAPI  = "sigs.k8s.io/gateway-api@v1.4.0"
	Helm        = "helm.sh/helm/v4@v4.2.4"
	Istio       = "istio.io/istio@v0.0.0-20260827124520-eed52ebb66ad"
	Karpenter   = "sigs.k8s.io/karpenter@v1.8.0"
	KEDA        = "github.com/kedacore/keda/v2@v2.18.0"
	Kueue       = "sigs.k8s.io/kueue@v0.14.0"
	Kustomize   = "sigs.k8s.io/kustomize/v3@v3.3.1" // the last one with Kustomize's own examples
	KWOK        = "sigs.k8s.io/kwok@v0.8.0"
	Kyverno     = "github.com/kyverno/kyverno@v1.15.2"
)

// The tools, in the versions of the libraries that Mizzen is built with.
const (
	HelmTool      = "helm.sh/helm/v4/cmd/helm@v4.2.4"
	KustomizeTool = "sigs.k8s.io/kustomize/kustomize/v5@v5.8.1" // uses sigs.k8s.io/kustomize/api v0.21.1
)

// Module returns the directory of a module, which is downloaded if it is not
// in the cache.
func Module(t testing.TB, module string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module)
	// Outside of any module, so that the pinned version is taken as it is.
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	var answer struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &answer); jsonErr != nil || err != nil {
		t.Fatalf("download %s: %v %s", module, err, answer.Error)
	}
	return answer.Dir
}

// Tool returns the path of a tool, which is built if it is not there.
func Tool(t testing.TB, pkg string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "mizzen-test", strings.NewReplacer("/", "_", "@", "_").Replace(pkg))
	name := strings.Split(pkg, "@")[0]
	name = filepath.Base(strings.TrimSuffix(name, "/v5"))
	bin := filepath.Join(dir, name)
	if _, err := os.Stat(bin); err == nil {
		return bin
	}
	cmd := exec.CommandContext(t.Context(), "go", "install", pkg)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return bin
}

// Run returns what a tool prints.
func Run(t testing.TB, dir string, args ...string) ([]byte, error) {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir, cmd.Stderr = dir, &stderr
	cmd.Env = append(os.Environ(), "HELM_CONFIG_HOME="+t.TempDir(), "KUBECONFIG=/nonexistent", "TZ=UTC")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return out, nil
}

// Objects parses what a tool prints, by other means than the renderers do.
// Lists are split. The keys are the objects' identities, numbered where
// several have the same.
func Objects(t testing.TB, text []byte) map[string]map[string]any {
	t.Helper()
	found := map[string]map[string]any{}
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		doc, err := reader.Read()
		if err != nil {
			return found
		}
		var object unstructured.Unstructured
		if err := yaml.Unmarshal(doc, &object.Object); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		if object.Object == nil {
			continue
		}
		if !object.IsList() {
			Add(found, object.Object)
			continue
		}
		items, _ := object.Object["items"].([]any)
		for _, item := range items {
			Add(found, item.(map[string]any))
		}
	}
}

// Add puts an object under its identity. Numbers take the form that the
// renderers give them.
func Add(to map[string]map[string]any, object map[string]any) {
	name := mizzen.RefOf(&unstructured.Unstructured{Object: object}).String()
	for n, base := 2, name; to[name] != nil; n++ {
		name = fmt.Sprintf("%s #%d", base, n)
	}
	to[name] = normal(object).(map[string]any)
}

func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = normal(value)
		}
		return out
	case []any:
		out := slices.Clone(v)
		for i := range out {
			out[i] = normal(out[i])
		}
		return out
	case int64:
		return float64(v)
	}
	return v
}
