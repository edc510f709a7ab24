package report

import (
	"bytes"
	"strings"
	"testing"

	"mizzen.dev/mizzen"
)

func sampleVerdict() *mizzen.Verdict {
	v := &mizzen.Verdict{
		Policy: ".mizzen.yaml",
		Reasons: []mizzen.Reason{{
			Rule: "requests-fail", Level: mizzen.LevelApproval, Message: "requests that were served are refused",
			Remedy: "keep the route until nobody calls it",
			Triggers: []mizzen.Trigger{
				{Code: "MT1003", Subject: "reviews.shop:80", Message: "subset v9 does not exist", Origin: mizzen.Origin{File: "apps/reviews/route.yaml", Line: 12}},
				{Code: "MT1003", Subject: "a|b`c @all " + hostile, Message: "<img src=x>"},
			},
			More: 3, Owners: []string{"@reviews-team", "@web-team"},
		}, {
			Rule: "rule-shadowed", Level: mizzen.LevelWarn, Message: "a rule can never match",
			Triggers: []mizzen.Trigger{{Code: "MT1007", Subject: "web.shop:80"}},
		}},
		Approvals: []mizzen.Approval{
			{Owners: []string{"@reviews-team"}, Count: 2, Section: "Teams *and* @more", For: []string{"a.yaml", "b.yaml", "c.yaml", "d.yaml", "e.yaml", "f.yaml"}},
			{Count: 1, For: []string{"x"}},
		},
	}
	v.Decide()
	return v
}

func TestVerdictSummary(t *testing.T) {
	for _, c := range []struct {
		levels []mizzen.Level
		want   string
	}{
		{nil, "allowed"},
		{[]mizzen.Level{mizzen.LevelWarn, mizzen.LevelWarn}, "allowed; 2 warnings"},
		{[]mizzen.Level{mizzen.LevelApproval, mizzen.LevelWarn}, "needs approval by 1 rule; 1 warning"},
		{[]mizzen.Level{mizzen.LevelDeny, mizzen.LevelDeny, mizzen.LevelApproval}, "denied by 2 rules"},
	} {
		v := &mizzen.Verdict{Approvals: []mizzen.Approval{{Count: 1}}}
		for _, l := range c.levels {
			v.Reasons = append(v.Reasons, mizzen.Reason{Rule: "r", Level: l})
		}
		v.Decide()
		if got := VerdictLine(v); got != c.want {
			t.Errorf("%v: %s, want %s", c.levels, got, c.want)
		}
		if (len(v.Approvals) > 0) != (v.Decision == mizzen.NeedsApproval) {
			t.Errorf("%v: %s with %d approvals", c.levels, v.Decision, len(v.Approvals))
		}
	}
}

// A verdict of thousands of reasons still fits into a comment, and says what
// does not.
func TestVerdictMarkdownIsBounded(t *testing.T) {
	v := sampleVerdict()
	for range 2000 {
		v.Reasons = append(v.Reasons, v.Reasons[0])
	}
	var b bytes.Buffer
	if err := VerdictMarkdown(&b, v); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 2*maxComment || !strings.Contains(b.String(), "This is not all") {
		t.Errorf("%d bytes", b.Len())
	}
}
