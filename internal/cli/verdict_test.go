package cli

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
)

// Effects that are not known are not none: a plan has none then, and a warning,
// which stops nothing. What the review says of the objects themselves the plan
// says, too.
func TestTake(t *testing.T) {
	verdict := &mizzen.Verdict{Decision: mizzen.Deny}
	review := func(unknown string) *mizzen.Review {
		return &mizzen.Review{
			Effects: []mizzen.Effect{}, EffectsUnknown: unknown, Verdict: verdict,
			Findings: []mizzen.Finding{
				{Code: mizzen.CodeNotJudged, Severity: mizzen.Fatal, Message: "m"},
				{Code: mizzen.CodeAnotherIstio, Severity: mizzen.Info, Message: "i"},
				{Code: mizzen.CodeUnknownField, Severity: mizzen.Fatal, Message: "f"},
			},
		}
	}
	for unknown, known := range map[string]bool{"": true, "out of order": false} {
		p := &mizzen.Plan{}
		take(p, review(unknown))
		if (p.Effects != nil) != known || p.Verdict != verdict {
			t.Errorf("%q: effects %v, verdict %v", unknown, p.Effects, p.Verdict)
		}
		if len(p.Findings) != 2 || mizzen.Worst(p.Findings) != mizzen.Warning {
			t.Errorf("%q: findings %v", unknown, p.Findings)
		}
		if err := planAnswer(p, "change"); err != nil {
			t.Errorf("%q: %v", unknown, err)
		}
		if err := planAnswer(p, "deny"); err == nil {
			t.Errorf("%q: what policy denies is let pass by --fail-on deny", unknown)
		}
	}
}

// An Application has a gate that holds by its spec, or by the default of a
// controller, which its status tells of.
func TestGuarded(t *testing.T) {
	review := func(gate v1alpha1.Gate) *v1alpha1.ReviewStatus {
		return &v1alpha1.ReviewStatus{Gate: gate, Default: true}
	}
	cases := []struct {
		name   string
		gate   v1alpha1.Gate
		review *v1alpha1.ReviewStatus
		reason string
		want   bool
	}{
		{"nothing is known", "", nil, "", false},
		{"the spec", v1alpha1.GatePolicy, nil, "", true},
		{"the default", "", review(v1alpha1.GatePolicy), "", true},
		{"the default, which reports", "", review(v1alpha1.GateReport), "", false},
		{"the default, and it holds", "", nil, v1alpha1.ReasonDenied, true},
		{"not any more", v1alpha1.GateReport, review(v1alpha1.GatePolicy), v1alpha1.ReasonAwaitingApproval, false},
		{"left", v1alpha1.GateNone, review(v1alpha1.GatePolicy), "", false},
	}
	for _, c := range cases {
		app := &v1alpha1.Application{}
		app.Spec.Sync.Gate, app.Status.Review = c.gate, c.review
		app.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSynced, Reason: c.reason}}
		if got := guarded(app); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
