package report

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"mizzen.dev/mizzen"
)

// markdownHostile is what would be markup, a link or a mention in a comment.
const markdownHostile = "</details> | `x` @team #12 [a](https://evil.example) ![](x) **b** <img src=x> www.evil.example"

func sampleReview() *mizzen.Review {
	route := mizzen.Ref{Group: "networking.istio.io", Kind: "VirtualService", Namespace: "shop", Name: "reviews"}
	at := mizzen.Origin{File: "mesh/reviews.yaml", Line: 24}
	p := samplePlan()
	r := &mizzen.Review{
		Verdict: sampleVerdict(),
		Base:    mizzen.Commit{ID: oldCommit}, Head: mizzen.Commit{ID: newCommit}, Unchanged: 9,
		Effects: []mizzen.Effect{
			{
				Code: mizzen.EffectWeights, Impact: mizzen.ImpactNotice, Subject: "reviews.shop:80", Message: "the shares of the destinations change",
				Before: "v1 90 %, v2 10 %", After: "v1 50 %, v2 50 %", Callers: []string{"istio-ingress/istio-ingressgateway", "shop/web"},
				Owners: []string{"@shop"}, Cause: route, Origin: at,
			},
			{
				Code: mizzen.EffectFails, Impact: mizzen.ImpactDanger, Subject: "orders.shop:80", Message: "requests that were served get 503 " + hostile,
				Cluster: "east", Before: "v1", After: "", Callers: []string{"*"}, Cause: route, Origin: mizzen.Origin{File: "mesh/orders.yaml"},
				Witness: &mizzen.Witness{
					From: "shop/web", Method: "GET", URL: "http://orders.shop/", Headers: map[string]string{"b": "2", "a": "1"}, Before: "200 of v1", After: "503",
				},
			},
			{
				Code: mizzen.EffectAuthorizationWider, Impact: mizzen.ImpactDanger, Subject: "shop/orders", Message: "more may call it",
				Before: "GET /: nobody", After: "GET /: everyone", Cause: route, Origin: at,
				Witness: &mizzen.Witness{
					From: "outside", Method: "GET", URL: "http://shop/orders:8080/", Headers: map[string]string{"Authorization": "Bearer a token of me/somebody", "a": "1"},
					Claims: map[string]any{"iss": "me", "group": "dev"}, Address: "203.0.113.1", Before: "denied", After: "allowed",
				},
			},
			{Code: mizzen.EffectUnknown, Impact: mizzen.ImpactInfo, Subject: "*", Message: markdownHostile},
		},
		Findings: []mizzen.Finding{{Code: mizzen.CodeNotJudged, Severity: mizzen.Warning, Message: "cluster east: out of order"}},
		Items: []mizzen.ReviewItem{
			{
				Application: "mizzen-system/web", Kind: "Application.mizzen.dev", Path: "services/web", Action: mizzen.Update,
				Changes: p.Changes, Findings: p.Findings, Unchanged: 4,
			},
			{Application: "mizzen-system/api", Path: "services/api", Cluster: "east", Action: mizzen.Update, Failed: "services/api (api.yaml:3): no such field " + hostile},
			{Application: "old", Path: "old", Action: mizzen.Delete, Changes: []mizzen.Change{{Ref: route, Action: mizzen.Delete, Origin: at}}},
			{Application: "mended", Path: "mended", Action: mizzen.Update, FailedBefore: "x"},
			{Application: "new", Path: "new", Action: mizzen.Create},
			{Application: "worse", Path: "worse", Action: mizzen.Update, Failed: "x", FailedBefore: "x"},
		},
		Live:    &mizzen.ReviewLive{Server: "https://10.0.0.1:6443", Cluster: "east", Objects: 37},
		Omitted: []mizzen.Finding{{Code: mizzen.CodeElsewhere, Severity: mizzen.Info, Ref: route, Origin: at, Message: "its source https://git.example/x is another repository"}},
	}
	r.Finish()
	return r
}

func TestNothingChanges(t *testing.T) {
	r := &mizzen.Review{Base: mizzen.Commit{ID: oldCommit}, Head: mizzen.Commit{ID: newCommit}, Unchanged: 3}
	r.Finish()
	var text, comment bytes.Buffer
	if err := ReviewText(&text, r, Style{}); err != nil {
		t.Fatal(err)
	}
	if err := ReviewMarkdown(&comment, r); err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{text.String(), comment.String()} {
		if !strings.Contains(got, "nothing changes (3 applications unchanged)") || strings.Contains(got, "details") {
			t.Error(got)
		}
	}
}

// What nobody can look into is not taken for nothing.
func TestUnseenIsNotNothing(t *testing.T) {
	r := &mizzen.Review{
		Items: []mizzen.ReviewItem{{
			Application: "web", Path: "web", Failed: "no", FailedBefore: "no",
			Findings: []mizzen.Finding{{Code: mizzen.CodeUnseen, Severity: mizzen.Warning, Message: "m"}},
		}},
		Verdict: &mizzen.Verdict{Decision: mizzen.Deny},
	}
	r.Finish()
	if got, want := reviewSummary(r), "1 finding; what 1 application does is not known; denied (0 applications unchanged)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A comment that is too long is refused by code hosts as a whole.
func TestCommentIsBounded(t *testing.T) {
	r := sampleReview()
	for i := range 3000 {
		item := r.Items[2]
		item.Application = fmt.Sprintf("app-%d", i)
		r.Items = append(r.Items, item)
		r.Effects = append(r.Effects, mizzen.Effect{
			Code: mizzen.EffectFails, Impact: mizzen.ImpactDanger, Subject: fmt.Sprintf("host-%d %s", i, markdownHostile), Message: strings.Repeat("ä", 10),
		})
		r.Findings = append(r.Findings, mizzen.Finding{Code: mizzen.CodeUnknownField, Severity: mizzen.Warning, Message: fmt.Sprintf("finding %d", i)})
	}
	r.Finish()
	var b bytes.Buffer
	if err := ReviewMarkdown(&b, r); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if n := utf8.RuneCountInString(text); n > maxComment || n < maxComment/2 {
		t.Errorf("%d characters", n)
	}
	if strings.Count(text, "<details") != strings.Count(text, "</details>") {
		t.Error("what is folded is not closed")
	}
	if !strings.Contains(text, "**This is not all**") || !strings.HasPrefix(text, CommentMarker) {
		t.Error("it does not say that something is cut")
	}
}

// What a repository says stays text: no markup, link, mention or reference.
func TestCommentIsNotMarkup(t *testing.T) {
	got := prose(markdownHostile)
	for _, bad := range []string{"</details>", "<img", "@team", "#12", "https://", "www.", " [a]", "![", " **b", " `x`", " | "} {
		if strings.Contains(got, bad) {
			t.Errorf("%q stands in %s", bad, got)
		}
	}
	got = markup(markdownHostile)
	for _, bad := range []string{"</details>", "<img", "@team", "#12"} {
		if strings.Contains(got, bad) {
			t.Errorf("%q stands in %s", bad, got)
		}
	}
	if got := span("a`b|c\nd"); got != "`a'b\\|c d`" {
		t.Error(got)
	}
}
