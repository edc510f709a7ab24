package application

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
	ignore, everywhere := admission.Ignore, admission.ClusterScope
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
		"takes parameters": func(p *admission.ValidatingAdmissionPolicy, _ *admission.ValidatingAdmissionPolicyBinding) {
			p.Spec.ParamKind = &admission.ParamKind{APIVersion: "v1", Kind: "ConfigMap"}
		},
		"is bound with parameters": func(_ *admission.ValidatingAdmissionPolicy, b *admission.ValidatingAdmissionPolicyBinding) {
			b.Spec.ParamRef = &admission.ParamRef{Name: "p"}
		},
		"is for objects without a namespace": func(p *admission.ValidatingAdmissionPolicy, _ *admission.ValidatingAdmissionPolicyBinding) {
			p.Spec.MatchConstraints.ResourceRules[0].Scope = &everywhere
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

// Approvals count from the last moment at which nobody knows who was verified.
func TestVerified(t *testing.T) {
	at := func(second int) metav1.Time { return metav1.NewTime(time.Unix(int64(second), 0)) }
	written := func(created, changed, status int) *admission.ValidatingAdmissionPolicy {
		c, s := at(changed), at(status)
		return &admission.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{
			CreationTimestamp: at(created),
			ManagedFields:     []metav1.ManagedFieldsEntry{{Time: &c}, {Time: &s, Subresource: "status"}},
		}}
	}
	since, known := changed(written(10, 10, 90), written(5, 60, 5))
	if !known || since.Unix() != 60 {
		t.Errorf("since %v, %v", since, known)
	}
	if _, known := changed(written(10, 10, 10), &admission.ValidatingAdmissionPolicyBinding{}); known {
		t.Error("who removed the record is believed")
	}
	approval := func(name string, created int, generation int64) v1alpha1.Approval {
		return v1alpha1.Approval{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: at(created), Generation: generation}}
	}
	counted, doubtful := verified([]v1alpha1.Approval{
		approval("later", 62, 1), approval("changed", 70, 2), approval("first", 61, 1), approval("same", 60, 1), approval("before", 59, 1),
	}, since)
	names := func(all []v1alpha1.Approval) (names []string) {
		for _, a := range all {
			names = append(names, a.Name)
		}
		return names
	}
	if diff := cmp.Diff([]string{"first", "later"}, names(counted)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	const want = "approval before, changed, same: it was made, or changed, while the API server did not verify by whom"
	if got := notVerifiedThen(doubtful).Error(); !strings.HasPrefix(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
