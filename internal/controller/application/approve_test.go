package application

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	admission "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/crds"
	"mizzen.dev/mizzen/api/v1alpha1"
)

func by(user string, owners ...string) v1alpha1.Approval {
	return v1alpha1.Approval{Spec: v1alpha1.ApprovalSpec{User: user, Owners: owners}}
}

func TestEnough(t *testing.T) {
	web, both := mizzen.Approval{Owners: []string{"@web"}, Count: 1}, mizzen.Approval{Owners: []string{"@a", "@b"}, Count: 2}
	anybody := mizzen.Approval{Count: 1}
	cases := []struct {
		name     string
		required []mizzen.Approval
		given    []v1alpha1.Approval
		want     bool
	}{
		{"nobody", []mizzen.Approval{anybody}, nil, false},
		{"nothing is asked, and nobody agrees", nil, nil, false},
		{"anybody", []mizzen.Approval{anybody}, []v1alpha1.Approval{by("x")}, true},
		{"an owner", []mizzen.Approval{web}, []v1alpha1.Approval{by("x", "@web")}, true},
		{"no owner", []mizzen.Approval{web}, []v1alpha1.Approval{by("x"), by("y", "@other")}, false},
		{"a user called as an owner", []mizzen.Approval{web}, []v1alpha1.Approval{by("@web"), by("web")}, false},
		{"one of two", []mizzen.Approval{both}, []v1alpha1.Approval{by("x", "@a")}, false},
		{"one user twice", []mizzen.Approval{both}, []v1alpha1.Approval{by("x", "@a"), by("x", "@b")}, false},
		{"two users of one owner", []mizzen.Approval{both}, []v1alpha1.Approval{by("x", "@a"), by("y", "@a")}, true},
		{"one group of two", []mizzen.Approval{web, both}, []v1alpha1.Approval{by("x", "@web")}, false},
		{"both groups", []mizzen.Approval{web, both}, []v1alpha1.Approval{by("x", "@web", "@a"), by("y", "@b")}, true},
	}
	for _, c := range cases {
		if got := enough(c.required, c.given); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestEnforces(t *testing.T) {
	wanted, err := wantedPolicy()
	if err != nil {
		t.Fatal(err)
	}
	binding := func() *admission.ValidatingAdmissionPolicyBinding {
		return &admission.ValidatingAdmissionPolicyBinding{Spec: admission.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: crds.ApprovalPolicy, ValidationActions: []admission.ValidationAction{admission.Deny},
		}}
	}
	if !enforces(wanted.DeepCopy(), binding(), wanted) {
		t.Error("our own policy does not enforce itself")
	}
	ignore := admission.Ignore
	weaker := map[string]func(*admission.ValidatingAdmissionPolicy, *admission.ValidatingAdmissionPolicyBinding){
		"ignores failures": func(p *admission.ValidatingAdmissionPolicy, _ *admission.ValidatingAdmissionPolicyBinding) {
			p.Spec.FailurePolicy = &ignore
		},
		"lacks a check": func(p *admission.ValidatingAdmissionPolicy, _ *admission.ValidatingAdmissionPolicyBinding) {
			p.Spec.Validations = p.Spec.Validations[1:]
		},
		"has a condition": func(p *admission.ValidatingAdmissionPolicy, _ *admission.ValidatingAdmissionPolicyBinding) {
			p.Spec.MatchConditions = []admission.MatchCondition{{Name: "n", Expression: "false"}}
		},
		"leaves namespaces out": func(p *admission.ValidatingAdmissionPolicy, _ *admission.ValidatingAdmissionPolicyBinding) {
			p.Spec.MatchConstraints.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
		},
		"is about something else": func(p *admission.ValidatingAdmissionPolicy, _ *admission.ValidatingAdmissionPolicyBinding) {
			p.Spec.MatchConstraints.ResourceRules[0].Resources = []string{"applications"}
		},
		"only warns": func(_ *admission.ValidatingAdmissionPolicy, b *admission.ValidatingAdmissionPolicyBinding) {
			b.Spec.ValidationActions = []admission.ValidationAction{admission.Warn}
		},
		"is bound to a part": func(_ *admission.ValidatingAdmissionPolicy, b *admission.ValidatingAdmissionPolicyBinding) {
			b.Spec.MatchResources = &admission.MatchResources{}
		},
		"is not bound": func(_ *admission.ValidatingAdmissionPolicy, b *admission.ValidatingAdmissionPolicyBinding) {
			b.Spec.PolicyName = "another"
		},
	}
	for name, weaken := range weaker {
		p, b := wanted.DeepCopy(), binding()
		weaken(p, b)
		if enforces(p, b, wanted) {
			t.Errorf("a policy that %s counts", name)
		}
	}
}

// TestSummaryIsSmall: what the status tells of the worst review is bounded.
func TestSummaryIsSmall(t *testing.T) {
	long := strings.Repeat("é", 4000)
	r := &mizzen.Review{Verdict: &mizzen.Verdict{Decision: mizzen.NeedsApproval}}
	var given []v1alpha1.Approval
	for i := range 100 {
		owner := fmt.Sprint(i, long)
		r.Verdict.Reasons = append(r.Verdict.Reasons, mizzen.Reason{Rule: "r", Level: mizzen.LevelApproval, Message: long})
		r.Verdict.Approvals = append(r.Verdict.Approvals, mizzen.Approval{Owners: slices.Repeat([]string{owner}, 100), Count: 200})
		given = append(given, by(owner, owner))
		r.Effects = append(r.Effects, mizzen.Effect{Impact: mizzen.Impacts[i%len(mizzen.Impacts)]})
	}
	s := summaryOf(r, "sha256:"+strings.Repeat("0", 64), given)
	if s.Effects != (v1alpha1.EffectCounts{Danger: 25, Warning: 25, Notice: 25, Info: 25}) {
		t.Errorf("effects %+v", s.Effects)
	}
	if b, err := json.Marshal(s); err != nil || len(b) > 4<<10 {
		t.Errorf("the summary has %d bytes, %v", len(b), err)
	}
	if text := awaitingText("web", r, nil); len(text) > maxMessage/2+maxMessage/4 || !strings.HasSuffix(text, "; run 'mizzen approve web'") {
		t.Errorf("no remedy in %.100q", text)
	}
}
