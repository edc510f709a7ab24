package plain_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/plain"
)

func configMap(name string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n")}
}

func TestRenderReadsManifestsInOrderOfPaths(t *testing.T) {
	repository := fstest.MapFS{
		"shop/z.yml":                   configMap("z"),
		"shop/a.yaml":                  configMap("a"),
		"shop/b/c/d.json":              {Data: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"d"}}`)},
		"shop/.github/workflow.yaml":   {Data: []byte("on: push\n")},
		"shop/.pre-commit-config.yaml": {Data: []byte("repos: []\n")},
		"shop/README.md":               {Data: []byte("# Shop\n")},
		"other/x.yaml":                 configMap("x"),
	}
	out, err := plain.Render(t.Context(), repository, render.Options{Path: "shop", FieldOrigins: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range out.Objects {
		got = append(got, o.Ref().String()+" at "+o.Origins.Of("metadata.name").String())
	}
	want := []string{"ConfigMap a at shop/a.yaml:4", "ConfigMap d at shop/b/c/d.json:1", "ConfigMap z at shop/z.yml:4"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if out.Nondeterministic || out.Consulted != (render.Consulted{}) {
		t.Errorf("plain manifests consult nothing, got %+v", out)
	}
}

func TestRenderWithoutFieldOrigins(t *testing.T) {
	out, err := plain.Render(t.Context(), fstest.MapFS{"a.yaml": configMap("a")}, render.Options{Path: "."})
	if err != nil {
		t.Fatal(err)
	}
	want := mizzen.Origins{Object: mizzen.Origin{File: "a.yaml", Line: 1}}
	if diff := cmp.Diff(want, out.Objects[0].Origins); diff != "" {
		t.Error(diff)
	}
}

func TestRenderRefuses(t *testing.T) {
	cases := map[string]struct {
		repository fs.FS
		kind       mizzen.Kind
		want       string
	}{
		"no such path":    {fstest.MapFS{"x.yaml": configMap("x")}, mizzen.NotFound, "shop: no such directory at this revision"},
		"no manifest":     {fstest.MapFS{"shop/values.yaml": {Data: []byte("a: b\n")}}, mizzen.Invalid, "shop/values.yaml:1: no Kubernetes object"},
		"refused by fs":   {refusing{fstest.MapFS{"shop/link.yaml": configMap("x")}}, mizzen.Refused, "points out of the repository"},
		"nested too deep": {fstest.MapFS{"shop/" + strings.Repeat("d/", 101) + "x.yaml": configMap("x")}, mizzen.TooLarge, "nested deeper"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := plain.Render(t.Context(), c.repository, render.Options{Path: "shop"})
			if mizzen.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %s %v, want %s with %q", mizzen.KindOf(err), err, c.kind, c.want)
			}
		})
	}
}

// refusing stands for a Snapshot in which every file is a symbolic link out
// of the tree.
type refusing struct{ fstest.MapFS }

func (refusing) ReadFile(name string) ([]byte, error) {
	return nil, &mizzen.Error{
		Kind: mizzen.Refused, Object: name,
		Err: errors.Join(errors.New("the link points out of the repository"), fs.ErrNotExist),
	}
}
