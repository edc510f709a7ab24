package review_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/engine/review"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/memtree"
	"mizzen.dev/mizzen/internal/render/worker"
)

// TestMain lets the test binary be its own render workers, as mizzen is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == render.WorkerCommand {
		os.Exit(worker.Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// bench is a Reviewer that counts its renderings.
type bench struct {
	review.Reviewer
	mu       sync.Mutex
	rendered int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	pool, err := render.NewPool(render.PoolConfig{AllowUnsandboxed: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	b := &bench{}
	b.Renderer = render.NewMemo(render.MemoConfig{Pool: pool, Hooks: render.Hooks{
		Rendered: func(render.Renderer, time.Duration, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.rendered++
		},
	}})
	return b
}

func (b *bench) review(t *testing.T, before, after memtree.Tree) *mizzen.Review {
	t.Helper()
	r, err := b.Review(t.Context(), review.Request{Base: before, Head: after, Remotes: []string{"https://git.example/shop"}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// edited is a tree with other files; empty content removes one.
func edited(tree memtree.Tree, changes map[string]string) memtree.Tree {
	next := maps.Clone(tree)
	for name, content := range changes {
		if next[name] = content; content == "" {
			delete(next, name)
		}
	}
	return next
}

func app(name, path, more string) string {
	return fmt.Sprintf("apiVersion: mizzen.dev/v1alpha1\nkind: Application\nmetadata: {name: %s, namespace: m}\nspec: {source: {repository: r, path: %s}, destination: {namespace: shop}%s}\n---\n", name, path, more)
}

func configMap(name, data string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  v: \"%s\"\n", name, data)
}

var shop = memtree.Tree{
	"apps.yaml":      app("web", "web", "") + app("api", "api", "") + app("db", "db", ""),
	"web/cm.yaml":    configMap("web", "1") + "---\n" + configMap("other", "1"),
	"api/cm.yaml":    configMap("api", "1"),
	"db/secret.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {password: hunter2}\n",
}

// lines tells a Review in lines, for comparison.
func lines(r *mizzen.Review) []string {
	var all []string
	for _, e := range r.Effects {
		all = append(all, fmt.Sprintf("effect %s %s%s", e.Code, e.Subject, e.Cluster))
	}
	for _, f := range r.Findings {
		all = append(all, fmt.Sprintf("finding %s %s", f.Code, f.Message))
	}
	for _, i := range r.Items {
		line := fmt.Sprintf("%s %s", i.Action, i.Application)
		if i.Cluster != "" {
			line += " in " + i.Cluster
		}
		if i.Failed != "" {
			line += " failed"
		}
		if i.FailedBefore != "" {
			line += " failed before"
		}
		all = append(all, line)
		for _, c := range i.Changes {
			all = append(all, "  "+c.String()+" at "+c.Origin.String())
		}
		for _, f := range i.Findings {
			all = append(all, fmt.Sprintf("  %s at %s", f.Code, f.Origin))
		}
	}
	for _, f := range r.Omitted {
		all = append(all, fmt.Sprintf("omitted %s %s", f.Code, f.Ref))
	}
	return append(all, fmt.Sprintf("unchanged %d", r.Unchanged))
}

func check(t *testing.T, r *mizzen.Review, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, lines(r)); diff != "" {
		t.Errorf("review (-want +got):\n%s", diff)
	}
}

func TestOnlyWhatDiffersIsRenderedTwice(t *testing.T) {
	b := newBench(t)
	r := b.review(t, shop, shop)
	check(t, r, "unchanged 3")
	if b.rendered != 3 || r.Changed() {
		t.Errorf("%d renderings", b.rendered)
	}
	b.rendered = 0
	r = b.review(t, shop, edited(shop, map[string]string{"web/cm.yaml": configMap("web", "2") + "---\n" + configMap("other", "1")}))
	check(t, r, "update m/web", "  update ConfigMap shop/web: data.v 1 → 2 at web/cm.yaml:1", "unchanged 2")
	if b.rendered != 4 {
		t.Errorf("%d renderings, want 3 of the head and 1 of the base", b.rendered)
	}
	if f := r.Items[0].Changes[0].Fields[0]; f.Origin.String() != "web/cm.yaml:6" {
		t.Errorf("the field is at %s", f.Origin)
	}
}

func TestObjectsComeAndGo(t *testing.T) {
	b := newBench(t)
	after := edited(shop, map[string]string{
		"apps.yaml":   app("web", "web", "") + app("new", "new", "") + app("db", "db", ""),
		"web/cm.yaml": configMap("web", "1"), "new/cm.yaml": configMap("new", "1"),
	})
	check(t, b.review(t, shop, after),
		"delete m/api", "  delete ConfigMap shop/api at api/cm.yaml:1",
		"create m/new", "  create ConfigMap shop/new at new/cm.yaml:1",
		"update m/web", "  delete ConfigMap shop/other at web/cm.yaml:8", "unchanged 1")
	// What an Application leaves alone is kept.
	kept := edited(shop, map[string]string{
		"apps.yaml": app("web", "web", ", sync: {prune: false}") + app("api", "api", ", onDelete: Orphan") + app("db", "db", ""),
	})
	after = edited(kept, map[string]string{
		"apps.yaml": app("web", "web", ", sync: {prune: false}") + app("db", "db", ""), "web/cm.yaml": configMap("web", "1"),
	})
	check(t, b.review(t, kept, after),
		"delete m/api", "  keep ConfigMap shop/api (the application leaves its objects running) at api/cm.yaml:1",
		"update m/web", "  keep ConfigMap shop/other (the application does not prune) at web/cm.yaml:8", "unchanged 1")
}

func TestSecretsAreMasked(t *testing.T) {
	b := newBench(t)
	r := b.review(t, shop, edited(shop, map[string]string{"db/secret.yaml": strings.ReplaceAll(shop["db/secret.yaml"], "hunter2", "hunter3")}))
	check(t, r, "update m/db", "  update Secret shop/db: data.password hidden → hidden at db/secret.yaml:1", "unchanged 2")
}

func TestAnApplicationThatCannotBeRendered(t *testing.T) {
	b := newBench(t)
	broken := map[string]string{"api/cm.yaml": "kind: [\n", "web/cm.yaml": configMap("web", "2")}
	r := b.review(t, shop, edited(shop, broken))
	check(t, r, "update m/api failed", "  MZ1007 at api/cm.yaml:2",
		"update m/web", "  delete ConfigMap shop/other at web/cm.yaml:8", "  update ConfigMap shop/web: data.v 1 → 2 at web/cm.yaml:1", "unchanged 1")
	if !r.Fatal() || !r.Changed() {
		t.Error("that is no reason to stop")
	}
	// What was broken before is no news, and being mended is none to worry about.
	r = b.review(t, edited(shop, broken), edited(shop, broken))
	check(t, r, "update m/api failed failed before", "unchanged 2")
	if r.Fatal() || r.Changed() {
		t.Error("nothing is different")
	}
	check(t, b.review(t, edited(shop, broken), edited(shop, map[string]string{"web/cm.yaml": broken["web/cm.yaml"]})),
		"update m/api failed before", "unchanged 2")
}

func TestNewFindingsOnly(t *testing.T) {
	b := newBench(t)
	wrong := strings.ReplaceAll(configMap("api", "1"), "\ndata:", "\ndta:")
	before := edited(shop, map[string]string{"api/cm.yaml": wrong})
	r := b.review(t, before, edited(before, map[string]string{
		"api/cm.yaml": "# moved\n" + strings.ReplaceAll(wrong, `"1"`, `"2"`),
		"web/cm.yaml": strings.ReplaceAll(configMap("web", "1"), "\ndata:", "\ndta:") + "---\n" + configMap("other", "1"),
	}))
	check(t, r, "update m/api", "  update ConfigMap shop/api: dta.v 1 → 2 at api/cm.yaml:2",
		"update m/web", "  update ConfigMap shop/web: -data.v 1, +dta {\"v\":\"1\"} at web/cm.yaml:1", "  MZ2001 at web/cm.yaml:5", "unchanged 1")
}

// An Application that another one renders is found, and so is one in a chart.
func TestNested(t *testing.T) {
	b := newBench(t)
	tree := memtree.Tree{
		"root.yaml":               app("root", "apps", ""),
		"apps/Chart.yaml":         "apiVersion: v2\nname: apps\nversion: 1.0.0\n",
		"apps/values.yaml":        "path: web\n",
		"apps/templates/app.yaml": app("web", "{{ .Values.path }}", ""),
		"web/cm.yaml":             configMap("web", "1"),
		"web2/cm.yaml":            configMap("web", "2"),
	}
	check(t, b.review(t, tree, edited(tree, map[string]string{"apps/values.yaml": "path: web2\n"})),
		"update m/root", "  update mizzen.dev/Application m/web: spec.source.path web → web2 at apps/templates/app.yaml:1",
		"update m/web", "  update ConfigMap shop/web: data.v 1 → 2 at web2/cm.yaml:1", "unchanged 0")
}

// What is nested too deeply is not taken for unchanged.
func TestNestedTooDeeply(t *testing.T) {
	b := newBench(t)
	tree := memtree.Tree{"root.yaml": app("a0", "a0", ""), "a17/cm.yaml": configMap("web", "1")}
	for i := range 17 {
		tree[fmt.Sprintf("a%d/Chart.yaml", i)] = fmt.Sprintf("apiVersion: v2\nname: a%d\nversion: 1.0.0\n", i)
		tree[fmt.Sprintf("a%d/templates/app.yaml", i)] = app(fmt.Sprintf("a%d", i+1), fmt.Sprintf("a%d", i+1), "")
	}
	r := b.review(t, memtree.Tree{}, tree)
	if !r.Fatal() || !slices.ContainsFunc(r.Items, func(i mizzen.ReviewItem) bool { return strings.Contains(i.Failed, "16 deep") }) {
		t.Errorf("%q", lines(r))
	}
}

const fluxApp = `apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: flux-system}
spec: {path: ./apps/ENV, prune: true, sourceRef: {kind: GitRepository, name: flux-system}, postBuild: {substitute: {env: ENV}}}
`

// The repository as Flux's guides have it: a base, an overlay for each cluster,
// and HelmReleases that only their overlay completes.
func TestFlux(t *testing.T) {
	b := newBench(t)
	tree := memtree.Tree{
		"clusters/prod/apps.yaml":      strings.ReplaceAll(fluxApp, "ENV", "prod"),
		"clusters/dev/apps.yaml":       strings.ReplaceAll(fluxApp, "ENV", "dev"),
		"apps/base/kustomization.yaml": "resources: [release.yaml, cm.yaml]\n",
		"apps/base/cm.yaml":            configMap("settings", "${env}"),
		"apps/base/release.yaml":       "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: web}\nspec: {chart: {spec: {chart: chart, sourceRef: {kind: GitRepository, name: flux-system}}}}\n",
		"apps/prod/kustomization.yaml": "resources: [../base]\nnamespace: prod\npatches: [{path: values.yaml}]\n",
		"apps/prod/values.yaml":        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: web}\nspec: {values: {size: 3}}\n",
		"apps/dev/kustomization.yaml":  "resources: [../base]\nnamespace: dev\n",
		"chart/Chart.yaml":             "apiVersion: v2\nname: chart\nversion: 1.0.0\n",
		"chart/values.yaml":            "size: 1\n",
		"chart/templates/cm.yaml":      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {size: \"{{ .Values.size }}\"}\n",
	}
	check(t, b.review(t, tree, tree), "unchanged 4")
	check(t, b.review(t, tree, edited(tree, map[string]string{"apps/prod/values.yaml": strings.ReplaceAll(tree["apps/prod/values.yaml"], "3", "4")})),
		"update flux-system/apps in clusters/prod", "  update helm.toolkit.fluxcd.io/HelmRelease prod/web: spec.values.size 3 → 4 at apps/base/release.yaml:1",
		"update prod/web in clusters/prod", "  update ConfigMap prod/web: data.size 3 → 4 at chart/templates/cm.yaml:1", "unchanged 2")
	check(t, b.review(t, tree, edited(tree, map[string]string{"apps/base/cm.yaml": configMap("settings", "${env}-2")})),
		"update flux-system/apps in clusters/dev", "  update ConfigMap dev/settings: data.v dev → dev-2 at apps/base/cm.yaml:1",
		"update flux-system/apps in clusters/prod", "  update ConfigMap prod/settings: data.v prod → prod-2 at apps/base/cm.yaml:1", "unchanged 2")
}

func TestArgoCD(t *testing.T) {
	b := newBench(t)
	argo := func(size, rest string) string {
		return "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: web, namespace: argocd}\nspec: {destination: {namespace: shop}, source: {repoURL: 'https://git.example/shop', path: chart, helm: {parameters: [{name: size, value: '" + size + "'}]" + rest + "}}}\n"
	}
	tree := memtree.Tree{
		"web.yaml":                argo("1", ""),
		"other.yaml":              strings.ReplaceAll(strings.ReplaceAll(argo("1", ""), "/shop'", "/other'"), "name: web,", "name: other,"),
		"set.yaml":                "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: all, namespace: argocd}\n",
		"chart/Chart.yaml":        "apiVersion: v2\nname: chart\nversion: 1.0.0\n",
		"chart/values.yaml":       "size: 0\n",
		"chart/templates/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {size: \"{{ .Values.size }}\"}\n",
	}
	check(t, b.review(t, tree, edited(tree, map[string]string{"web.yaml": argo("2", "")})),
		"update argocd/web", "  update ConfigMap shop/web: data.size 1 → 2 at chart/templates/cm.yaml:1",
		"omitted MZ1009 argoproj.io/Application argocd/other", "omitted MZ1008 argoproj.io/ApplicationSet argocd/all", "unchanged 0")
}

func TestDirectories(t *testing.T) {
	b := newBench(t)
	tree := memtree.Tree{
		"base/kustomization.yaml":          "resources: [cm.yaml]\n",
		"base/cm.yaml":                     configMap("web", "1"),
		"overlays/dev/kustomization.yaml":  "resources: [../../base]\n",
		"overlays/prod/kustomization.yaml": "resources: [../../base]\nnamespace: prod\n",
	}
	after := edited(tree, map[string]string{"base/cm.yaml": configMap("web", "2")})
	check(t, b.review(t, tree, after),
		"update overlays/dev", "  update ConfigMap default/web: data.v 1 → 2 at base/cm.yaml:1",
		"update overlays/prod", "  update ConfigMap prod/web: data.v 1 → 2 at base/cm.yaml:1", "unchanged 0")
	plain := memtree.Tree{"k8s/cm.yaml": configMap("web", "1"), "README.md": "x"}
	check(t, b.review(t, plain, edited(plain, map[string]string{"k8s/cm.yaml": configMap("web", "2")})),
		"update .", "  update ConfigMap default/web: data.v 1 → 2 at k8s/cm.yaml:1", "unchanged 0")
	// A directory that is named counts, whatever is declared.
	r, err := b.Review(t.Context(), review.Request{Base: shop, Head: edited(shop, map[string]string{"web/cm.yaml": configMap("web", "2")}), Directory: "web"})
	if err != nil || len(r.Items) != 1 || r.Items[0].Application != "web" {
		t.Errorf("%+v, %v", r, err)
	}
}

var errOutOfOrder = errors.New("out of order")

// planner notes what it is asked.
type planner struct {
	asked []string
	err   error
}

func (p *planner) Effects(_ context.Context, before, after []mizzen.Object) ([]mizzen.Effect, error) {
	names := func(objects []mizzen.Object) string {
		var all []string
		for _, o := range objects {
			v, _ := o.Object["data"].(map[string]any)
			all = append(all, fmt.Sprintf("%s=%v", o.GetName(), v["v"]))
		}
		return strings.Join(all, " ")
	}
	p.asked = append(p.asked, names(before)+" -> "+names(after))
	return []mizzen.Effect{{Code: mizzen.EffectWeights, Impact: mizzen.ImpactNotice, Subject: "web"}}, p.err
}

func (p *planner) Analyze(_ context.Context, objects []mizzen.Object) ([]mizzen.Finding, error) {
	var found []mizzen.Finding
	for _, o := range objects {
		if strings.Contains(fmt.Sprint(o.Object["data"]), "bad") {
			found = append(found, mizzen.Finding{Code: "MZ4001", Severity: mizzen.Warning, Ref: o.Ref(), Message: o.GetName() + " is bad"})
		}
	}
	return found, nil
}

// The effects are judged with everything that there is, on both sides.
func TestWholeMesh(t *testing.T) {
	b, p := newBench(t), &planner{}
	b.Traffic, b.Analyzer = p, p
	before := edited(shop, map[string]string{"api/cm.yaml": configMap("api", "bad")})
	check(t, b.review(t, before, edited(before, map[string]string{"web/cm.yaml": configMap("web", "bad") + "---\n" + configMap("other", "1")})),
		"effect MT1002 web", "finding MZ4001 web is bad",
		"update m/web", "  update ConfigMap shop/web: data.v 1 → bad at web/cm.yaml:1", "unchanged 2")
	want := []string{"api=bad other=1 web=1 db=<nil> -> api=bad other=1 web=bad db=<nil>"}
	if diff := cmp.Diff(want, p.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	// Nothing changes, so nobody is asked.
	if b.review(t, before, before); len(p.asked) != 1 {
		t.Errorf("asked again: %v", p.asked)
	}
	// What cannot be rendered counts as it was, and is no effect.
	b.review(t, shop, edited(shop, map[string]string{"api/cm.yaml": "kind: [\n", "web/cm.yaml": configMap("web", "2")}))
	if want := "api=1 other=1 web=1 db=<nil> -> api=1 web=2 db=<nil>"; p.asked[1] != want {
		t.Errorf("asked %s, want %s", p.asked[1], want)
	}
	p.err = errOutOfOrder
	r := b.review(t, shop, edited(shop, map[string]string{"web/cm.yaml": configMap("web", "2")}))
	if len(r.Findings) != 1 || r.Findings[0].Code != mizzen.CodeNotJudged || !strings.Contains(r.Findings[0].Message, "out of order") {
		t.Errorf("%+v", r.Findings)
	}
}

// Clusters are judged one by one, and so are the overlays of environments.
func TestClustersApart(t *testing.T) {
	b, p := newBench(t), &planner{}
	b.Traffic = p
	apps := func(path string) map[string]string {
		return map[string]string{"apps.yaml": app("web", path, "") + strings.ReplaceAll(app("east", "api", ""), "{namespace: shop}", "{namespace: shop, cluster: east}")}
	}
	tree := edited(shop, apps("web"))
	r := b.review(t, tree, edited(tree, map[string]string{"api/cm.yaml": configMap("api", "2")}))
	check(t, r, "effect MT1002 webeast", "update m/east in east", "  update ConfigMap shop/api: data.v 1 → 2 at api/cm.yaml:1", "unchanged 1")
	p.asked = nil
	overlays := memtree.Tree{
		"base/kustomization.yaml":     "resources: [cm.yaml]\n",
		"base/cm.yaml":                configMap("web", "1"),
		"web/dev/kustomization.yaml":  "resources: [../../base]\nnamespace: shop\n",
		"web/prod/kustomization.yaml": "resources: [../../base]\nnamespace: shop\n",
		"mesh/kustomization.yaml":     "resources: [cm.yaml]\n",
		"mesh/cm.yaml":                configMap("mesh", "1"),
	}
	b.review(t, overlays, edited(overlays, map[string]string{"web/dev/kustomization.yaml": "resources: [../../base]\nnamespace: shop\nnamePrefix: x-\n"}))
	slices.Sort(p.asked)
	if diff := cmp.Diff([]string{"mesh=1 web=1 -> mesh=1 x-web=1"}, p.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestDigest(t *testing.T) {
	b := newBench(t)
	change := map[string]string{"web/cm.yaml": configMap("web", "2")}
	one := b.review(t, shop, edited(shop, change))
	more := edited(shop, map[string]string{"README.md": "x"})
	two := b.review(t, more, edited(more, change))
	if one.Digest != two.Digest {
		t.Error("the same changes have other digests")
	}
	change["web/cm.yaml"] = configMap("web", "3")
	if three := b.review(t, shop, edited(shop, change)); three.Digest == one.Digest {
		t.Error("other changes have the same digest")
	}
}
