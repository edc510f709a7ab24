package render_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/memtree"
)

var commits = flag.Int("commits", 40, "how many random commits TestKeptEqualsFresh makes per seed")

// history makes random commits to a repository of charts, kustomizations with
// bases elsewhere, and plain files.
type history struct {
	*rand.Rand
	tree memtree.Tree
}

// requests are the Applications of the repository.
var requests = []render.Options{
	{Path: "apps/plain", Renderer: files, ReleaseName: "no pid"},
	{Path: "apps/plain"},
	{Path: "apps/kustomized/overlays/prod", Namespace: "shop"},
	{Path: "apps/kustomized/overlays/dev"},
	{Path: "charts/web", ReleaseName: "web", Namespace: "shop"},
	{Path: "charts/web", ReleaseName: "web", ValuesFiles: []string{"/env/prod.yaml"}, FieldOrigins: true},
	{Path: "charts/cap", ReleaseName: "cap"},
	{Path: "charts/grade", ReleaseName: "grade"},
	{Path: "charts/has", ReleaseName: "has"},
	{Path: "apps/plain/sub", Renderer: files, ReleaseName: "no pid"},
}

func newHistory(seed uint64) *history {
	h := &history{rand.New(rand.NewPCG(seed, 1)), memtree.Tree{
		"README.md":                                        "# shop",
		"apps/plain/a.yaml":                                configMapText("a", 1),
		"apps/plain/sub/b.yaml":                            configMapText("b", 1),
		"apps/kustomized/base/kustomization.yaml":          "resources: [cm.yaml, ../../../lib]\n",
		"apps/kustomized/base/cm.yaml":                     configMapText("base", 1),
		"apps/kustomized/overlays/prod/kustomization.yaml": "resources: [../../base]\nnamePrefix: prod-\npatches: [{path: patch.yaml}]\n",
		"apps/kustomized/overlays/prod/patch.yaml":         configMapText("base", 2),
		"apps/kustomized/overlays/dev/kustomization.yaml":  "resources: [../../base]\nconfigMapGenerator: [{name: gen, files: [file.txt]}]\n",
		"apps/kustomized/overlays/dev/file.txt":            "1",
		"lib/kustomization.yaml":                           "resources: [lib.yaml]\n",
		"lib/lib.yaml":                                     configMapText("lib", 1),
		"charts/web/Chart.yaml":                            "apiVersion: v2\nname: web\nversion: 1.0.0\n",
		"charts/web/values.yaml":                           "n: 1\n",
		"charts/web/templates/cm.yaml":                     strings.Replace(configMapText("web", 1), "n: \"1\"", "n: {{ .Values.n | quote }}", 1),
		"charts/web/templates/all.yaml":                    "{{ range $p, $_ := .Files.Glob \"files/*\" }}\n---\n" + configMapText("f", 1) + "  f: {{ $p | quote }}\n{{ end }}\n",
		"charts/web/files/x.txt":                           "x",
		"charts/web/.helmignore":                           "*.md\n",
		"charts/cap/Chart.yaml":                            "apiVersion: v2\nname: cap\nversion: 1.0.0\n",
		"charts/cap/templates/cm.yaml":                     strings.Replace(configMapText("cap", 1), "n: \"1\"", "n: {{ .Capabilities.KubeVersion.Version }}", 1),
		"charts/grade/Chart.yaml":                          "apiVersion: v2\nname: grade\nversion: 1.0.0\n",
		"charts/grade/templates/cm.yaml":                   strings.Replace(configMapText("grade", 1), "n: \"1\"", "n: {{ .Release.IsUpgrade | quote }}", 1),
		"charts/has/Chart.yaml":                            "apiVersion: v2\nname: has\nversion: 1.0.0\n",
		"charts/has/templates/cm.yaml":                     strings.Replace(configMapText("has", 1), "n: \"1\"", "n: {{ .Capabilities.APIVersions.Has \"a/v1/Kind\" | quote }}", 1),
		"env/prod.yaml":                                    "n: 7\n",
	}}
	return h
}

func configMapText(name string, n int) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  n: \"%d\"\n", name, n)
}

func (h *history) pick(names []string) string { return names[h.IntN(len(names))] }

// newNames are where files may appear: beside others, in the way of look-ups
// that fail at first, and where renderers look for special names.
var newNames = []string{
	"apps/plain/c.yaml", "apps/plain/sub/sub/d.yaml", "apps/plain/kustomization.yaml", "apps/plain/README.md",
	"apps/plain/.hidden.yaml", "apps/kustomized/base/README.md", "apps/kustomized/overlays/prod/Kustomization",
	"charts/web/values.yml", "charts/web/values.schema.json", "charts/web/crds/crd.yaml", "charts/web/files/y.txt",
	"charts/web/NOTES.md", "charts/web/charts/sub/Chart.yaml", "charts/web/Chart.lock", "lib/other.yaml", "other/file",
}

// commit changes one to three things.
func (h *history) commit() {
	h.tree = maps.Clone(h.tree)
	for range 1 + h.IntN(3) {
		names := slices.Sorted(maps.Keys(h.tree))
		name := h.pick(names)
		switch h.IntN(10) {
		case 8:
			h.tree["apps/plain/link.yaml"] = memtree.Link + "../../lib/lib.yaml"
		case 9:
			h.tree["lib/lib.yaml"] = h.edited(h.tree["lib/lib.yaml"])
		case 0, 1:
			h.tree[name] = h.edited(h.tree[name])
		case 2:
			delete(h.tree, name)
		case 3:
			to := h.pick(newNames)
			if h.free(to) {
				h.tree[to] = h.tree[name]
				delete(h.tree, name)
			}
		case 4:
			if to := h.pick(newNames); h.free(to) {
				h.tree[to] = h.pick([]string{configMapText("new", h.IntN(5)), "n: 3\n", "{}", "not yaml: ["})
			}
		case 5:
			if to := h.pick(append(newNames, name)); h.free(to) || to == name {
				h.tree[to] = memtree.Link + h.pick([]string{
					"../../lib/lib.yaml", "../../../lib/lib.yaml", "../../lib", "../../../../out", "a.yaml", ".", "/etc/passwd",
				})
			}
		default:
			h.mend(3)
		}
	}
	if h.IntN(6) == 0 {
		h.mend(100) // somebody reverts
	}
}

// mend brings back what was removed or broken: n random files of the first
// commit, and if they are many, also nothing but them.
func (h *history) mend(n int) {
	first := newHistory(0).tree
	if n > len(first) {
		h.tree = first
		return
	}
	for range n {
		name := h.pick(slices.Sorted(maps.Keys(first)))
		if _, there := h.tree[name]; there || h.free(name) {
			h.tree[name] = first[name]
		}
	}
}

// free reports whether a file can be made at name: no file is above it, and
// nothing is at it or below.
func (h *history) free(name string) bool {
	for other := range h.tree {
		if other == name || strings.HasPrefix(other, name+"/") || strings.HasPrefix(name, other+"/") {
			return false
		}
	}
	return true
}

func (h *history) edited(s string) string {
	switch {
	case strings.Contains(s, `n: "`):
		return strings.Replace(s, `n: "`, fmt.Sprintf(`n: "%d`, h.IntN(9)), 1)
	case strings.Contains(s, "n: "):
		return strings.Replace(s, "n: ", fmt.Sprintf("n: %d", 1+h.IntN(9)), 1)
	}
	return s + "# " + fmt.Sprint(h.IntN(3)) + "\n"
}

// TestKeptEqualsFresh is the property that all of this stands for: over random
// commits, what Memo answers equals a fresh rendering.
func TestKeptEqualsFresh(t *testing.T) {
	for seed := range uint64(2) {
		m := newMemo(t, 32<<20)
		h := newHistory(seed)
		asked, good := 0, 0
		for n := range *commits {
			if n > 0 {
				h.commit()
			}
			if n%20 == 19 {
				m.reopen(t, 32<<20)
			}
			for _, o := range requests {
				o.Capabilities.KubeVersion = h.pick([]string{"v1.35.0", "v1.36.0"})
				o.Capabilities.APIVersions = []string{"v1", h.pick([]string{"a/v1", "a/v1/Kind"})}
				o.IsUpgrade = h.IntN(2) == 0
				got, gotErr := m.Render(t.Context(), h.tree, o)
				want, wantErr := m.pool.Render(t.Context(), h.tree, o)
				asked++
				if wantErr == nil {
					good++
				}
				if d := difference(got, gotErr, want, wantErr); d != "" {
					t.Fatalf("seed %d, commit %d, %s: %s", seed, n, o.Path, d)
				}
			}
		}
		runs := int(m.runs.Load())
		t.Logf("seed %d: %d requests, %d runs, %d could be rendered", seed, asked, runs, good)
		if runs > asked*2/3 || runs < asked/50 || good < asked/3 {
			t.Errorf("the test is not a good one: %d runs for %d requests, %d could be rendered", runs, asked, good)
		}
	}
}

func difference(got *render.Result, gotErr error, want *render.Result, wantErr error) string {
	if gotErr != nil || wantErr != nil {
		return cmp.Diff(text(wantErr), text(gotErr))
	}
	if got.Key.Digest() != want.Key.Digest() {
		return "the keys differ:\n" + cmp.Diff(want.Key, got.Key)
	}
	return cmp.Diff(want.Output, got.Output)
}

func text(err error) string {
	var e *mizzen.Error
	if errors.As(err, &e) {
		return string(e.Kind) + ": " + err.Error()
	}
	return fmt.Sprint(err)
}
