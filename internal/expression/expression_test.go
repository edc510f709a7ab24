package expression

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
)

const limit = 10_000

func environment(t *testing.T) *cel.Env {
	t.Helper()
	env, err := cel.NewEnv(cel.Variable("list", cel.ListType(cel.DynType)), cel.Variable("text", cel.DynType))
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func anything(*cel.Type) error { return nil }

func TestCompileRefuses(t *testing.T) {
	noText := func(got *cel.Type) error {
		if got.Kind() == cel.StringKind {
			return errors.New("no text, please")
		}
		return nil
	}
	for _, c := range []struct{ name, source, want string }{
		{"too long", strings.Repeat(" ", MaxSource) + "1", "longer than 8192 bytes"},
		{"unknown", "nothing", "undeclared reference to 'nothing'"},
		{"its type", `"a"`, "no text, please"},
	} {
		if _, err := Compile(environment(t), c.source, limit, noText); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestEvaluate(t *testing.T) {
	long := strings.Repeat("a", 1000)
	for _, c := range []struct{ name, source, want, fails string }{
		{name: "within the limit", source: `text + "b"`, want: long + "b"},
		{name: "work of numbers", source: `list.all(a, list.all(b, list.all(c, a + b + c >= 0))) ? "yes" : "no"`, fails: "cost limit exceeded"},
		{name: "work of texts", source: `list.map(a, text + text + text + text).size() > 0 ? "yes" : "no"`, fails: "cost limit exceeded"},
		{name: "work of patterns", source: `list.all(a, text.matches("(a*)*b" + text)) ? "yes" : "no"`, fails: "cost limit exceeded"},
	} {
		e, err := Compile(environment(t), c.source, limit, anything)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		list := make([]any, 50)
		for i := range list {
			list[i] = i
		}
		got, err := e.Evaluate(t.Context(), map[string]any{"list": list, "text": long})
		switch {
		case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
			t.Errorf("%s: %v, %v, want %q", c.name, got, err, c.fails)
		case c.fails == "" && (err != nil || got.Value() != c.want):
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}

// A loop that is interrupted yields what it has so far, which is no answer.
func TestEvaluateEndsWithItsContext(t *testing.T) {
	e, err := Compile(environment(t), `list.exists(a, a > 1)`, limit, anything)
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := e.Evaluate(over, map[string]any{"list": []any{1, 2}, "text": ""}); err == nil {
		t.Errorf("got %v", got)
	}
}

func TestNames(t *testing.T) {
	for source, want := range map[string]bool{
		`list.all(a, a == 1)`: true, `[1].map(a, [a] + list).size() == 2`: true, `text == "list"`: false, `[1].all(a, a == 1)`: false,
	} {
		e, err := Compile(environment(t), source, limit, anything)
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		if got := e.Names("list"); got != want {
			t.Errorf("%s: %v, want %v", source, got, want)
		}
	}
}
