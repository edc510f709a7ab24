package demo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestChartsAreTheirWrappersDependencies checks that what Helm finds in
// charts/ is what each wrapper's Chart.yaml asks for.
func TestChartsAreTheirWrappersDependencies(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, Place{}); err != nil {
		t.Fatal(err)
	}
	type chart struct {
		Name, Version string
		Dependencies  []chart
	}
	read := func(path string) chart {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var c chart
		if err := yaml.Unmarshal(data, &c); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return c
	}
	for _, c := range charts {
		to := filepath.Join(dir, filepath.FromSlash(c.to))
		got := read(filepath.Join(to, "Chart.yaml"))
		wrapper := read(filepath.Join(to, "..", "..", "Chart.yaml"))
		found := false
		for _, want := range wrapper.Dependencies {
			found = found || want.Name == got.Name && want.Version == got.Version
		}
		if !found {
			t.Errorf("%s %s is in %s, which depends on %v", got.Name, got.Version, wrapper.Name, wrapper.Dependencies)
		}
		templates, err := filepath.Glob(filepath.Join(to, "templates", "*"))
		if err != nil || len(templates) == 0 {
			t.Errorf("%s has no templates", c.to)
		}
	}
}

func TestOwnContentHoldsNoChartOfIstio(t *testing.T) {
	for _, c := range charts {
		if _, err := content.Open("repo/" + c.to); err == nil {
			t.Errorf("repo/%s is a copy of what the istio module has", c.to)
		}
		if !strings.HasPrefix(c.to, "helm-charts/") {
			t.Errorf("%s is outside of helm-charts", c.to)
		}
	}
}

func TestPlaceIsWrittenWhereMizzenLooks(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, Place{URL: "http://127.0.0.1:1/demo.git", WebhookSecret: "signs", Live: true, Tracing: true}); err != nil {
		t.Fatal(err)
	}
	for file, wants := range map[string][]string{
		"bootstrap.yaml":   {"url: http://127.0.0.1:1/demo.git\n", "\n  webhookSecretRef: {name: signs}\n"},
		"apps/values.yaml": {"url: http://127.0.0.1:1/demo.git\n", "\n  webhookSecret: signs\n", "\nnodes: live\n", "\ntracing: true\n"},
	} {
		data, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(data), want) {
				t.Errorf("%s lacks %q:\n%s", file, want, data)
			}
		}
		if strings.Contains(string(data), "invalid") {
			t.Errorf("%s still has the placeholder", file)
		}
	}
}

func TestPlaceIsSimulatedByDefault(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, Place{}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "apps", "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nnodes: kwok\n", "\ntracing: false\n"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("apps/values.yaml lacks %q:\n%s", want, data)
		}
	}
}
