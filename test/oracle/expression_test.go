package oracle

import (
	"strings"
	"testing"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic/compile"
	"mizzen.dev/mizzen/internal/traffic/effect/scenario"
	"mizzen.dev/mizzen/test/oracle/internal/runnable"
)

// TestLargeExpression holds that Envoy takes an expression that is large, and
// refuses all routes that come with one that is too large, as the effect says
// of which no request is a witness.
func TestLargeExpression(t *testing.T) {
	bench := newBench(t)
	s, err := scenario.Read("../../internal/traffic/effect/testdata/regex-too-large.txtar")
	if err != nil {
		t.Fatal(err)
	}
	large := repeated(t, s.After.Objects, 30)
	for name, c := range map[string]struct {
		objects []mizzen.Object
		refused bool
	}{"before": {s.Before.Objects, false}, "large": {large, false}, "too large": {s.After.Objects, true}} {
		mesh, err := compile.Compile(t.Context(), c.objects, compile.Options{})
		if err != nil {
			t.Fatal(err)
		}
		x, err := bench.Start(t.Context(), newWorld(mesh).proxies["front/web"], runnable.Outbound, t.TempDir())
		if refused := err != nil && strings.Contains(err.Error(), "refuses its configuration"); refused != c.refused {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			x.Close()
		}
	}
}

// repeated returns objects whose large expression has only some of its pieces.
func repeated(t *testing.T, objects []mizzen.Object, pieces int) []mizzen.Object {
	t.Helper()
	const piece = "[a-z]{1000}"
	out := make([]mizzen.Object, 0, len(objects))
	for _, o := range objects {
		if o.GetKind() == "VirtualService" {
			o.Unstructured = o.DeepCopy()
			rules := o.Object["spec"].(map[string]any)["http"].([]any)
			uri := rules[0].(map[string]any)["match"].([]any)[0].(map[string]any)["uri"].(map[string]any)
			if !strings.Contains(uri["regex"].(string), strings.Repeat(piece, pieces+1)) {
				t.Fatal("the scenario has no such expression")
			}
			uri["regex"] = "/" + strings.Repeat(piece, pieces)
		}
		out = append(out, o)
	}
	return out
}
