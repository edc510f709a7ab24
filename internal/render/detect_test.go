package render_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
)

func TestDetect(t *testing.T) {
	file := &fstest.MapFile{}
	repository := fstest.MapFS{
		"chart/Chart.yaml": file, "chart/templates/a.yaml": file,
		"kustomize/kustomization.yml": file, "old/Kustomization": file,
		"plain/a.yaml": file, "both/Chart.yaml": file, "both/kustomization.yaml": file,
	}
	cases := []struct {
		dir  string
		want render.Renderer
		kind mizzen.Kind
	}{
		{"chart", render.Helm, ""},
		{"kustomize", render.Kustomize, ""},
		{"old", render.Kustomize, ""},
		{"plain", render.Plain, ""},
		{".", render.Plain, ""},
		{"both", "", mizzen.Invalid},
		{"absent", "", mizzen.NotFound},
	}
	for _, c := range cases {
		got, err := render.Detect(repository, c.dir)
		if got != c.want || mizzen.KindOf(err) != c.kind {
			t.Errorf("Detect(%s) = %q, %v; want %q and an error of kind %q", c.dir, got, err, c.want, c.kind)
		}
		if err != nil && !strings.Contains(err.Error(), "spec.source.") {
			t.Errorf("Detect(%s): %v; want a remedy", c.dir, err)
		}
	}
}
