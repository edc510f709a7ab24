package review_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/engine/review"
)

const claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n"

func reasons(r *mizzen.Review) []string {
	var all []string
	for _, reason := range r.Verdict.Reasons {
		all = append(all, string(reason.Level)+" "+reason.Rule)
	}
	return all
}

func TestVerdict(t *testing.T) {
	b := newBench(t)
	guarded := edited(shop, map[string]string{"db/claim.yaml": claim, "CODEOWNERS": "/db/ @storage\n"})
	r := b.review(t, guarded, guarded)
	if r.Verdict == nil || r.Verdict.Decision != mizzen.Allow || len(r.Verdict.Reasons) > 0 {
		t.Errorf("nothing changes: %+v", r.Verdict)
	}
	r = b.review(t, guarded, edited(guarded, map[string]string{"db/claim.yaml": ""}))
	if r.Verdict.Decision != mizzen.NeedsApproval || !slices.Contains(reasons(r), "approval stateful-deleted") {
		t.Errorf("%+v", r.Verdict)
	}
	if len(r.Verdict.Approvals) != 1 || !slices.Equal(r.Verdict.Approvals[0].Owners, []string{"@storage"}) {
		t.Errorf("approvals %+v", r.Verdict.Approvals)
	}
	r = b.review(t, guarded, edited(guarded, map[string]string{"api/cm.yaml": "kind: [\n"}))
	if r.Verdict.Decision != mizzen.Deny {
		t.Errorf("it cannot be rendered: %+v", r.Verdict)
	}
}

// A change is judged by the policy that was there before.
func TestPolicyOfTheBase(t *testing.T) {
	b := newBench(t)
	strict := "policy:\n  guardrails:\n    stateful-deleted: deny\n"
	guarded := edited(shop, map[string]string{"db/claim.yaml": claim, ".mizzen.yaml": strict})
	r := b.review(t, guarded, edited(guarded, map[string]string{"db/claim.yaml": "", ".mizzen.yaml": strings.ReplaceAll(strict, "deny", "\"off\"")}))
	if r.Verdict.Decision != mizzen.Deny {
		t.Errorf("it loosens its own guard: %+v", r.Verdict)
	}
	if diff := cmp.Diff([]string{"deny stateful-deleted", "approval guard-changed"}, reasons(r)); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	// One that cannot be read any more is not merged, and one that could not be
	// read before can be mended.
	wrong := edited(guarded, map[string]string{".mizzen.yaml": "polcy: {}\n"})
	r = b.review(t, guarded, wrong)
	if !r.Fatal() || r.Findings[0].Origin.String() != ".mizzen.yaml:1" {
		t.Errorf("%+v", r.Findings)
	}
	r = b.review(t, wrong, guarded)
	if r.Fatal() || len(r.Findings) != 1 || r.Verdict.Decision == mizzen.Deny {
		t.Errorf("%+v, %+v", r.Findings, r.Verdict)
	}
}

// Effects without a judge of traffic are none, but a judge that fails is no
// reason to let a change pass.
func TestUnknownEffectsAreDenied(t *testing.T) {
	b, p := newBench(t), &planner{}
	b.Traffic = p
	change := map[string]string{"web/cm.yaml": configMap("web", "2")}
	if r := b.review(t, shop, edited(shop, change)); r.Verdict.Decision != mizzen.Allow {
		t.Errorf("%+v", r.Verdict)
	}
	p.err = errOutOfOrder
	if r := b.review(t, shop, edited(shop, change)); r.Verdict.Decision != mizzen.Deny {
		t.Errorf("%+v", r.Verdict)
	}
}

// A change does not hide behind many files that it touches its own guard.
func TestManyFilesDoNotHideTheGuard(t *testing.T) {
	b := newBench(t)
	changes := map[string]string{".mizzen.yaml": "policy: {}\n", "CODEOWNERS": "* @nobody\n"}
	for i := range 10_100 {
		changes[fmt.Sprintf(".a/%d", i)] = "a"
	}
	r := b.review(t, shop, edited(shop, changes))
	if !slices.Contains(reasons(r), "approval guard-changed") {
		t.Fatalf("%q", reasons(r))
	}
	for _, reason := range r.Verdict.Reasons {
		if reason.Rule == "guard-changed" && len(reason.Triggers) != 2 {
			t.Errorf("%+v", reason.Triggers)
		}
	}
}

// Nor does it hide from a rule about files: the rule cannot tell, and says so. A
// review of one Application counts the files of that one alone.
func TestManyFilesDoNotPassARule(t *testing.T) {
	b := newBench(t)
	guarded := edited(shop, map[string]string{
		".mizzen.yaml": "policy:\n  rules:\n  - name: secrets\n    level: approval\n    message: a secret changes\n    expression: files.filter(f, f.startsWith(\"zz/\"))\n",
		"web/cm.yaml":  data("web", "1"),
	})
	changes := map[string]string{}
	for i := range 10_100 {
		changes[fmt.Sprintf(".a/%d", i)] = "a"
	}
	r := b.review(t, guarded, edited(guarded, changes))
	if diff := cmp.Diff([]string{"approval secrets"}, reasons(r)); diff != "" || !strings.Contains(r.Verdict.Reasons[0].Message, "more files change than the 10") {
		t.Errorf("reasons (-want +got):\n%s%+v", diff, r.Verdict.Reasons)
	}
	changes["web/cm.yaml"] = data("web", "2")
	one, err := b.Single(t.Context(), review.Single{Application: singleApp("web"), Base: guarded, Head: edited(guarded, changes)})
	if err != nil || one.Verdict.Decision != mizzen.Allow {
		t.Errorf("%+v, %v", one.Verdict, err)
	}
}
