package report

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"testing"

	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
)

// TestEveryCodeIsDescribed reads the codes from their source, so that a new one
// cannot be forgotten.
func TestEveryCodeIsDescribed(t *testing.T) {
	eachCode(t, "../../code.go", func(code string) bool { return codes[mizzen.Code(code)] != "" })
	eachCode(t, "../../effectcode.go", func(code string) bool { return DescribeEffect(mizzen.EffectCode(code)) != code })
}

// TestEveryCodeIsExplained: a result of code scanning leads to the explanation.
func TestEveryCodeIsExplained(t *testing.T) {
	b, err := os.ReadFile("../../hack/reference/codes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]struct{ Why, Example, Do string }
	if err := yaml.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{"../../code.go", "../../effectcode.go"} {
		eachCode(t, source, func(code string) bool { e := all[code]; return e.Why != "" && e.Example != "" && e.Do != "" })
	}
}

func eachCode(t *testing.T, source string, described func(code string) bool) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), source, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(file, func(node ast.Node) bool {
		value, ok := node.(*ast.BasicLit)
		if !ok || value.Kind != token.STRING {
			return true
		}
		code, err := strconv.Unquote(value.Value)
		if err != nil {
			t.Fatal(err)
		}
		if n++; !described(code) {
			t.Errorf("%s has no description or no explanation", code)
		}
		return true
	})
	if n < 20 {
		t.Fatalf("found only %d codes in %s", n, source)
	}
}
