package application

import (
	"errors"
	"testing"
	"time"

	"k8s.io/client-go/tools/events"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/render"
)

// at is a Snapshot at a commit, in which every file is the same blob.
type at struct {
	mizzen.Snapshot
	commit, blob string
}

func (s at) Commit() mizzen.Commit     { return mizzen.Commit{ID: s.commit} }
func (s at) ID(string) (string, error) { return s.blob, nil }

// TestFailureRestsUntilItsRetry: every event of a Deployment that never gets
// ready used to try a failed sync again at once.
func TestFailureRestsUntilItsRetry(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := &Reconciler{Jitter: func(time.Duration) time.Duration { return 0 }}
	of := func(m *memory, commit string, change func(*v1alpha1.Application), now time.Time) *run {
		app := &v1alpha1.Application{}
		app.Generation = 1
		change(app)
		return &run{Reconciler: r, app: app, m: m, snapshot: at{commit: commit}, now: now}
	}
	same := func(*v1alpha1.Application) {}
	m := &memory{}
	failed := of(m, "a", same, now).fail(v1alpha1.ReasonApplyFailed, errors.New("webhook"))
	for name, c := range map[string]struct {
		run  *run
		rest bool
	}{
		"an event":        {of(m, "a", same, now.Add(failed.after/2)), true},
		"the retry":       {of(m, "a", same, now.Add(failed.after)), false},
		"another commit":  {of(m, "b", same, now), false},
		"another spec":    {of(m, "a", func(a *v1alpha1.Application) { a.Generation = 2 }, now), false},
		"a wish to retry": {of(m, "a", func(a *v1alpha1.Application) { a.Annotations = map[string]string{mizzen.AnnotationReconcile: "now"} }, now), false},
	} {
		if got := c.run.quiet(t.Context()); (got != nil) != c.rest || got != nil && !got.silent {
			t.Errorf("%s: %+v, want rest %v", name, got, c.rest)
		}
	}
	if next := of(m, "a", same, now).fail(v1alpha1.ReasonApplyFailed, errors.New("webhook")); next.after <= failed.after {
		t.Errorf("the second pause is %s after %s", next.after, failed.after)
	}
}

func TestSupersede(t *testing.T) {
	input := settled{commit: "b", generation: 2, key: render.Key{Facts: []render.Fact{{Name: "web", Saw: render.SawContent, ID: "1"}}}}
	for name, c := range map[string]struct {
		act  func(*memory)
		want bool
	}{
		"the same commit":          {func(m *memory) { m.supersede(at{commit: "b"}) }, false},
		"a commit that touches it": {func(m *memory) { m.supersede(at{commit: "c", blob: "2"}) }, true},
		"an unrelated commit":      {func(m *memory) { m.supersede(at{commit: "c", blob: "1"}) }, false},
		"a revision that is gone":  {func(m *memory) { m.supersede(nil) }, true},
		"its own spec":             {func(m *memory) { m.outdate(2) }, false},
		"a newer spec":             {func(m *memory) { m.outdate(3) }, true},
	} {
		m := &memory{}
		var ended error
		m.superseder(func(err error) { ended = err }, input)
		c.act(m)
		if (ended != nil) != c.want {
			t.Errorf("%s: %v, want superseded %v", name, ended, c.want)
		}
		m.superseder(nil, settled{})
		m.supersede(nil)
		m.outdate(9)
	}
}

// TestFreedMeanwhile: an object that its owner let go while another Application
// found it taken was waited for, although nobody would tell any more.
func TestFreedMeanwhile(t *testing.T) {
	ref := mizzen.Ref{Kind: "ConfigMap", Namespace: "shop", Name: "settings"}
	taken := &engine.StageError{Stage: engine.StageValidate, Err: engine.ErrOwnedByAnother}
	freed := []mizzen.Change{{Ref: ref, Action: mizzen.Delete}}
	r := &Reconciler{Recorder: events.NewFakeRecorder(9)}
	for name, c := range map[string]struct {
		before, after []mizzen.Change
		again         bool
	}{
		"nothing":               {nil, nil, false},
		"before the plan":       {freed, nil, false},
		"while it is made":      {nil, freed, true},
		"only written to there": {nil, []mizzen.Change{{Ref: ref, Action: mizzen.Update}}, false},
	} {
		r.wakeClaimants(c.before)
		x := &run{
			Reconciler: r, app: &v1alpha1.Application{}, m: &memory{}, snapshot: at{commit: "a"}, letGoBefore: r.letGo.Load(),
			planned: &engine.Planned{Plan: &mizzen.Plan{Findings: []mizzen.Finding{{Code: mizzen.CodeOwnedByAnother, Ref: ref}}}},
		}
		r.wakeClaimants(c.after)
		if got := x.failed(taken); got.silent != c.again || got.silent != (got.after > 0 && got.after < time.Second) {
			t.Errorf("%s: %+v, want another try %v", name, got, c.again)
		}
	}
}
