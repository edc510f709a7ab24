package application

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/apply"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/health"
	"mizzen.dev/mizzen/internal/live"
	"mizzen.dev/mizzen/internal/observe"
)

// watch follows the kinds that are in the inventory, before anything is judged
// by what the watch says.
func (x *run) watch(ctx context.Context, inventory engine.Inventory) error {
	seen := map[schema.GroupKind]bool{}
	var resources []live.Resource
	for ref, e := range inventory {
		if seen[ref.GroupKind()] {
			continue
		}
		seen[ref.GroupKind()] = true
		gvk := schema.GroupVersionKind{Group: ref.Group, Version: e.Version, Kind: ref.Kind}
		found, err := x.destination.Cluster.Resource(ctx, gvk)
		switch {
		case err == nil:
			resources = append(resources, found)
		case mizzen.KindOf(err) != mizzen.NotFound:
			return &engine.StageError{Stage: engine.StageRead, Err: err}
		}
	}
	if err := x.destination.Watcher.Ensure(ctx, resources...); err != nil && mizzen.KindOf(err) == mizzen.Unreachable {
		return &engine.StageError{Stage: engine.StageRead, Err: err}
	}
	return nil
}

// sync carries the plan out and records it.
func (x *run) sync(ctx context.Context) *result {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	x.m.superseder(cancel, x.input())
	defer x.m.superseder(nil, settled{})
	release, err := x.busy(ctx)
	if err != nil {
		return &result{silent: true}
	}
	defer func() { release() }()

	start := x.Clock.Now()
	x.planned.Waits = x.tellWait
	x.planned.Yield = func() func() {
		// Who waits for a wave must not keep others from their work, least of
		// all those whose work the wave waits for.
		release()
		return func() {
			if release, _ = x.busy(ctx); release == nil {
				release = func() {} // ctx ended, and so does the sync
			}
		}
	}
	x.outcome, err = x.Engine.Sync(ctx, x.planned)
	took := x.Clock.Since(start)
	if errors.Is(err, apply.ErrStale) && !x.m.careful {
		// The cluster changed under the plan: plan again, and look closely.
		x.m.careful = true
		x.m.unsettle()
		return &result{silent: true, after: time.Millisecond}
	}
	x.m.careful = false
	if errors.Is(err, errSuperseded) || err != nil && ctx.Err() != nil {
		return x.interrupted(ctx)
	}
	x.Observer.Metrics.Changed(x.outcome.Counts)
	if writeErr := writeInventory(ctx, x.Client, x.app, x.outcome.Inventory); writeErr != nil {
		return x.fail(v1alpha1.ReasonApplyFailed, writeErr)
	}
	x.app.Status.Attempted = x.planned.Commit.ID
	x.app.Status.Findings = summarize(x.planned.Findings)
	if err != nil {
		x.note(ctx, v1alpha1.SyncFailed, err.Error(), start, took)
		return x.failed(err)
	}
	x.succeeded(ctx, start, took)
	return nil
}

// interrupted keeps what was written in the inventory, and tries again.
func (x *run) interrupted(ctx context.Context) *result {
	// The inventory is worth a write even while the process ends: without it
	// the next leader compares every object again.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	f := x.previous()
	f.synced = no(v1alpha1.ReasonProgressing, "the sync of "+x.planned.Commit.Short()+" was interrupted; it goes on")
	f.reconciling = true
	if err := writeInventory(ctx, x.Client, x.app, x.outcome.Inventory); err == nil {
		f.write(&x.app.Status, x.app.Generation, metav1.NewTime(x.now))
		_ = x.save(ctx)
	}
	x.m.unsettle()
	return &result{silent: true, after: time.Millisecond}
}

func (x *run) succeeded(ctx context.Context, start time.Time, took time.Duration) {
	status := &x.app.Status
	first := status.Revision == ""
	if x.planned.Writes() || first {
		x.note(ctx, v1alpha1.SyncSucceeded, x.outcome.Counts.String(), start, took)
		status.PlanDigest = x.planned.Digest
		x.announcer.synced(x.repository(), x.planned.Commit, x.outcome.Counts)
		x.Log.InfoContext(ctx, "synced", "application", x.name.String(), "commit", x.planned.Commit.Short(),
			"changes", x.outcome.Counts.String(), "took", took.Round(time.Millisecond))
		x.tellTransfers()
	}
	if x.planned.Writes() || first || x.held || status.RenderKey != x.planned.Key.Identity() {
		status.Revision = x.planned.Commit.ID
	}
	status.RenderKey = x.planned.Key.Identity()
	x.m.failures, x.m.approved = 0, ""
	x.m.setDrift(nil)
	x.settle(false)
	x.wakeClaimants(x.outcome.Written)
	if len(x.outcome.Written) > 0 {
		x.wakeGated(x.repository(), x.name)
	}
}

// tellWait writes what a sync waits for. It does not fail the sync if that
// cannot be written.
func (x *run) tellWait(ctx context.Context, worst health.Summary) {
	f := x.previous()
	f.synced = no(v1alpha1.ReasonProgressing, fmt.Sprintf("syncing %s; the next wave waits for %s", x.planned.Commit.Short(), worst.Message))
	f.reconciling = true
	f.write(&x.app.Status, x.app.Generation, metav1.NewTime(x.Clock.Now()))
	if err := x.save(ctx); err == nil {
		x.before = x.app.DeepCopy()
	}
}

func (x *run) repository() mizzen.Name {
	return mizzen.Name{Namespace: x.name.Namespace, Name: x.app.Spec.Source.Repository}
}

// note puts the sync into the history, and keeps its commit from getting lost.
func (x *run) note(ctx context.Context, result v1alpha1.SyncResult, message string, start time.Time, took time.Duration) {
	commit := x.planned.Commit
	record := recordOf(x.planned, x.outcome, result, message, start, took)
	record.Trace = observe.TraceID(ctx)
	if x.held {
		record.Note = "held"
	} else if len(x.agreed) > 0 {
		record.Note = clip("approved by "+strings.Join(x.agreed, ", "), maxLine)
	} else if from := x.app.Status.Revision; from != "" {
		if rewritten, err := x.Sources.Rewritten(ctx, x.repository(), from, commit.ID); err == nil && rewritten {
			record.Note = fmt.Sprintf("rewritten %.8s..%.8s", from, commit.ID)
		}
	}
	remember(&x.app.Status, record)
	x.keep(ctx)
}

// keep protects the commits that the Application may want back from a forced
// push. Of a repository that was exchanged or made anew, old commits are gone;
// the one at hand is kept all the same.
func (x *run) keep(ctx context.Context) {
	err := x.Sources.Keep(ctx, x.repository(), x.name.String(), x.needed()...)
	if mizzen.KindOf(err) == mizzen.NotFound {
		err = x.Sources.Keep(ctx, x.repository(), x.name.String(), x.snapshot.Commit().ID)
	}
	if err != nil && ctx.Err() == nil {
		x.Recorder.Eventf(x.app, nil, corev1.EventTypeWarning, "RevisionNotKept", "Sync", "%s", clip(err.Error(), maxMessage))
	}
}

// needed are the commits that the Application may want back.
func (x *run) needed() []string {
	var commits []string
	for _, r := range x.app.Status.History {
		commits = append(commits, r.Revision)
	}
	if hold := x.app.Spec.Hold; hold != nil && hold.Revision != "" {
		commits = append(commits, hold.Revision)
	}
	slices.Sort(commits)
	return slices.Compact(commits)
}
