package render_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
)

func object(content map[string]any) mizzen.Object {
	return mizzen.Object{Unstructured: &unstructured.Unstructured{Object: content}}
}

func TestEncode(t *testing.T) {
	out := &render.Output{
		Renderer: render.Helm, Nondeterministic: true, Tainted: true, Consulted: render.Consulted{Capabilities: true},
		Findings: []mizzen.Finding{{Code: mizzen.CodeNondeterministic, Severity: mizzen.Warning, Message: "m"}},
		Objects: []mizzen.Object{
			configMap(map[string]any{"a": "<&>\u2028", "empty": ""}),
			object(map[string]any{
				"kind": "X", "int": int64(1) << 60, "float": 1.5, "null": nil, "list": []any{int64(1), "a", false}, "map": map[string]any{},
			}),
		},
	}
	var b bytes.Buffer
	if err := render.EncodeOutput(&b, out); err != nil {
		t.Fatal(err)
	}
	got, err := render.DecodeOutput(b.Bytes(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(out, got); d != "" {
		t.Error(d)
	}
	if _, err := render.DecodeOutput(b.Bytes(), 1); err == nil {
		t.Error("more objects than are allowed")
	}
	for n := range b.Len() {
		if _, err := render.DecodeOutput(b.Bytes()[:n], 2); err == nil {
			t.Errorf("the first %d bytes are taken for the whole", n)
		}
	}
	if err := render.EncodeOutput(&b, &render.Output{Objects: make([]mizzen.Object, 1)}); err == nil {
		t.Error("an object that is nil")
	}
}

// FuzzDecodeOutput feeds what a hostile worker, or a damaged disk, may hold.
func FuzzDecodeOutput(f *testing.F) {
	var b bytes.Buffer
	out := &render.Output{Objects: []mizzen.Object{configMap(map[string]any{"a": "b"})}}
	if err := render.EncodeOutput(&b, out); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("\x10{\"objects\":1000}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := render.DecodeOutput(data, 10)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if len(out.Objects) > 10 || render.EncodeOutput(&again, out) != nil {
			t.Errorf("%d objects were accepted that cannot be encoded", len(out.Objects))
		}
		for _, o := range out.Objects {
			_ = o.Ref()
		}
	})
}
