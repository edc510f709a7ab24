package discover

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render/memtree"
)

func objectOf(m Manifest) mizzen.Object {
	return mizzen.Object{Unstructured: &unstructured.Unstructured{Object: m.Object}}
}

const application = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: NAME}\nspec: {}\n"

func named(name string) string { return strings.ReplaceAll(application, "NAME", name) }

func TestScan(t *testing.T) {
	files := memtree.Tree{
		"a.yaml":                 "# the first\n\n---\n# of two\n" + named("one") + "---\n" + named("two"),
		"b/c.json":               `{"apiVersion":"argoproj.io/v1alpha1","kind":"Application","metadata":{"name":"three"}}`,
		"b/readme.md":            named("four"),
		"b/other.yaml":           "kind: ConfigMap\ndata: {text: argoproj.io/}\n",
		"chart/Chart.yaml":       "name: chart\n",
		"chart/templates/a.yaml": named("{{ .Values.five }}"),
		"chart/templates/b.yaml": named("six"),
		"broken.yaml":            "argoproj.io/: [\n",
		".hidden/a.yaml":         named("seven"),
	}
	s := NewScanner()
	found, err := s.Scan(t.Context(), files, ".")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range found {
		got = append(got, m.Ref().Name+" "+m.Origin.String())
	}
	if diff := cmp.Diff([]string{"one a.yaml:5", "two a.yaml:10", "three b/c.json:1"}, got); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	// What did not change is not read again.
	changed := memtree.Tree{"b/c.json": files["b/c.json"], "b/readme.md": files["b/readme.md"], "b/other.yaml": files["b/other.yaml"], "a.yaml": named("new")}
	reads := &counting{Tree: changed}
	if found, err = s.Scan(t.Context(), reads, "."); err != nil || len(found) != 2 {
		t.Fatalf("%v, %v", found, err)
	}
	if diff := cmp.Diff([]string{"a.yaml"}, reads.names); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
}

// counting notes which files are read.
type counting struct {
	memtree.Tree
	names []string
}

func (c *counting) ReadFile(name string) ([]byte, error) {
	c.names = append(c.names, name)
	return c.Tree.ReadFile(name)
}

func TestDirectories(t *testing.T) {
	files := memtree.Tree{
		"charts/web/Chart.yaml":            "name: web\n",
		"charts/web/charts/sub/Chart.yaml": "name: sub\n",
		"charts/lib/Chart.yaml":            "name: lib\ntype: library\n",
		"over/base/kustomization.yaml":     "resources: []\n",
		"over/part/kustomization.yml":      "kind: Component\n",
		"plain/a.yaml":                     "kind: ConfigMap\n",
	}
	names := func(root string) []string {
		apps, err := Directories(t.Context(), files, root)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, a := range apps {
			names = append(names, string(a.Parts[0].Options.Renderer)+" "+a.Name)
		}
		return names
	}
	if diff := cmp.Diff([]string{"Helm charts/web", "Kustomize over/base"}, names(".")); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Plain plain"}, names("plain")); diff != "" {
		t.Errorf("plain (-want +got):\n%s", diff)
	}
}

func TestOverlay(t *testing.T) {
	files := memtree.Tree{"d/a": "a", "d/m": "old", "e/x": "x"}
	over := Part{Overlay: map[string][]byte{"d/m": []byte("new"), "d/z": []byte("z")}}.Over(files)
	var names []string
	err := fs.WalkDir(over, ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			b, readErr := over.ReadFile(name)
			names = append(names, name+"="+string(b))
			return readErr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"d/a=a", "d/m=new", "d/z=z", "e/x=x"}, names); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for name, same := range map[string]bool{".": false, "d": false, "d/a": true, "d/m": false, "e": true} {
		was, _ := files.ID(name)
		is, err := over.ID(name)
		if err != nil || (was == is) != same {
			t.Errorf("%s: %q and %q, %v", name, was, is, err)
		}
	}
	other := Part{Overlay: map[string][]byte{"d/m": []byte("newer"), "d/z": []byte("z")}}.Over(files)
	one, _ := over.ID(".")
	if two, _ := other.ID("."); one == two {
		t.Error("other content has the same ID")
	}
	if (Part{}).Over(files).(memtree.Tree)["d/a"] != "a" {
		t.Error("nothing is laid over, and it is another Snapshot")
	}
}

// FuzzRead: a manifest can be anything.
func FuzzRead(f *testing.F) {
	f.Add(argo("source: {repoURL: x, path: chart, helm: {parameters: [{name: 'a[3].b', value: x}]}}"))
	f.Add(flux("path: over\nsourceRef: {kind: GitRepository, name: shop}"))
	f.Add(release("chart: {spec: {chart: chart, sourceRef: {kind: GitRepository}}}"))
	f.Add("---\n--- x\n")
	f.Fuzz(func(t *testing.T, text string) {
		files := memtree.Tree{"a.yaml": text, "chart/Chart.yaml": "name: chart\n"}
		found, err := NewScanner().Scan(t.Context(), files, ".")
		if err != nil {
			t.Fatal(err)
		}
		c := NewCatalog(files, nil)
		for _, m := range found {
			c.Remember(m)
		}
		for _, m := range found {
			app, omitted := c.Read(m, "")
			if app != nil && omitted != nil {
				t.Errorf("found and omitted: %+v", app)
			}
		}
	})
}
