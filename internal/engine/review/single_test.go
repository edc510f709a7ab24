package review_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine/discover"
	"mizzen.dev/mizzen/internal/engine/review"
	"mizzen.dev/mizzen/internal/render/memtree"
)

// singleApp is an Application of a cluster, at a path.
func singleApp(name string) *discover.Application {
	app := &v1alpha1.Application{}
	app.Namespace, app.Name = "m", name
	app.Spec.Source.Path = name
	app.Spec.Destination.Namespace = "shop"
	return discover.Of(app)
}

func volume(name string) string {
	return "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: " + name + "}\n---\n"
}

func data(name, value string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {v: " + value + "}\n---\n"
}

// counter records what it is asked.
type counter struct{ before, after int }

func (p *counter) Effects(_ context.Context, before, after []mizzen.Object) ([]mizzen.Effect, error) {
	p.before, p.after = len(before), len(after)
	return nil, nil
}

func TestSingle(t *testing.T) {
	const owned = "web/ @web\n.mizzen.yaml @policy\n"
	level := func(l string) string { return "policy: {guardrails: {stateful-deleted: " + l + "}}\n" }
	base := memtree.Tree{
		"CODEOWNERS": owned, ".mizzen.yaml": level("approval"),
		"web/all.yaml": data("web", "1") + volume("data"), "other/all.yaml": data("other", "1"),
	}
	gone := data("web", "1")
	cases := []struct {
		name         string
		base         map[string]string
		head         map[string]string
		want         mizzen.Decision
		approvers    string
		items, other int
	}{
		{name: "allowed", head: map[string]string{"web/all.yaml": data("web", "2") + volume("data")}, want: mizzen.Allow, items: 1},
		{name: "owners are asked", head: map[string]string{"web/all.yaml": gone}, want: mizzen.NeedsApproval, approvers: "@web", items: 1},
		{name: "others do not count", head: map[string]string{"other/all.yaml": data("other", "2") + volume("x")}, want: mizzen.Allow},
		{
			name: "a change of policy elsewhere is no change",
			head: map[string]string{".mizzen.yaml": level("deny"), "web/all.yaml": data("web", "2") + volume("data")}, want: mizzen.Allow, items: 1,
		},
		{
			name: "a newer policy counts",
			head: map[string]string{".mizzen.yaml": level("deny"), "web/all.yaml": gone}, want: mizzen.Deny, items: 1,
		},
		{
			name: "nobody loosens his own guard",
			head: map[string]string{".mizzen.yaml": level("off"), "web/all.yaml": gone}, want: mizzen.NeedsApproval, approvers: "@web", items: 1,
		},
		{
			name: "what only the old policy denies needs its owners",
			base: map[string]string{".mizzen.yaml": level("deny")},
			head: map[string]string{".mizzen.yaml": level("off"), "web/all.yaml": gone}, want: mizzen.NeedsApproval, approvers: "@policy", items: 1,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			traffic := &counter{}
			b.Traffic = traffic
			before := edited(base, c.base)
			after := edited(before, c.head)
			r, err := b.Single(t.Context(), review.Single{
				Application: singleApp("web"), Base: before, Head: after,
				Others: []review.Neighbor{{Application: singleApp("other"), At: before}, {Application: singleApp("web"), At: before}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if r.Verdict.Decision != c.want || len(r.Items) != c.items {
				t.Errorf("%s and %d items, want %s and %d: %+v", r.Verdict.Decision, len(r.Items), c.want, c.items, r.Verdict)
			}
			approvers := ""
			for _, a := range r.Verdict.Approvals {
				approvers += a.Owners[0]
			}
			if approvers != c.approvers {
				t.Errorf("approval of %q, want %q", approvers, c.approvers)
			}
			if c.items > 0 && (traffic.before == 0 || traffic.after == 0) {
				t.Errorf("the planner saw %d and %d objects", traffic.before, traffic.after)
			}
		})
	}
}

// TestSingleBroken: what cannot be rendered is not known, and no review.
func TestSingleBroken(t *testing.T) {
	b := newBench(t)
	good := memtree.Tree{"web/all.yaml": data("web", "1")}
	bad := memtree.Tree{"web/all.yaml": "a: [\n"}
	for name, ends := range map[string][2]memtree.Tree{"base": {bad, good}, "head": {good, bad}} {
		if r, err := b.Single(t.Context(), review.Single{Application: singleApp("web"), Base: ends[0], Head: ends[1]}); err == nil {
			t.Errorf("%s: reviewed as %+v", name, r.Verdict)
		}
	}
}

// TestSingleLive: what the cluster has beside Git is there before and after,
// but for what goes with the change, and never in the place of what Git has:
// also not what the change takes away.
func TestSingleLive(t *testing.T) {
	b := newBench(t)
	p := &planner{}
	b.Traffic = p
	before := memtree.Tree{"web/cm.yaml": data("web", "1") + data("gone", "1"), "other/cm.yaml": data("other", "1")}
	r, err := b.Single(t.Context(), review.Single{
		Application: singleApp("web"), Base: before, Head: edited(before, map[string]string{"web/cm.yaml": data("web", "2")}),
		Others: []review.Neighbor{{Application: singleApp("other"), At: before}},
		Live: &review.Live{
			Server:  "in-cluster",
			Objects: []mizzen.Object{alive("gone", "9"), alive("leaving", "9"), alive("mesh", "9"), alive("other", "9"), alive("web", "9")},
			Leaving: []mizzen.Ref{alive("leaving", "").Ref(), alive("gone", "").Ref()},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"gone=1 leaving=9 mesh=9 other=1 web=1 -> mesh=9 other=1 web=2"}
	if diff := cmp.Diff(want, p.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&mizzen.ReviewLive{Server: "in-cluster", Objects: 2}, r.Live); diff != "" {
		t.Errorf("live (-want +got):\n%s", diff)
	}
}

func TestApprovalDigest(t *testing.T) {
	verdict := func(line int, owner string) *mizzen.Verdict {
		return &mizzen.Verdict{
			Decision:  mizzen.NeedsApproval,
			Reasons:   []mizzen.Reason{{Rule: "r", Triggers: []mizzen.Trigger{{Subject: "s", Origin: mizzen.Origin{File: "f", Line: line}}}}},
			Approvals: []mizzen.Approval{{Owners: []string{owner}, Count: 1, For: []string{"f"}}},
		}
	}
	of := func(change func(*mizzen.Review)) string {
		r := &mizzen.Review{Base: mizzen.Commit{ID: "a"}, Head: mizzen.Commit{ID: "b"}, Verdict: verdict(1, "@web")}
		r.Effects = []mizzen.Effect{{Code: "MT1", Subject: "s", Message: "m", Callers: []string{"shop/a"}, Origin: mizzen.Origin{File: "f", Line: 1}}}
		change(r)
		return r.ApprovalDigest()
	}
	one := of(func(*mizzen.Review) {})
	same := map[string]func(*mizzen.Review){
		"a rebase":     func(r *mizzen.Review) { r.Head.ID = "c" },
		"another line": func(r *mizzen.Review) { r.Verdict, r.Effects[0].Origin.Line = verdict(2, "@web"), 2 },
		"another pod":  func(r *mizzen.Review) { r.Effects[0].Callers = []string{"shop/a", "shop/b"} },
	}
	other := map[string]func(*mizzen.Review){
		"another base":   func(r *mizzen.Review) { r.Base.ID = "c" },
		"another effect": func(r *mizzen.Review) { r.Effects[0].After = "x" },
		"another owner":  func(r *mizzen.Review) { r.Verdict = verdict(1, "@other") },
		"another team":   func(r *mizzen.Review) { r.Effects[0].Callers = []string{"shop/a", "other/a"} },
	}
	for name, change := range same {
		if of(change) != one {
			t.Errorf("%s makes another digest", name)
		}
	}
	for name, change := range other {
		if of(change) == one {
			t.Errorf("%s makes the same digest", name)
		}
	}
}
