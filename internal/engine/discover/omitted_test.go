package discover

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen/internal/render/memtree"
)

func applicationSet(spec string) string {
	return "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: all, namespace: argocd}\nspec:\n" + indent(spec)
}

// What an ApplicationSet deploys is told by what it generates from, and by the
// paths of its template.
func TestAreaOfWhatIsOmitted(t *testing.T) {
	const source = "template: {spec: {source: {repoURL: " + ours + ", path: "
	files := []string{
		"README.md", "apps/web/README.md", ".github/ci.yaml", "other/x.yaml", "apps/web/a.yaml", "apps/web/deep/a.yaml", "apps/old/a.yaml", "apps.yaml",
		"config/web.json", "config/web/app.json", "envs/prod/values.yaml", "web/overlays/prod/a.yaml",
	}
	isProse := func(f string) bool { return strings.HasSuffix(f, ".md") }
	manifests := slices.DeleteFunc(slices.Clone(files), func(f string) bool { return isProse(f) || f == ".github/ci.yaml" })
	apps := []string{"apps/web/a.yaml", "apps/web/deep/a.yaml", "apps/old/a.yaml"}
	for name, c := range map[string]struct {
		manifest string
		want     []string
	}{
		"directories": {
			applicationSet("generators: [{git: {repoURL: " + ours + ", directories: [{path: apps/*}, {path: apps/old, exclude: true}]}}]\n" + source + "'{{path}}'}}}"),
			[]string{"apps/web/a.yaml", "apps/web/deep/a.yaml"},
		},
		"files": {
			applicationSet("goTemplate: true\ngenerators: [{matrix: {generators: [{clusters: {}}, {git: {repoURL: " + ours + ", files: [{path: config/**/app.json}]}}]}}]\n" + source + "'{{.path.path}}/x'}}}"),
			[]string{"config/web/app.json"},
		},
		"clusters": {
			applicationSet("generators: [{clusters: {}}]\n" + source + "'web/overlays/{{name}}'}}}"), []string{"web/overlays/prod/a.yaml"},
		},
		"a list": {
			applicationSet("generators: [{list: {elements: [{dir: apps/web}, {dir: envs}]}}]\n" + source + "'{{dir}}'}}}"),
			[]string{"apps/web/a.yaml", "apps/web/deep/a.yaml", "envs/prod/values.yaml"},
		},
		"anywhere": {
			applicationSet("generators: [{pullRequest: {}}]\n" + source + "'{{.dir}}'}}}"),
			manifests,
		},
		"what cannot be read": {
			applicationSet("generators: [3]\n" + source + "apps}}}"),
			manifests,
		},
		"values of the template": {
			applicationSet("generators: [{clusters: {}}]\ntemplate: {spec: {sources: [{repoURL: https://charts.example, chart: web, helm: {valueFiles: ['$env/envs/{{name}}/values.yaml']}}, {repoURL: " + ours + ", ref: env}]}}"),
			[]string{"envs/prod/values.yaml"},
		},
		"another repository": {
			applicationSet("generators: [{git: {repoURL: https://git.example/team/other, directories: [{path: apps/*}]}}]\ntemplate: {spec: {source: {repoURL: https://git.example/team/other, path: '{{path}}'}}}"), nil,
		},
		"a fixed revision": {
			applicationSet("generators: [{clusters: {}}]\ntemplate: {spec: {source: {repoURL: " + ours + ", targetRevision: v1.2.3, path: apps}}}"), nil,
		},
		"a chart from elsewhere with values from here": {
			argo("sources:\n- {repoURL: https://charts.example, chart: web, helm: {valueFiles: [own.yaml, $env/envs/prod/values.yaml]}}\n- {repoURL: " + ours + ", ref: env}"),
			[]string{"envs/prod/values.yaml"},
		},
		"a plugin":   {argo("source: {repoURL: " + ours + ", path: apps, plugin: {name: x}}"), apps},
		"a chart":    {argo("source: {repoURL: https://charts.example, chart: web}"), nil},
		"a release":  {release("chart: {spec: {chart: web, sourceRef: {kind: HelmRepository, name: r}}}"), nil},
		"everything": {applicationSet("generators: [{clusters: {}}]\n" + source + ".}}}"), slices.DeleteFunc(slices.Clone(files), isProse)},
	} {
		t.Run(name, func(t *testing.T) {
			app, omitted := readOne(t, c.manifest)
			if app != nil || omitted == nil || omitted.Spec == nil {
				t.Fatalf("%+v, %+v", app, omitted)
			}
			var got []string
			for _, f := range files {
				if omitted.Area.Has(f) {
					got = append(got, f)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

// What a rendering may read is told without one, since it may fail at the start.
func TestReads(t *testing.T) {
	tree := memtree.Tree{
		"over/kustomization.yaml":     "resources: [../gone, ../base, cm.yaml]\nconfigMapGenerator: [{name: c, files: [key=../files/a.txt]}]\npatches: [{path: ../patch.yaml}]\n",
		"base/kustomization.yaml":     "resources: [../deep]\n",
		"deep/kustomization.yaml":     "resources: [https://git.example/x, ../over]\n",
		"files/a.txt":                 "a",
		"patch.yaml":                  "a: 1\n",
		"chart/Chart.yaml":            "apiVersion: v2\nname: chart\nversion: 1.0.0\n",
		"apps/templates/app.yaml":     "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: {{ .Values.name }}}\n",
		"rollout/templates/roll.yaml": "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\n",
	}
	over := Part{}
	over.Options.Path = "over"
	got := over.Reads(tree).Names()
	slices.Sort(got)
	if diff := cmp.Diff([]string{"base", "deep", "files/a.txt", "over", "patch.yaml"}, slices.DeleteFunc(got, func(n string) bool { return n == "over/cm.yaml" })); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	chart := Part{}
	chart.Options.Path, chart.Options.ValuesFiles = "chart", []string{"../env/a.yaml", "/env/b.yaml"}
	if diff := cmp.Diff([]string{"chart", "env/a.yaml", "env/b.yaml"}, chart.Reads(tree).Names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	for file, want := range map[string]bool{
		"over/more.yaml": true, "over/main.go": false, "base/sub/x.yml": true, "files/a.txt": true, "files/b.txt": false, "chart/x": false, "x.yaml": false, "over/.ci/x.yaml": false,
	} {
		if over.Reads(tree).Has(file) != want {
			t.Errorf("the overlay reads %s: %v", file, !want)
		}
	}
	for file, want := range map[string]bool{"chart/files/logo.svg": true, "chart/README.md": false, "env/b.yaml": true, "env/c.yaml": false} {
		if chart.Reads(tree).Has(file) != want {
			t.Errorf("the chart reads %s: %v", file, !want)
		}
	}
	root := Part{}
	root.Options.Path = "."
	for file, want := range map[string]bool{"a.yaml": true, "deep/a.json": true, "main.go": false, ".github/ci.yaml": false} {
		if root.Reads(tree).Has(file) != want {
			t.Errorf("the root reads %s: %v", file, !want)
		}
	}
	for name, want := range map[string]bool{"apps": true, "rollout": false, "chart": false, "gone": false} {
		if MayDeclare(tree, []string{name}) != want {
			t.Errorf("%s declares Applications: %v", name, !want)
		}
	}
}
