package review_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/engine/review"
	"mizzen.dev/mizzen/internal/render/memtree"
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
}

// broken cannot be read, by its third line.
const broken = "policy:\n  guardrails: {stateful-deleted: deny}\n  guardrail: {}\n"

// A policy that breaks takes no rule away: nothing passes until it is mended,
// and then what it says counts, and its owners agree.
func TestPolicyThatCannotBeRead(t *testing.T) {
	b := newBench(t)
	mended := "policy:\n  guardrails: {stateful-deleted: deny, guard-changed: \"off\"}\n"
	good := edited(shop, map[string]string{"db/claim.yaml": claim, ".mizzen.yaml": mended, "CODEOWNERS": ".mizzen.yaml @security\n"})
	wrong := edited(good, map[string]string{".mizzen.yaml": broken})
	web := map[string]string{"web/cm.yaml": configMap("web", "2")}
	mend := map[string]string{".mizzen.yaml": mended}
	for _, c := range []struct {
		name      string
		before    memtree.Tree
		change    map[string]string
		want      []string
		single    bool
		approvers string
		fatal     bool
	}{
		{name: "it breaks", before: good, change: map[string]string{".mizzen.yaml": broken}, want: []string{"deny policy-unreadable"}, fatal: true},
		{name: "it is broken", before: wrong, change: web, want: []string{"deny policy-unreadable"}},
		{name: "it breaks otherwise", before: wrong, change: map[string]string{".mizzen.yaml": "polcy: {}\n"}, want: []string{"deny policy-unreadable", "approval guard-changed"}},
		{name: "it is mended", before: wrong, change: mend, want: []string{"approval guard-changed"}, approvers: "@security"},
		{name: "it goes", before: wrong, change: map[string]string{".mizzen.yaml": ""}, want: []string{"approval guard-changed"}, approvers: "@security"},
		{
			name: "it is mended, and denies", before: wrong, change: map[string]string{".mizzen.yaml": mended, "db/claim.yaml": ""},
			want: []string{"deny stateful-deleted", "approval guard-changed"},
		},
		{name: "a gate, and it breaks", single: true, before: good, change: map[string]string{".mizzen.yaml": broken, "web/cm.yaml": web["web/cm.yaml"]}, want: []string{"deny policy-unreadable"}, fatal: true},
		{name: "a gate, and it is broken", single: true, before: wrong, change: web, want: []string{"deny policy-unreadable"}},
		{name: "a gate, and it is mended", single: true, before: wrong, change: mend, want: []string{"approval guard-changed"}, approvers: "@security"},
	} {
		t.Run(c.name, func(t *testing.T) {
			after := edited(c.before, c.change)
			var r *mizzen.Review
			if c.single {
				var err error
				if r, err = b.Single(t.Context(), review.Single{Application: singleApp("web"), Base: c.before, Head: after}); err != nil {
					t.Fatal(err)
				}
			} else {
				r = b.review(t, c.before, after)
			}
			if diff := cmp.Diff(c.want, reasons(r)); diff != "" || r.Fatal() != c.fatal {
				t.Errorf("fatal %v, reasons (-want +got):\n%s", r.Fatal(), diff)
			}
			approvers := ""
			for _, a := range r.Verdict.Approvals {
				approvers += strings.Join(a.Owners, " ")
			}
			if approvers != c.approvers || len(r.Findings) != 1 || r.Findings[0].Origin.File != ".mizzen.yaml" || r.Findings[0].Remedy == "" {
				t.Errorf("approval of %q, want %q; findings %+v", approvers, c.approvers, r.Findings)
			}
		})
	}
	r := b.review(t, wrong, edited(wrong, web))
	want := mizzen.Trigger{Code: "MZ1011", Subject: ".mizzen.yaml", Message: `unknown field "guardrail"`, Origin: mizzen.Origin{File: ".mizzen.yaml", Line: 3}}
	if diff := cmp.Diff([]mizzen.Trigger{want}, r.Verdict.Reasons[0].Triggers); diff != "" {
		t.Errorf("triggers (-want +got):\n%s", diff)
	}
}

// The policy at the tip of the branch judges. What it mended since the change
// parted from it is no matter of the change, and what it broke is.
func TestPolicyOfTheTip(t *testing.T) {
	b := newBench(t)
	good := edited(shop, map[string]string{".mizzen.yaml": "policy: {}\n"})
	wrong := edited(shop, map[string]string{".mizzen.yaml": broken})
	for _, c := range []struct {
		base, tip memtree.Tree
		want      mizzen.Decision
	}{{wrong, good, mizzen.Allow}, {good, wrong, mizzen.Deny}, {good, good, mizzen.Allow}} {
		r, err := b.Review(t.Context(), review.Request{Base: c.base, Guard: c.tip, Head: edited(c.base, map[string]string{"web/cm.yaml": configMap("web", "2")})})
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict.Decision != c.want || r.Fatal() {
			t.Errorf("%+v, %+v", r.Verdict, r.Findings)
		}
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
