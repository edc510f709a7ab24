package policy

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/policy/owners"
)

const codeowners = `
*                 @platform
/apps/web/        @web-team
/apps/payments/   @payments-team @payments-leads
/apps/orders/     @orders-team
`

func owned(t *testing.T, text string, d owners.Dialect) *owners.File {
	t.Helper()
	f, err := owners.Parse("CODEOWNERS", []byte(text), d)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func object(apiVersion, kind, namespace, name, file string, more map[string]any) mizzen.Object {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind,
		"metadata": map[string]any{"namespace": namespace, "name": name},
	}}
	for k, v := range more {
		u.Object[k] = v
	}
	return mizzen.Object{Unstructured: u, Origins: mizzen.Origins{Object: mizzen.Origin{File: file, Line: 1}}}
}

// shop is a mesh of three teams.
func shop() *Places {
	var objects []mizzen.Object
	for _, name := range []string{"web", "payments", "orders"} {
		file := "apps/" + name + "/all.yaml"
		objects = append(objects,
			object("apps/v1", "Deployment", name, name, file, nil),
			object("v1", "Service", name, name, file, nil))
	}
	objects = append(objects, object("networking.istio.io/v1", "Gateway", "edge", "public", "platform/gateway.yaml", map[string]any{
		"spec": map[string]any{"servers": []any{map[string]any{"hosts": []any{"web/shop.example.com"}}}},
	}))
	return NewPlaces(objects)
}

func effect(code mizzen.EffectCode, impact mizzen.Impact, subject string, callers ...string) mizzen.Effect {
	return mizzen.Effect{Code: code, Impact: impact, Subject: subject, Message: "it changes", Callers: callers}
}

func change(action mizzen.Action, ref, file string) mizzen.Change {
	r, ok := mizzen.ParseRef(ref)
	if !ok {
		panic("not a ref: " + ref)
	}
	return mizzen.Change{Ref: r, Action: action, Origin: mizzen.Origin{File: file, Line: 1}}
}

func app(name string) string { return "mizzen-system/" + name }

// say writes a verdict in few lines.
func say(v mizzen.Verdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", v.Decision)
	for _, r := range v.Reasons {
		fmt.Fprintf(&b, "%s %s", r.Level, r.Rule)
		for _, t := range r.Triggers {
			fmt.Fprintf(&b, " (%s)", strings.TrimSpace(t.Code+" "+t.Subject))
		}
		b.WriteString("\n")
	}
	for _, a := range v.Approvals {
		fmt.Fprintf(&b, "%d of %v %s for %v\n", a.Count, a.Owners, a.Section, a.For)
	}
	return b.String()
}

func judge(t *testing.T, policy string, in *Input) string {
	t.Helper()
	p, err := Parse(FileName, []byte(policy))
	if err != nil {
		t.Fatal(err)
	}
	if in.Where == nil {
		in.Where = shop().Where
	}
	return say(p.Judge(t.Context(), in))
}

func TestEveryGuardrail(t *testing.T) {
	inputs := map[string]*Input{
		"policy-unreadable":      {Unreadable: &mizzen.Finding{Code: mizzen.CodeNotJudged, Origin: mizzen.Origin{File: FileName, Line: 2}}},
		"plan-incomplete":        {Items: []Item{{Application: app("web"), Failed: "no such chart"}}},
		"not-covered":            {Items: []Item{{Application: app("web"), Findings: []mizzen.Finding{{Code: mizzen.CodeUnseen, Severity: mizzen.Warning}}}}},
		"error-findings":         {Items: []Item{{Application: app("web"), Findings: []mizzen.Finding{{Code: "MZ2001", Severity: mizzen.Fatal}}}}},
		"stateful-deleted":       {Items: []Item{{Changes: []mizzen.Change{change(mizzen.Delete, "PersistentVolumeClaim web/data", "a.yaml")}}}},
		"network-policy-deleted": {Items: []Item{{Changes: []mizzen.Change{change(mizzen.Delete, "networking.k8s.io/NetworkPolicy web/deny", "a.yaml")}}}},
		"guard-changed":          {Files: []string{".mizzen.yaml"}},
		"others-affected": {
			Files: []string{"apps/web/x"}, Owners: owned(t, codeowners, owners.GitHub),
			Effects: []mizzen.Effect{effect(mizzen.EffectTimeout, mizzen.ImpactWarning, "payments.payments:80")},
		},
	}
	for name, code := range map[string]mizzen.EffectCode{
		"mtls-weakened": mizzen.EffectMTLSWeaker, "tls-mismatch": mizzen.EffectTLSMismatch,
		"requests-fail": mizzen.EffectFails, "host-removed": mizzen.EffectHostRemoved,
		"authorization-widened": mizzen.EffectAuthorizationWider, "jwt-changed": mizzen.EffectJWT,
		"client-tls-changed": mizzen.EffectClientTLS, "injection-off": mizzen.EffectInjectionOff,
		"sidecar-bypassed": mizzen.EffectBypass,
		"host-exposed":     mizzen.EffectExposed, "certificate-changed": mizzen.EffectCertificate,
		"egress-opened": mizzen.EffectEgressOpened, "fault-injected": mizzen.EffectFault,
		"authorization-narrowed": mizzen.EffectAuthorizationNarrower,
		"rule-shadowed":          mizzen.EffectShadowed, "object-ignored": mizzen.EffectIgnored,
		"host-conflict": mizzen.EffectConflict, "telemetry-changed": mizzen.EffectTracing,
		"not-understood": mizzen.EffectUnknown,
	} {
		inputs[name] = &Input{Effects: []mizzen.Effect{effect(code, mizzen.ImpactWarning, "web/web")}}
	}
	// What is less protected is a change, too, and each can be switched off.
	inputs["tls-weakened"] = &Input{Effects: []mizzen.Effect{effect(mizzen.EffectCertificate, mizzen.ImpactDanger, "shop.example.com:443")}}
	beside := map[string]string{"tls-weakened": "warn certificate-changed (MT4003 shop.example.com:443)\n"}
	for _, g := range Guardrails() {
		in := inputs[g.Name]
		if in == nil {
			t.Errorf("guardrail %s has no case", g.Name)
			continue
		}
		in.Where = shop().Where
		v := Default().Judge(t.Context(), in)
		if v.Reasons[0].Rule != g.Name || v.Decision != g.Level.Decision() || len(v.Reasons) != 1+strings.Count(beside[g.Name], "\n") {
			t.Errorf("%s: %s", g.Name, say(v))
		}
		off := fmt.Sprintf("policy: {guardrails: {%s: off}}", g.Name)
		if got := judge(t, off, in); got != "allow\n"+beside[g.Name] {
			t.Errorf("%s off: %s", g.Name, got)
		}
	}
}

// letPass are the effects that no guardrail holds although they were a danger,
// and why. The reference says the same.
var letPass = map[mizzen.EffectCode]string{
	mizzen.EffectMTLSStronger:          "more is protected",
	mizzen.EffectAuthorizationNarrower: "to allow less is a decision; `authorization-narrowed` says it",
	mizzen.EffectInjectionOn:           "more is protected",
	mizzen.EffectBypassEnds:            "more is protected",
	mizzen.EffectAccessLog:             "no request fails by it; `telemetry-changed` says it",
	mizzen.EffectMetrics:               "no request fails by it; `telemetry-changed` says it",
	mizzen.EffectTracing:               "no request fails by it; `telemetry-changed` says it",
	mizzen.EffectVersion:               "what is known of it the other effects tell",
	mizzen.EffectFlag:                  "what is known of it the other effects tell",
}

// effectCodes are all that there are.
func effectCodes(t *testing.T) []mizzen.EffectCode {
	t.Helper()
	source, err := os.ReadFile("../../effectcode.go")
	if err != nil {
		t.Fatal(err)
	}
	var all []mizzen.EffectCode
	for _, m := range regexp.MustCompile(`EffectCode = "(MT\d{4})"`).FindAllStringSubmatch(string(source), -1) {
		all = append(all, mizzen.EffectCode(m[1]))
	}
	return all
}

// No danger passes: whatever code tells it, somebody has to agree at least.
func TestEveryDangerIsHeld(t *testing.T) {
	codes := effectCodes(t)
	if len(codes) < 40 {
		t.Fatalf("only %v", codes)
	}
	for _, code := range codes {
		got := judge(t, "", &Input{Effects: []mizzen.Effect{effect(code, mizzen.ImpactDanger, "web/web")}})
		if passes := strings.HasPrefix(got, "allow\n"); passes != (letPass[code] != "") {
			t.Errorf("%s is let pass: %v, and the reason for it is %q\n%s", code, passes, letPass[code], got)
		}
	}
}

// Requests that are no longer served are held, whatever code tells of them: by a
// host that the gateway gave up, one that is no longer known, one outside of the
// mesh, and by a failure that is injected.
func TestRequestsFailByAnyCode(t *testing.T) {
	for _, code := range []mizzen.EffectCode{
		mizzen.EffectFails, mizzen.EffectWithdrawn, mizzen.EffectEgressClosed, mizzen.EffectHostAdded, mizzen.EffectHostRemoved, mizzen.EffectFault,
	} {
		got := judge(t, "", &Input{Effects: []mizzen.Effect{effect(code, mizzen.ImpactDanger, "web.web:80", "orders/orders")}})
		if want := "needsApproval\napproval requests-fail (" + string(code) + " web.web:80)\n"; !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", code, got)
		}
	}
	// One that is forgotten, and reached all the same, only warns.
	want := "allow\nwarn host-removed (MT1006 web.web:80)\n"
	if got := judge(t, "", &Input{Effects: []mizzen.Effect{effect(mizzen.EffectHostRemoved, mizzen.ImpactWarning, "web.web:80")}}); got != want {
		t.Error(got)
	}
}

func TestNothingToSay(t *testing.T) {
	in := &Input{
		Owners: owned(t, codeowners, owners.GitHub), Files: []string{"apps/web/all.yaml"},
		Items: []Item{{Application: app("web"), Changes: []mizzen.Change{
			change(mizzen.Update, "apps/Deployment web/web", "apps/web/all.yaml"),
			change(mizzen.Keep, "PersistentVolumeClaim web/data", "apps/web/all.yaml"),
			change(mizzen.Delete, "ConfigMap web/old", "apps/web/all.yaml"),
		}, Findings: []mizzen.Finding{{Code: "MZ3001", Severity: mizzen.Warning}}}},
		Effects: []mizzen.Effect{
			effect(mizzen.EffectWeights, mizzen.ImpactNotice, "payments.payments:80", "web/web"),
			effect(mizzen.EffectMTLSStronger, mizzen.ImpactInfo, "web/web"),
		},
	}
	if got := judge(t, "", in); got != "allow\n" {
		t.Error(got)
	}
	want := []string{"@payments-leads", "@payments-team", "@web-team"}
	if diff := cmp.Diff(want, in.Effects[0].Owners); diff != "" {
		t.Errorf("owners of the effect:\n%s", diff)
	}
}

// The owners of what is affected are asked, although the file that changes is
// somebody else's.
func TestAffectedOwnersAreAsked(t *testing.T) {
	e := effect(mizzen.EffectFails, mizzen.ImpactDanger, "payments.payments.svc.cluster.local:8080", "web/web", "orders/orders")
	e.Origin = mizzen.Origin{File: "platform/mesh.yaml", Line: 7}
	in := &Input{Owners: owned(t, codeowners, owners.GitHub), Files: []string{"platform/mesh.yaml"}, Effects: []mizzen.Effect{e}}
	want := `needsApproval
approval others-affected (MT1003 payments.payments.svc.cluster.local:8080)
approval requests-fail (MT1003 payments.payments.svc.cluster.local:8080)
1 of [@orders-team]  for [apps/orders/all.yaml]
1 of [@payments-leads @payments-team]  for [apps/payments/all.yaml]
1 of [@web-team]  for [apps/web/all.yaml]
`
	if diff := cmp.Diff(want, judge(t, "", in)); diff != "" {
		t.Error(diff)
	}
}

func TestGitLabApprovals(t *testing.T) {
	text := "[Teams][2] @payments-team @a\n/apps/payments/\n[TEAMS] @web-team\n/apps/web/\n^[Readers]\n* @readers\n"
	in := &Input{Owners: owned(t, text, owners.GitLab), Effects: []mizzen.Effect{
		effect(mizzen.EffectExposed, mizzen.ImpactWarning, "shop.example.com"),
		effect(mizzen.EffectAuthorizationWider, mizzen.ImpactDanger, "payments/payments", "*"),
	}}
	// Nobody but readers owns the gateway: they are asked rather than nobody.
	want := `needsApproval
approval authorization-widened (MT3004 payments/payments)
approval host-exposed (MT4001 shop.example.com)
1 of [@readers] Readers for [platform/gateway.yaml]
2 of [@a @payments-team] Teams for [apps/payments/all.yaml]
`
	if diff := cmp.Diff(want, judge(t, "", in)); diff != "" {
		t.Error(diff)
	}
}

func TestWithoutOwners(t *testing.T) {
	in := &Input{Effects: []mizzen.Effect{effect(mizzen.EffectFails, mizzen.ImpactDanger, "web/web")}}
	want := "needsApproval\napproval requests-fail (MT1003 web/web)\n1 of []  for [web/web]\n"
	if diff := cmp.Diff(want, judge(t, "", in)); diff != "" {
		t.Error(diff)
	}
}

// Anybody may agree to what nobody owns, and an owner of something else is
// anybody.
func TestOwnersStandInForNobody(t *testing.T) {
	in := &Input{Owners: owned(t, "/apps/web/ @web-team\n", owners.GitHub), Effects: []mizzen.Effect{
		effect(mizzen.EffectFails, mizzen.ImpactDanger, "web/web"),
		effect(mizzen.EffectFails, mizzen.ImpactDanger, "orders/orders"),
	}}
	want := "needsApproval\napproval requests-fail (MT1003 web/web) (MT1003 orders/orders)\n1 of [@web-team]  for [apps/web/all.yaml]\n"
	if diff := cmp.Diff(want, judge(t, "", in)); diff != "" {
		t.Error(diff)
	}
}

const scoped = `
policy:
  guardrails:
    mtls-weakened: approval
    requests-fail: warn
  scopes:
    - name: dev
      namespaces: ["web", "dev-*"]
      guardrails: {mtls-weakened: off, requests-fail: off, stateful-deleted: off}
    - name: prod
      applications: ["mizzen-system/pay*"]
      guardrails: {mtls-weakened: deny}
`

func TestScopes(t *testing.T) {
	payments := change(mizzen.Update, "security.istio.io/PeerAuthentication payments/default", "apps/payments/all.yaml")
	caused := func(e mizzen.Effect) mizzen.Effect {
		e.Cause = payments.Ref
		return e
	}
	items := []Item{{Application: app("payments"), Changes: []mizzen.Change{payments}}}
	for _, c := range []struct {
		name   string
		effect mizzen.Effect
		want   string
	}{
		{"dev", effect(mizzen.EffectFails, mizzen.ImpactDanger, "web.web:80", "web/web"), "allow\n"},
		{"a caller elsewhere", effect(mizzen.EffectFails, mizzen.ImpactDanger, "web.web:80", "orders/orders"), "allow\nwarn requests-fail (MT1003 web.web:80)\n"},
		{"every caller", effect(mizzen.EffectFails, mizzen.ImpactDanger, "web.web:80", "*"), "allow\nwarn requests-fail (MT1003 web.web:80)\n"},
		{"by application", caused(effect(mizzen.EffectMTLSWeaker, mizzen.ImpactDanger, "payments/payments")), "deny\ndeny mtls-weakened (MT3001 payments/payments)\n"},
		// Which Application does it is not known: it may be the one of prod.
		{"unknown application", effect(mizzen.EffectMTLSWeaker, mizzen.ImpactDanger, "web/web"), "deny\ndeny mtls-weakened (MT3001 web/web)\n"},
		{"unknown place", effect(mizzen.EffectMTLSWeaker, mizzen.ImpactDanger, "somewhere"), "deny\ndeny mtls-weakened (MT3001 somewhere)\n"},
	} {
		got := judge(t, scoped, &Input{Items: items, Effects: []mizzen.Effect{c.effect}})
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	for namespace, want := range map[string]string{"dev-1": "allow\n", "prod": "needsApproval\n"} {
		in := &Input{Items: []Item{{Application: app("x"), Changes: []mizzen.Change{change(mizzen.Delete, "Namespace "+namespace, "a.yaml")}}}}
		if got := judge(t, scoped, in); !strings.HasPrefix(got, want) {
			t.Errorf("Namespace %s: %s", namespace, got)
		}
	}
}

func TestStatefulKinds(t *testing.T) {
	for ref, want := range map[string]bool{
		"Namespace shop": true, "apps/StatefulSet a/b": true, "postgresql.cnpg.io/Cluster a/b": true,
		"kubedb.com/Redis a/b": true, "example.com/Ledger a/b": true, "rds.services.k8s.aws/DBInstance a/b": true,
		"apps/Deployment a/b": false, "ConfigMap a/b": false, "example.com/Other a/b": false,
	} {
		for _, action := range []mizzen.Action{mizzen.Delete, mizzen.Replace, mizzen.Update} {
			in := &Input{Items: []Item{{Application: app("x"), Changes: []mizzen.Change{change(action, ref, "a.yaml")}}}}
			got := strings.Contains(judge(t, "policy: {stateful: [example.com/Ledger]}", in), "stateful-deleted")
			if got != (want && action != mizzen.Update) {
				t.Errorf("%s %s: %v", action, ref, got)
			}
		}
	}
}

// The same input gives the same verdict, and a reader gets no endless list.
func TestBoundedAndStable(t *testing.T) {
	var effects []mizzen.Effect
	for i := range 3 * mizzen.MaxTriggers {
		effects = append(effects, effect(mizzen.EffectFails, mizzen.ImpactDanger, fmt.Sprintf("host-%03d.x:80", i)))
	}
	in := &Input{Effects: effects}
	v := Default().Judge(t.Context(), in)
	if r := v.Reasons[0]; len(r.Triggers) != mizzen.MaxTriggers || r.More != 2*mizzen.MaxTriggers || len(v.Approvals[0].For) != mizzen.MaxTriggers {
		t.Errorf("%d triggers, %d more, for %d", len(r.Triggers), r.More, len(v.Approvals[0].For))
	}
	for range 5 {
		if diff := cmp.Diff(v, Default().Judge(t.Context(), in)); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestPlaces(t *testing.T) {
	overlay := object("apps/v1", "Deployment", "dev", "web", "base/web.yaml", nil)
	overlay.Origins.Object.Via = []mizzen.Origin{{File: "base/web.yaml"}, {File: "overlays/dev/patch.yaml"}}
	places := NewPlaces([]mizzen.Object{
		overlay,
		object("v1", "Service", "shop", "reviews", "reviews.yaml", nil),
		object("networking.istio.io/v1", "ServiceEntry", "shop", "ext", "ext.yaml", map[string]any{"spec": map[string]any{"hosts": []any{"api.example.com"}}}),
		object("networking.istio.io/v1", "VirtualService", "shop", "vs", "vs.yaml", map[string]any{"spec": map[string]any{"hosts": []any{"reviews", int64(7)}}}),
	}, []mizzen.Object{object("v1", "Service", "shop", "reviews", "moved.yaml", nil)})
	for name, want := range map[string][]string{
		"dev/web":                             {"overlays/dev/patch.yaml"},
		"reviews.shop:80":                     {"reviews.yaml", "vs.yaml", "moved.yaml"},
		"reviews.shop.svc.cluster.local:9080": {"reviews.yaml", "vs.yaml", "moved.yaml"},
		"http://reviews.shop:80/path":         {"reviews.yaml", "vs.yaml", "moved.yaml"},
		"api.example.com:443":                 {"ext.yaml"},
		"dev/web, api.example.com":            {"overlays/dev/patch.yaml", "ext.yaml"},
		"nobody":                              nil,
		"":                                    nil,
	} {
		var got []string
		for _, p := range places.Where(name) {
			got = append(got, nearest(p.Origin))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}
