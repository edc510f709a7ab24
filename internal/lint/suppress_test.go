package lint_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/lint"
)

func TestSuppress(t *testing.T) {
	cases := map[string]struct {
		annotation string
		want       []mizzen.Code
		suppressed int
		problem    string
	}{
		"none":               {"", []mizzen.Code{"IST0101", "MZ2001", "MZ4101"}, 0, ""},
		"one":                {"MZ4101: thirds", []mizzen.Code{"IST0101", "MZ2001"}, 1, ""},
		"two, and one twice": {" IST0101 : elsewhere ;MZ2001:new; MZ2001: new", []mizzen.Code{"MZ4101"}, 2, ""},
		"a long reason":      {"MZ4101: thirds; and more: yes; IST0101: no", []mizzen.Code{"MZ2001"}, 2, ""},
		"another code":       {"MZ4102: nothing", []mizzen.Code{"IST0101", "MZ2001", "MZ4101"}, 0, ""},
		"no reason":          {"MZ4101", []mizzen.Code{"IST0101", "MZ2001", "MZ2012", "MZ4101"}, 0, "MZ4101 is ignored without a reason"},
		"an empty reason":    {"MZ4101: ; MZ2001: new", []mizzen.Code{"IST0101", "MZ2012", "MZ4101"}, 1, "MZ4101 is ignored without a reason"},
		"no code":            {"weights: thirds", []mizzen.Code{"IST0101", "MZ2001", "MZ2012", "MZ4101"}, 0, `"weights" is not the code of a finding`},
		"everything":         {"*: no", []mizzen.Code{"IST0101", "MZ2001", "MZ2012", "MZ4101"}, 0, `"*" is not the code of a finding`},
		"itself":             {"MZ2012: no; MZ4101", []mizzen.Code{"IST0101", "MZ2001", "MZ2012", "MZ4101"}, 0, "MZ4101 is ignored without a reason"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o := mizzen.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": "a", "namespace": "b"},
			}}}
			if c.annotation != "" {
				o.SetAnnotations(map[string]string{mizzen.AnnotationLintIgnore: c.annotation})
			}
			o.Origins.Object = mizzen.Origin{File: "a.yaml", Line: 1}
			other := mizzen.Finding{Code: "MZ4101", Ref: mizzen.Ref{Kind: "Service", Name: "other"}}
			findings := []mizzen.Finding{other}
			for _, code := range []mizzen.Code{"MZ4101", "IST0101", "MZ2001"} {
				findings = append(findings, mizzen.Finding{Code: code, Ref: o.Ref(), Origin: o.Origins.Object})
			}
			checked := check(t, lint.Offline(), o.Object)
			for i := range checked {
				checked[i].Origin = o.Origins.Object
			}
			shown, suppressed := lint.Suppress(append(findings, checked...), []mizzen.Object{o})
			mizzen.SortFindings(shown)
			var codes []mizzen.Code
			for _, f := range shown[1:] {
				codes = append(codes, f.Code)
				want := "the annotation mizzen.dev/lint-ignore has no effect: " + c.problem
				if f.Code == mizzen.CodeInvalidLintIgnore && (f.Message != want || f.Origin.Line != 1) {
					t.Errorf("finding = %+v", f)
				}
			}
			if diff := cmp.Diff(c.want, codes); diff != "" || suppressed != c.suppressed {
				t.Errorf("%d suppressed (-want +got):\n%s", suppressed, diff)
			}
			if shown[0].Ref != other.Ref {
				t.Errorf("a finding about another object is gone: %v", shown)
			}
		})
	}
}
