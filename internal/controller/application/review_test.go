package application

import (
	"testing"
	"time"

	"k8s.io/client-go/tools/events"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/render/memtree"
)

func TestGateOf(t *testing.T) {
	cases := []struct{ own, standard, want v1alpha1.Gate }{
		{"", "", v1alpha1.GateNone},
		{"", v1alpha1.GateReport, v1alpha1.GateReport},
		{"", v1alpha1.GatePolicy, v1alpha1.GatePolicy},
		{v1alpha1.GateNone, v1alpha1.GatePolicy, v1alpha1.GateNone},
		{v1alpha1.GateReport, v1alpha1.GatePolicy, v1alpha1.GateReport},
		{v1alpha1.GatePolicy, v1alpha1.GateNone, v1alpha1.GatePolicy},
	}
	for _, c := range cases {
		x := &run{Reconciler: &Reconciler{DefaultGate: c.standard}, app: &v1alpha1.Application{}}
		x.app.Spec.Sync.Gate = c.own
		if got := x.gateOf(); got != c.want {
			t.Errorf("%q of its own, and %q by default: %s, want %s", c.own, c.standard, got, c.want)
		}
	}
}

// A process that begins knows by the review alone that a gate of the spec held:
// one that is gone then was dropped, unless the controller had given it.
func TestGateIsRemembered(t *testing.T) {
	cases := []struct {
		name   string
		review *v1alpha1.ReviewStatus
		want   bool
	}{
		{"none", nil, false},
		{"of an older version", &v1alpha1.ReviewStatus{}, true},
		{"of the spec", &v1alpha1.ReviewStatus{Gate: v1alpha1.GatePolicy}, true},
		{"of the controller", &v1alpha1.ReviewStatus{Gate: v1alpha1.GatePolicy, Default: true}, false},
		{"that reports", &v1alpha1.ReviewStatus{Gate: v1alpha1.GateReport}, false},
	}
	for _, c := range cases {
		app, m := &v1alpha1.Application{}, &memory{}
		app.Generation, app.Status.ObservedGeneration, app.Status.Review = 3, 3, c.review
		if m.learn(app); (m.guarded == 3) != c.want {
			t.Errorf("%s: guarded since %d, want %v", c.name, m.guarded, c.want)
		}
	}
}

// Nobody tells what changes in the cluster beside Git, so that what is held is
// looked at again.
func TestHeldIsLookedAtAgain(t *testing.T) {
	now := time.Unix(1e9, 0)
	x := &run{
		Reconciler: &Reconciler{Recorder: events.NewFakeRecorder(1)}, app: &v1alpha1.Application{}, m: &memory{}, now: now,
		snapshot: memtree.Tree{},
	}
	x.hold(v1alpha1.ReasonDenied, "because")
	s := x.m.settled()
	if !s.done || !s.gated || s.expired(now.Add(lookAgain-time.Second)) || !s.expired(now.Add(lookAgain)) {
		t.Errorf("%+v", s)
	}
}

// Who reads the status alone learns what is wrong, and where: of an Effect the
// rule says it, of a Finding only the Finding does.
func TestReasonText(t *testing.T) {
	for want, trigger := range map[string]mizzen.Trigger{
		"r: m (shop/web)": {Code: "MT3001", Subject: "shop/web", Message: "plaintext is accepted", Origin: mizzen.Origin{File: "a.yaml", Line: 1}},
		`r: m (.mizzen.yaml:3: unknown field "x")`: {
			Code: "MZ1011", Subject: ".mizzen.yaml", Message: `unknown field "x"`, Origin: mizzen.Origin{File: ".mizzen.yaml", Line: 3},
		},
		"r: m (ConfigMap shop/web: no such field)": {Code: "MZ2001", Subject: "ConfigMap shop/web", Message: "no such field", Origin: mizzen.Origin{File: "a.yaml", Line: 1}},
	} {
		if got := reasonText(mizzen.Reason{Rule: "r", Message: "m", Triggers: []mizzen.Trigger{trigger}}); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
