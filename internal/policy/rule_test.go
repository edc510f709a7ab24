package policy

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/policy/owners"
)

// withRule is a policy of one rule and no guardrails that would speak, too.
func withRule(level, expression, more string) string {
	return fmt.Sprintf("policy:\n  guardrails: {requests-fail: off, others-affected: off}\n"+
		"  rules:\n    - name: house\n      level: %s\n      message: our house has rules\n      expression: >-\n        %s\n%s", level, expression, more)
}

func rulesInput(t *testing.T) *Input {
	scale := change(mizzen.Update, "apps/Deployment web/web", "apps/web/all.yaml")
	scale.Fields = []mizzen.FieldChange{{Path: "spec.replicas", Before: int64(3), After: int64(0)}}
	return &Input{
		Owners: owned(t, codeowners, owners.GitHub),
		Items: []Item{
			{Application: app("web"), Changes: []mizzen.Change{scale}, Findings: []mizzen.Finding{{Code: "MZ2005", Severity: mizzen.Info, Message: "unknown kind"}}},
			{Application: app("payments"), Changes: []mizzen.Change{change(mizzen.Create, "ConfigMap payments/new", "apps/payments/all.yaml")}},
		},
		Effects: []mizzen.Effect{
			effect(mizzen.EffectFails, mizzen.ImpactDanger, "payments/payments", "web/web"),
			effect(mizzen.EffectWeights, mizzen.ImpactNotice, "orders/orders", "web/web"),
		},
	}
}

func TestRules(t *testing.T) {
	for _, c := range []struct {
		name, policy, want string
	}{
		{
			"a bool", withRule("deny", `effects.exists(e, e.code == "MT1003")`, ""),
			"deny\ndeny house\n",
		},
		{"not triggered", withRule("deny", `effects.exists(e, e.code == "MT9999")`, ""), "allow\n"},
		{"off", withRule("off", `true`, ""), "allow\n"},
		{
			"a list of effects", withRule("approval", `effects.filter(e, e.impact == "danger" && "web/web" in e.callers)`, ""),
			"needsApproval\napproval house (MT1003 payments/payments)\n" +
				"1 of [@payments-leads @payments-team]  for [apps/payments/all.yaml]\n1 of [@web-team]  for [apps/web/all.yaml]\n",
		},
		{
			"fields of changes", withRule("approval", `changes.filter(c, c.kind == "Deployment" && c.fields.exists(f, f.path == "spec.replicas" && f.after == 0))`, ""),
			"needsApproval\napproval house (update apps/Deployment web/web)\n1 of [@web-team]  for [apps/web/all.yaml]\n",
		},
		{"findings", withRule("warn", `findings.exists(f, f.severity == "info" && f.application == "mizzen-system/web")`, ""), "allow\nwarn house\n"},
		{
			"selected by namespace", withRule("warn", `changes`, "      namespaces: [pay*]\n"),
			"allow\nwarn house (create ConfigMap payments/new)\n",
		},
		{"selected by application", withRule("warn", `application == "mizzen-system/payments" && size(changes) == 1`, "      applications: [payments]\n"), "allow\nwarn house\n"},
		{"nothing selected", withRule("deny", `true`, "      namespaces: [elsewhere]\n      applications: [none]\n"), "allow\n"},
		{"owners", withRule("warn", `"@orders-team" in owners && size(applications) == 2 && size(files) == 2`, ""), "allow\nwarn house\n"},
		{"texts", withRule("warn", `["one", "two"]`, ""), "allow\nwarn house (one) (two)\n"},
	} {
		if got := judge(t, c.policy, rulesInput(t)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// What is found of the repository as a whole is of no Application.
func TestFindingsOfTheRepositoryAreOfNoApplication(t *testing.T) {
	in := &Input{Items: []Item{{Findings: []mizzen.Finding{{Code: "MZ1011", Severity: mizzen.Warning}}}, {Application: app("web")}}}
	if got := judge(t, withRule("warn", `application == "mizzen-system/web" && size(applications) == 1 && size(findings) == 1`, ""), in); got != "allow\nwarn house\n" {
		t.Error(got)
	}
}

// A rule that fails, or that would take too long, is triggered.
func TestRuleThatCannotBeEvaluated(t *testing.T) {
	nested := `changes.all(a, changes.all(b, changes.all(c, changes.all(d, a.name + b.name + c.name + d.name != "x"))))`
	var many []mizzen.Change
	for i := range 200 {
		many = append(many, change(mizzen.Create, fmt.Sprintf("ConfigMap a/%d", i), "a.yaml"))
	}
	for name, expression := range map[string]string{
		"missing field": `changes.exists(c, c.nothing == 1)`,
		"wrong type":    `changes.exists(c, c.name > 1)`,
		"cost":          nested,
	} {
		p, err := Parse(FileName, []byte(withRule("deny", expression, "")))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		v := p.Judge(t.Context(), &Input{Items: []Item{{Application: app("a"), Changes: many}}})
		if v.Decision != mizzen.Deny || !strings.Contains(v.Reasons[0].Message, "cannot be evaluated") {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// Time is a bound, too: once it is over, the outer loops end as well, and do not
// run on until the cost is exceeded.
func TestTimeEndsNestedLoops(t *testing.T) {
	var many []mizzen.Change
	for i := range 200 {
		many = append(many, change(mizzen.Create, fmt.Sprintf("ConfigMap a/%d", i), "a.yaml"))
	}
	p, err := Parse(FileName, []byte(withRule("deny", `changes.all(a, changes.all(b, changes.all(c, a.name + b.name != c.name)))`, "")))
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	v := p.Judge(over, &Input{Items: []Item{{Application: app("a"), Changes: many}}})
	if v.Decision != mizzen.Deny || !strings.Contains(v.Reasons[0].Message, "interrupted") {
		t.Errorf("%+v", v)
	}
}

// A rule about files that sees a part of them says nothing about the rest; other
// rules are judged as ever.
func TestFilesOmitted(t *testing.T) {
	for _, c := range []struct{ name, expression, want string }{
		{"exists", `files.exists(f, f == "zz/secret.yaml")`, "needsApproval"},
		{"in a helper", `[1].exists(n, size(files) > n)`, "needsApproval"},
		{"about something else", `changes.exists(c, c.kind == "files")`, "allow"},
	} {
		p, err := Parse(FileName, []byte(withRule("approval", c.expression, "")))
		if err != nil {
			t.Fatal(err)
		}
		in := rulesInput(t)
		in.Effects, in.Files = nil, []string{"a.yaml"}
		if v := p.Judge(t.Context(), in); v.Decision != mizzen.Allow {
			t.Errorf("%s: all files are known: %+v", c.name, v)
		}
		in.FilesOmitted = true
		v := p.Judge(t.Context(), in)
		if string(v.Decision) != c.want {
			t.Errorf("%s: %s, want %s", c.name, v.Decision, c.want)
		}
		if v.Decision != mizzen.Allow && !strings.HasSuffix(v.Reasons[0].Message, "(the rule cannot be evaluated: more files change than the 1 that it sees; split the change)") {
			t.Errorf("%s: %q", c.name, v.Reasons[0].Message)
		}
	}
}
