package policy

import (
	"errors"
	"strings"
	"testing"

	"mizzen.dev/mizzen"
)

func TestParseRefuses(t *testing.T) {
	rule := func(fields string) string { return "policy:\n  rules:\n    - {" + fields + "}\n" }
	for _, c := range []struct {
		document, want string
		line           int
	}{
		{"policy:\n  guard: {}\n", `unknown field "guard"`, 2},
		{"polcy: {}\n", `unknown field "polcy"`, 1},
		{"policy:\n  guardrails:\n    mtls-weakend: deny\n", `unknown field "mtls-weakend"`, 3},
		{"policy:\n  guardrails:\n    mtls-weakened: never\n", `"never" is no level`, 3},
		{"policy:\n  guardrails:\n    mtls-weakened: [deny]\n", "a list is no level", 3},
		{"policy:\n  guardrails:\n    mtls-weakened: deny\n    mtls-weakened: off\n", "twice", 4},
		{"policy: []\n", "a list is no mapping", 1},
		{"policy:\n  scopes: {}\n", "a mapping is no list", 2},
		{"policy:\n  scopes:\n    - guardrails: {mtls-weakened: off}\n", "selects nothing", 3},
		{"policy:\n  scopes:\n    - namespaces: [a]\n", "sets no level", 3},
		{"policy:\n  scopes:\n    - namespaces: ['[a']\n", "is no pattern", 3},
		{"policy:\n  scopes:\n    - namespaces: []\n", "the list is empty", 3},
		{"policy:\n  scopes:\n    - namespaces: [1]\n", `"1" is no text`, 3},
		{"a: &x {}\npolicy: *x\n", `unknown field "a"`, 1},
		{"policy: &p\n  guardrails: *p\n", "an alias (*p) is no mapping", 2},
		{"policy: {}\n---\npolicy: {}\n", "second document", 1},
		{rule("name: x, level: deny, message: m"), "lacks", 3},
		{rule("name: X y, level: deny, message: m, expression: 'true'"), "no name of a rule", 3},
		{rule("name: mtls-weakened, level: deny, message: m, expression: 'true'"), "already a rule or guardrail", 3},
		{rule("name: x, level: deny, message: m, expression: 'nothing > 1'"), "undeclared reference", 3},
		{rule("name: x, level: deny, message: m, expression: 'size(effects)'"), "neither a bool nor a list", 3},
		{rule("name: x, level: deny, message: m, expression: true"), "is no text", 3},
		{rule("name: x, level: deny, message: " + strings.Repeat("m", maxText+1) + ", expression: 'true'"), "more than 500", 3},
		{"policy:\n  rules: [" + strings.Repeat("a,", maxRules+1) + "]\n", "more than 100", 2},
		{"policy: {\n", "no YAML", 1},
		{"policy:\n  rules:\n  - a: [\n", "no YAML", 3},
		{"#" + strings.Repeat("x", maxFile), "256 KiB", 0},
	} {
		_, err := Parse(FileName, []byte(c.document))
		var e *mizzen.Error
		if !errors.As(err, &e) {
			t.Errorf("%.60q: %v", c.document, err)
			continue
		}
		if !strings.Contains(e.Error(), c.want) || e.Origin.Line != c.line || e.Remedy == "" {
			t.Errorf("%.60q: %v (line %d), want %q at line %d", c.document, err, e.Origin.Line, c.want, c.line)
		}
	}
}

func TestParseEmpty(t *testing.T) {
	for _, document := range []string{"", "# nothing\n", "---\n", "{}", "policy: {}\n"} {
		if _, err := Parse(FileName, []byte(document)); err != nil {
			t.Errorf("%q: %v", document, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(scoped))
	f.Add([]byte("policy:\n  rules:\n    - {name: x, level: deny, message: m, expression: 'effects.exists(e, e.code == \"MT1003\")'}\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, document []byte) {
		p, err := Parse(FileName, document)
		if err == nil {
			p.Judge(t.Context(), &Input{Effects: []mizzen.Effect{effect(mizzen.EffectFails, mizzen.ImpactDanger, "web/web")}})
		}
	})
}
