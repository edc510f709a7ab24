package kustomize_test

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/corpus"
	"mizzen.dev/mizzen/internal/render/kustomize"
)

// realKustomizations are the ones that projects install themselves with.
var realKustomizations = []struct{ module, path string }{
	{corpus.ArgoCD, "manifests/cluster-install"},
	{corpus.ArgoCD, "manifests/namespace-install"},
	{corpus.ArgoCD, "manifests/core-install"},
	{corpus.ArgoCD, "manifests/ha/cluster-install"},
	{corpus.ArgoCD, "manifests/cluster-install-with-hydrator"},
	{corpus.CAdvisor, "deploy/kubernetes/base"},
	{corpus.ExternalDNS, "kustomize"},
	{corpus.Gatekeeper, "config/rbac"},
	{corpus.GatewayAPI, "config/crd"},
	{corpus.GatewayAPI, "config/crd/experimental"},
	{corpus.KEDA, "config/default"},
	{corpus.KEDA, "config/e2e"},
	{corpus.Kueue, "config/default"},
	{corpus.Kueue, "config/alpha-enabled"},
	{corpus.Kueue, "config/dev"},
	{corpus.Kueue, "config/visibility-apf"},
	{corpus.Kueue, "config/kueueviz"},
	{corpus.KWOK, "kustomize/kwok"},
	{corpus.KWOK, "kustomize/stage/fast"},
	{corpus.KWOK, "kustomize/metrics/usage"},
	{corpus.KWOK, "kustomize/stage/pod/general"},
}

var update = flag.Bool("update", false, "write golden files")

// TestEqualsKustomize compares with the kustomize command, and counts the
// fields whose line is known.
func TestEqualsKustomize(t *testing.T) {
	var summary strings.Builder
	fmt.Fprintf(&summary, "%-60s %7s %7s %7s\n", "kustomization", "fields", "exact", "unknown")
	for _, c := range realKustomizations {
		module, _, _ := strings.Cut(c.module, "@")
		name := filepath.Base(module) + "/" + c.path
		t.Run(name, func(t *testing.T) {
			dir := corpus.Module(t, c.module)
			exact, unknown := count(t, compare(t, dir, c.path), os.DirFS(dir))
			fmt.Fprintf(&summary, "%-60s %7d %7d %7d\n", name, exact+unknown, exact, unknown)
		})
	}
	const golden = "testdata/origins.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(summary.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), summary.String()); diff != "" {
		t.Errorf("run with -update and read the difference:\n%s", diff)
	}
}

// TestEqualsKustomizeExamples does the same for every directory below
// testdata/examples that is named build, which show what Kustomize can do, a
// feature each. Each is rendered in a process of its own, as workers do where
// the process is tainted: without that, the example with a schema spoils those
// that come after it.
func TestEqualsKustomizeExamples(t *testing.T) {
	dir, err := filepath.Abs("testdata/examples")
	if err != nil {
		t.Fatal(err)
	}
	if inExample(t) {
		return
	}
	found := 0
	err = fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && filepath.Base(name) == "build" {
			found++
			t.Run(filepath.Dir(name), func(t *testing.T) { runExample(t, "TestEqualsKustomizeExamples", dir, name) })
		}
		return err
	})
	if err != nil || found == 0 {
		t.Fatalf("%d examples, %v", found, err)
	}
}

// inExample compares the example that this process was started for, if any.
func inExample(t *testing.T) bool {
	t.Helper()
	dir, child := os.LookupEnv("EXAMPLES")
	if child {
		compare(t, dir, os.Getenv("EXAMPLE"))
	}
	return child
}

// runExample runs a test again for one example, in a process of its own.
func runExample(t *testing.T, test, dir, name string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$")
	cmd.Env = append(os.Environ(), "EXAMPLES="+dir, "EXAMPLE="+name)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestEqualsKustomizesOwnExamples compares the examples of Kustomize itself.
func TestEqualsKustomizesOwnExamples(t *testing.T) {
	if inExample(t) {
		return
	}
	dir := corpus.Module(t, corpus.Kustomize)
	for _, name := range []string{
		"helloWorld", "ldap/base", "ldap/overlays/production", "ldap/overlays/staging",
		"multibases", "multibases/base", "multibases/dev", "multibases/production", "multibases/staging",
		"transformerconfigs/crd", "wordpress", "wordpress/mysql", "wordpress/wordpress",
	} {
		t.Run(name, func(t *testing.T) { runExample(t, "TestEqualsKustomizesOwnExamples", dir, "examples/"+name) })
	}
	// These lack files that their text tells the reader to write.
	for name, lacks := range map[string]string{
		"springboot/overlays/production": "examples/springboot/base",
		"springboot/overlays/staging":    "examples/springboot/base",
		"transformerconfigs/images":      "kustomizeconfig/mykind.yaml",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := corpus.Run(t, dir, corpus.Tool(t, corpus.KustomizeTool), "build", "examples/"+name); err == nil || !strings.Contains(err.Error(), lacks) {
				t.Errorf("kustomize says %v", err)
			}
			_, err := kustomize.Render(t.Context(), os.DirFS(dir), render.Options{Path: "examples/" + name})
			if mizzen.KindOf(err) != mizzen.NotFound || !strings.Contains(err.Error(), lacks) {
				t.Errorf("error = %v, want NotFound with %s", err, lacks)
			}
		})
	}
}

// compare with the kustomize command, as sets of parsed objects. There is no
// difference to list.
func compare(t *testing.T, repository, path string) *render.Output {
	t.Helper()
	printed, err := corpus.Run(t, repository, corpus.Tool(t, corpus.KustomizeTool), "build", path)
	if err != nil {
		t.Fatal(err)
	}
	want := corpus.Objects(t, printed)
	out, err := kustomize.Render(t.Context(), os.DirFS(repository), render.Options{Path: path, FieldOrigins: true})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]map[string]any{}
	for _, o := range out.Objects {
		corpus.Add(got, o.Object)
	}
	if len(want) == 0 {
		t.Fatal("kustomize prints no object")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects (-kustomize +mizzen):\n%s", diff)
	}
	return out
}
