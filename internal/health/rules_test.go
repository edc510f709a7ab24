package health

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
)

const widget = `
apiVersion: example.com/v1
kind: Widget
metadata: {name: a, namespace: shop, generation: 2}
spec: {size: 3}
status:
  parts: [a, b]
  conditions:
  - {type: Built, status: "True", reason: Done, observedGeneration: 2}
  - {type: Painted, status: "True", reason: Old, observedGeneration: 1}
  - {type: Sold, status: "False", reason: NoBuyer, message: nobody wants it}
  - {type: Lost, status: Unknown}
`

// judgeWidget judges the widget by one case.
func judgeWidget(t *testing.T, when, message string) Judgement {
	t.Helper()
	j := newJudge(t, Rule{Kinds: []string{"example.com/Widget"}, Cases: []Case{
		{When: when, Status: Degraded, Message: message},
		{Status: Healthy},
	}})
	return j.Judge(context.Background(), object(t, widget))
}

func TestExpressions(t *testing.T) {
	cases := []struct {
		when string
		want bool
	}{
		{`spec.size == 3`, true},
		{`spec.?none.orValue(0) == 3`, false},
		{`generation == 2 && observed`, true},
		{`object.kind == "Widget" && metadata.name == "a"`, true},
		{`"a" in status.parts`, true},
		{`conditions.is("Built", "True")`, true},
		{`conditions.is("Painted", "True")`, false}, // of an earlier generation
		{`conditions.is("Absent", "True")`, false},
		{`conditions.waits("Painted") && conditions.waits("Absent") && conditions.waits("Lost")`, true},
		{`conditions.waits("Sold")`, false},
		{`conditions.why("Sold") == "nobody wants it" && conditions.why("Built") == "Done" && conditions.why("Lost") == "Lost is Unknown"`, true},
		{`conditions.reason("Sold") == "NoBuyer" && conditions.reason("Absent") == ""`, true},
		{`"Sold" in conditions`, true},
		{`conditionsOf(status, generation).is("Built", "True")`, true},
		{`conditionsOf(spec, generation).is("Built", "True")`, false},
		{`status.parts.join("+") == "a+b"`, true},
	}
	for _, c := range cases {
		got := judgeWidget(t, c.when, "")
		if want := map[bool]Status{true: Degraded, false: Healthy}[c.want]; got.Status != want {
			t.Errorf("%s: judged %v, want %s", c.when, got, want)
		}
	}
}

func TestMessages(t *testing.T) {
	cases := []struct{ message, want string }{
		{`plain`, "plain"},
		{`"quoted" \ text`, `"quoted" \ text`},
		{`${spec.size} of ${status.parts.size()}`, "3 of 2"},
		{`${status.?none.orValue({"a": "}"})["a"]}!`, "}!"},
		{`parts: ${status.parts.map(p, p + "1").join(", ")}`, "parts: a1, b1"},
	}
	for _, c := range cases {
		if got := judgeWidget(t, "", c.message); got.Message != c.want {
			t.Errorf("%s gave %q, want %q", c.message, got.Message, c.want)
		}
	}
}

// A rule that cannot be evaluated must not let the object pass as healthy.
func TestFailingRuleIsUnknown(t *testing.T) {
	for _, when := range []string{`spec.none == 3`, `status.parts`, `spec.size / 0 == 1`} {
		got := judgeWidget(t, when, "")
		if got.Status != Unknown || !strings.HasPrefix(got.Message, "health rule failed: ") {
			t.Errorf("%s: judged %v, want Unknown", when, got)
		}
	}
}

func TestInvalidRules(t *testing.T) {
	kinds := []string{"example.com/Widget"}
	for name, r := range map[string]Rule{
		"no kinds":       {Cases: []Case{{Status: Healthy}}},
		"no cases":       {Kinds: kinds},
		"pattern":        {Kinds: []string{"["}, Cases: []Case{{Status: Healthy}}},
		"status":         {Kinds: kinds, Cases: []Case{{Status: "Fine"}}},
		"syntax":         {Kinds: kinds, Cases: []Case{{When: "spec.", Status: Healthy}}},
		"type":           {Kinds: kinds, Cases: []Case{{When: "1 + 1", Status: Healthy}}},
		"unknown name":   {Kinds: kinds, Cases: []Case{{When: "now() > 1", Status: Healthy}}},
		"open brace":     {Kinds: kinds, Cases: []Case{{Status: Healthy, Message: "${spec.size"}}},
		"too long":       {Kinds: kinds, Cases: []Case{{When: strings.Repeat("true && ", 2000) + "true", Status: Healthy}}},
		"nested deeply":  {Kinds: kinds, Cases: []Case{{When: strings.Repeat("(", 1000) + "true" + strings.Repeat(")", 1000), Status: Healthy}}},
		"macro in macro": {Kinds: kinds, Cases: []Case{{When: "cel.bind(x, 1, true)", Status: Healthy}}},
	} {
		if _, err := New(Options{Rules: []Rule{r}}); mizzen.KindOf(err) != mizzen.Invalid {
			t.Errorf("%s: error %v, want Invalid", name, err)
		}
	}
	if _, err := ParseRules([]byte("rules: [{kind: x}]")); mizzen.KindOf(err) != mizzen.Invalid {
		t.Errorf("unknown field: error %v, want Invalid", err)
	}
}

func TestParseRules(t *testing.T) {
	got, err := ParseRules([]byte("rules:\n- kinds: [Pod]\n  cases:\n  - {when: 'true', status: Healthy, message: ok}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Rule{{Kinds: []string{"Pod"}, Cases: []Case{{When: "true", Status: Healthy, Message: "ok"}}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Rules of the user win, then those that name the kind; a rule without a case
// that holds leaves the kind to the next source.
func TestPrecedence(t *testing.T) {
	cert := testdata(t, "certificate-good.yaml")
	say := func(kind, when, message string) Rule {
		return Rule{Kinds: []string{kind}, Cases: []Case{{When: when, Status: Suspended, Message: message}}}
	}
	cases := []struct {
		name  string
		rules []Rule
		want  string
	}{
		{"script", nil, "Certificate is up to date and has not expired"},
		{"rule over script", []Rule{say("cert-manager.io/Certificate", "", "rule")}, "rule"},
		{"silent rule", []Rule{say("cert-manager.io/Certificate", "false", "rule")}, "Certificate is up to date and has not expired"},
		{"name over pattern", []Rule{say("cert-manager.io/*", "", "pattern"), say("cert-manager.io/Certificate", "", "name")}, "name"},
		{"silent name, pattern", []Rule{say("*.io/*", "", "pattern"), say("cert-manager.io/Certificate", "false", "name")}, "pattern"},
	}
	for _, c := range cases {
		if got := newJudge(t, c.rules...).Judge(context.Background(), cert); got.Message != c.want {
			t.Errorf("%s: judged %v, want %q", c.name, got, c.want)
		}
	}
	mine := newJudge(t, say("ConfigMap", "", "mine")).Judge(context.Background(), testdata(t, "configmap-good.yaml"))
	if mine.Message != "mine" {
		t.Errorf("a ConfigMap with a rule is judged %v", mine)
	}
}

// A rule that wants all of the machine gets none of it.
func TestHostileRulesAreBounded(t *testing.T) {
	list := "[" + strings.TrimSuffix(strings.Repeat("1,", 100), ",") + "]"
	nested := "true"
	for range 8 {
		nested = list + ".all(x, " + nested + ")"
	}
	doubled := strings.Repeat("(", 200) + "object.text" + strings.Repeat(" + object.text)", 200)
	cases := map[string]string{
		"nested loops":   nested,
		"long strings":   doubled + ".size() == 7",
		"strings in map": list + ".map(a, " + list + ".map(b, object.text + object.text)).size() == 7",
		"search":         list + ".all(a, " + list + ".all(b, !object.text.matches('(x+x+)+y')))",
	}
	obj := object(t, widget)
	obj.Object["text"] = strings.Repeat("x", 1<<20)
	for name, when := range cases {
		t.Run(name, func(t *testing.T) {
			j := newJudge(t, Rule{Kinds: []string{"example.com/Widget"}, Cases: []Case{{When: when, Status: Healthy}}})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got := j.Judge(context.Background(), obj)
			runtime.ReadMemStats(&after)
			if got.Status != Unknown || !strings.Contains(got.Message, "cost limit") {
				t.Errorf("judged %v, want Unknown for its cost", got)
			}
			if made := (after.TotalAlloc - before.TotalAlloc) >> 20; made > 256 {
				t.Errorf("made %d MiB", made)
			}
		})
	}
}

func TestWorst(t *testing.T) {
	ref := func(name string) mizzen.Ref {
		return mizzen.Ref{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: name}
	}
	cases := []struct {
		name    string
		objects map[mizzen.Ref]Judgement
		want    Summary
	}{
		{"nothing", nil, Summary{Status: Healthy, Counts: map[Status]int{}}},
		{
			"all up",
			map[mizzen.Ref]Judgement{ref("a"): {Healthy, "x"}, ref("b"): {Healthy, ""}},
			Summary{Status: Healthy, Counts: map[Status]int{Healthy: 2}},
		},
		{
			"first of the worst",
			map[mizzen.Ref]Judgement{
				ref("a"): {Progressing, "1 of 2"}, ref("b"): {Degraded, "crashes"}, ref("c"): {Degraded, "lost"}, ref("d"): {Healthy, ""},
			},
			Summary{
				Status: Degraded, Worst: ref("b"), Message: "apps/Deployment shop/b is Degraded: crashes (and 1 more Degraded)",
				Counts: map[Status]int{Healthy: 1, Progressing: 1, Degraded: 2},
			},
		},
		{
			"broken outweighs unknown",
			map[mizzen.Ref]Judgement{ref("a"): {Unknown, "?"}, ref("b"): {Degraded, ""}},
			Summary{
				Status: Degraded, Worst: ref("b"), Message: "apps/Deployment shop/b is Degraded",
				Counts: map[Status]int{Unknown: 1, Degraded: 1},
			},
		},
		{
			"no status is unknown",
			map[mizzen.Ref]Judgement{ref("a"): {}},
			Summary{Status: Unknown, Worst: ref("a"), Message: "apps/Deployment shop/a is Unknown", Counts: map[Status]int{Unknown: 1}},
		},
	}
	for _, c := range cases {
		for range 5 {
			if diff := cmp.Diff(c.want, Worst(maps.All(c.objects))); diff != "" {
				t.Errorf("%s (-want +got)\n%s", c.name, diff)
			}
		}
	}
	order := []Status{Healthy, Suspended, Progressing, Unknown, Missing, Degraded}
	for i, better := range order {
		for _, worse := range order[i+1:] {
			got := Worst(maps.All(map[mizzen.Ref]Judgement{ref("a"): {Status: worse}, ref("b"): {Status: better}}))
			if got.Status != worse {
				t.Errorf("the worst of %s and %s is %s", better, worse, got.Status)
			}
		}
	}
}

func TestJudgeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Fatal("not canceled")
	}
	j := newJudge(t, Rule{Kinds: []string{"example.com/Widget"}, Cases: []Case{
		{When: strings.Repeat("[1,2,3,4,5,6,7,8,9].all(a, ", 4) + "true" + strings.Repeat(")", 4), Status: Healthy},
	}})
	if got := j.Judge(ctx, object(t, widget)); got.Status != Unknown {
		t.Errorf("judged %v, want Unknown", got)
	}
}

func BenchmarkJudge(b *testing.B) {
	j := newJudge(b)
	for name, file := range map[string]string{
		"Deployment/kstatus": "deployment-progressing.yaml",
		"Certificate/Lua":    "certificate-good.yaml",
		"VirtualService/CEL": "virtualservice-good.yaml",
		"HTTPRoute/CEL":      "httproute-good.yaml",
		"ConfigMap/exists":   "configmap-good.yaml",
	} {
		obj := testdata(b, file)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				j.Judge(context.Background(), obj)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "judgements/s")
		})
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		newJudge(b)
	}
}
