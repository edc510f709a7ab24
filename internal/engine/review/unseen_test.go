package review_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/engine/review"
	"mizzen.dev/mizzen/internal/render/memtree"
)

// failing is a repository in which a chart, an overlay and a chart of
// Applications cannot be rendered.
var failing = memtree.Tree{
	"apps.yaml":                 app("web", "web", "") + app("over", "over", "") + app("api", "api", "") + app("root", "root", ""),
	"web/Chart.yaml":            "apiVersion: v2\nname: web\nversion: 1.0.0\n",
	"web/values.yaml":           "mode: STRICT\n",
	"web/templates/cm.yaml":     "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {mode: {{ .Values.mode }}, to: {{ required \"the cluster is set by CI\" .Values.cluster }}}\n",
	"over/kustomization.yaml":   "resources: [../gone, ../base]\n",
	"base/kustomization.yaml":   "resources: [cm.yaml]\n",
	"base/cm.yaml":              configMap("base", "1"),
	"root/Chart.yaml":           "apiVersion: v2\nname: root\nversion: 1.0.0\n",
	"root/templates/child.yaml": app("child", "{{ required \"where\" .Values.path }}", ""),
	"child/cm.yaml":             configMap("child", "1"),
	"api/cm.yaml":               configMap("api", "1"),
	"README.md":                 "x",
}

// unseen are the Findings of what nobody can look into, and the decision.
func unseen(r *mizzen.Review) []string {
	var all []string
	for _, f := range r.AllFindings() {
		if f.Code == mizzen.CodeUnseen {
			what, _, _ := strings.Cut(f.Message, ", and")
			all = append(all, what)
		}
	}
	slices.Sort(all)
	return append(all, string(r.Verdict.Decision))
}

// What fails as before is no news, unless something below it changes: then
// nobody knows what the change does.
func TestChangeBelowWhatFailsAsBefore(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		name   string
		change map[string]string
		want   []string
	}{
		{"nothing", nil, []string{"allow"}},
		{"what has nothing to do with it", map[string]string{"README.md": "y", "web/README.md": "y", "base/main.go": "y", "api/cm.yaml": configMap("api", "2")}, []string{"allow"}},
		{"its values", map[string]string{"web/values.yaml": "mode: DISABLE\n"}, []string{"web/values.yaml changes below m/web", "needsApproval"}},
		{
			"several files",
			map[string]string{"web/values.yaml": "mode: DISABLE\n", "web/more.yaml": "a: 1\n"},
			[]string{"web/more.yaml and 1 more change below m/web", "needsApproval"},
		},
		{"a base that it did not come to", map[string]string{"base/cm.yaml": configMap("base", "2")}, []string{"base/cm.yaml changes below m/over", "needsApproval"}},
		{
			"its options",
			map[string]string{"apps.yaml": strings.Replace(failing["apps.yaml"], "path: web}", "path: web, helm: {values: {mode: DISABLE}}}", 1)},
			[]string{"the manifest of m/web changes", "needsApproval"},
		},
		{"what it would declare", map[string]string{"child/cm.yaml": configMap("child", "2")}, []string{"child/cm.yaml changes below m/root", "needsApproval"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := b.review(t, failing, edited(failing, c.change))
			if diff := cmp.Diff(c.want, unseen(r)); diff != "" {
				t.Errorf("unseen (-want +got):\n%s", diff)
			}
			_, other := c.change["api/cm.yaml"]
			if r.Changed() != (len(c.want) > 1 || other) || r.Fatal() {
				t.Errorf("changed %v, fatal %v", r.Changed(), r.Fatal())
			}
			for _, f := range r.Items[0].Findings {
				if f.Remedy == "" || f.Ref.Kind != "Application" || !strings.Contains(f.Message, "as before: ") {
					t.Errorf("%+v", f)
				}
			}
		})
	}
	// What can be rendered again changes, although nothing says how.
	if r := b.review(t, failing, edited(failing, map[string]string{"web/values.yaml": "mode: DISABLE\ncluster: east\n"})); !r.Changed() || len(unseen(r)) != 1 {
		t.Errorf("%q", unseen(r))
	}
}

const applicationSet = `apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: all, namespace: argocd}
spec:
  generators: [{git: {repoURL: https://git.example/shop, directories: [{path: apps/*}]}}]
  template: {spec: {source: {repoURL: https://git.example/shop, path: '{{path}}'}}}
`

// The same below what is not covered.
func TestChangeBelowWhatIsNotCovered(t *testing.T) {
	b := newBench(t)
	tree := memtree.Tree{
		"argo/set.yaml": applicationSet, "apps/web/cm.yaml": configMap("web", "1"), "README.md": "x",
		"CODEOWNERS":   "/apps/web/ @web\n",
		".mizzen.yaml": "policy:\n  scopes:\n  - {name: sets, applications: [argocd/all], guardrails: {not-covered: deny}}\n",
	}
	open := edited(tree, map[string]string{".mizzen.yaml": ""})
	web := map[string]string{"apps/web/cm.yaml": configMap("web", "2")}
	for _, c := range []struct {
		name   string
		before memtree.Tree
		change map[string]string
		want   []string
	}{
		{"what has nothing to do with it", open, map[string]string{"README.md": "y"}, []string{"allow"}},
		{"a directory of it", open, web, []string{"apps/web/cm.yaml changes below argocd/all", "needsApproval"}},
		{"a new one", open, map[string]string{"apps/api/cm.yaml": configMap("api", "1")}, []string{"apps/api/cm.yaml changes below argocd/all", "needsApproval"}},
		{
			"what it generates", open,
			map[string]string{"argo/set.yaml": strings.Replace(applicationSet, "apps/*", "apps/w*", 1)},
			[]string{"the manifest of argocd/all changes", "needsApproval"},
		},
		{"what it is called", open, map[string]string{"argo/set.yaml": strings.Replace(applicationSet, "name: all,", "name: all, labels: {a: b},", 1)}, []string{"allow"}},
		{"it comes", edited(open, map[string]string{"argo/set.yaml": ""}), map[string]string{"argo/set.yaml": applicationSet}, []string{"the manifest of argocd/all changes", "needsApproval"}},
		{"it goes", open, map[string]string{"argo/set.yaml": ""}, []string{"the manifest of argocd/all changes", "needsApproval"}},
		{"nobody may agree", tree, web, []string{"apps/web/cm.yaml changes below argocd/all", "deny"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := b.review(t, c.before, edited(c.before, c.change))
			if diff := cmp.Diff(c.want, unseen(r)); diff != "" {
				t.Errorf("unseen (-want +got):\n%s", diff)
			}
			if c.want[0] != "allow" && !r.Changed() {
				t.Error("nothing changes")
			}
			if c.name == "a directory of it" && (len(r.Verdict.Approvals) != 1 || !slices.Equal(r.Verdict.Approvals[0].Owners, []string{"@web"})) {
				t.Errorf("approvals %+v", r.Verdict.Approvals)
			}
		})
	}
	// By itself it is looked into, as the remedy says.
	r, err := b.Review(t.Context(), review.Request{Base: open, Head: edited(open, web), Directory: "apps/web"})
	if err != nil || len(r.Items) != 1 || r.Verdict.Decision != mizzen.Allow {
		t.Errorf("%+v, %v", r, err)
	}
}
