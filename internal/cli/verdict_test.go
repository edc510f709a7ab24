package cli

import (
	"testing"

	"mizzen.dev/mizzen"
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
