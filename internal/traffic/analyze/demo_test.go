package analyze

import (
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"mizzen.dev/mizzen/internal/meshtest"
)

// The demo is what people copy from: of it Istio says only what it says of every
// EnvoyFilter.
func TestDemo(t *testing.T) {
	repo := filepath.Join("..", "..", "..", "lab", "demo", "repo")
	manifests := "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n"
	add := func(b []byte) { manifests += "---\n" + string(b) + "\n" }
	overlays, err := filepath.Glob(filepath.Join(repo, "services", "*", "overlays", "prod"))
	if err != nil || len(overlays) < 5 {
		t.Fatalf("overlays = %v, %v", overlays, err)
	}
	for _, dir := range overlays {
		built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
		if err != nil {
			t.Fatal(err)
		}
		b, err := built.AsYaml()
		if err != nil {
			t.Fatal(err)
		}
		add(b)
	}
	for _, glob := range []string{"mesh/*.yaml", "telemetry/*.yaml"} {
		files, err := filepath.Glob(filepath.Join(repo, filepath.FromSlash(glob)))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s = %v, %v", glob, files, err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			add(b)
		}
	}
	objects := meshtest.Objects(t, manifests)
	for _, o := range objects {
		if o.GetNamespace() == "" && o.GetKind() != "Namespace" {
			o.SetNamespace("shop")
		}
	}
	findings, err := Analyze(t.Context(), objects, Known{}, Options{})
	if err != nil || len(findings) != 1 || findings[0].Code != "IST0133" || findings[0].Ref.Kind != "EnvoyFilter" {
		t.Errorf("%v: %q", err, brief(findings))
	}
}
