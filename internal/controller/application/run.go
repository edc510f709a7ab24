package application

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/live"
	sources "mizzen.dev/mizzen/internal/source"
)

// run is one reconcile of one Application.
type run struct {
	*Reconciler
	app, before *v1alpha1.Application
	name        mizzen.Name
	m           *memory
	now         time.Time

	destination engine.Destination
	snapshot    mizzen.Snapshot
	// held: the snapshot is not what Git is at, because the spec says so.
	held bool
	// err is what the evaluation ended in, for its trace.
	err     error
	planned *engine.Planned
	outcome *engine.Outcome
	// inventory is what was known to be applied when the plan was made, drifted
	// and touched what the watches had reported by then.
	inventory engine.Inventory
	drifted   map[mizzen.Ref]live.Event
	touched   map[mizzen.Ref]struct{}
	// letGoBefore is what letGo was before the plan was made.
	letGoBefore uint64
	// agreed are the users whose approval let the revision pass, sorted.
	agreed []string
}

// result is what a reconcile ends in.
type result struct {
	finding finding
	// after is when to look again; 0 means that news will tell.
	after time.Duration
	// silent leaves the status as it is.
	silent bool
}

// do runs the phases until one of them has the last word.
func (x *run) do(ctx context.Context) result {
	for _, phase := range []func(context.Context) *result{
		x.admit, x.locate, x.resolve, x.quiet, x.protect, x.await,
	} {
		if r := phase(ctx); r != nil {
			return *r
		}
	}
	return x.evaluate(ctx)
}

// evaluate is the part of a reconcile that is worth a trace.
func (x *run) evaluate(ctx context.Context) result {
	ctx, end := x.Observer.Sync(ctx, x.name, x.snapshot.Commit().ID)
	defer func() { end(x.err) }()
	for _, phase := range []func(context.Context) *result{x.plan, x.review, x.gate, x.sync} {
		if r := phase(ctx); r != nil {
			x.putBack()
			return *r
		}
	}
	return x.conclude(ctx)
}

// admit refuses what the API's own validation cannot.
func (x *run) admit(context.Context) *result {
	if x.app.Spec.Privileged && x.app.Namespace != mizzen.SystemNamespace {
		return x.stall(v1alpha1.ReasonInvalidSpec, fmt.Sprintf(
			"spec.privileged is only allowed in namespace %s; use a service account of namespace %s (spec.serviceAccountName)",
			mizzen.SystemNamespace, x.app.Namespace))
	}
	if x.app.Spec.Suspend {
		return x.suspended()
	}
	return nil
}

// suspended keeps what is known and says that nothing more will happen.
func (x *run) suspended() *result {
	x.m.unsettle()
	f := x.previous()
	message := "suspended (spec.suspend); 'mizzen resume " + x.name.Name + "' goes on"
	f.synced = verdict{f.synced.status, v1alpha1.ReasonSuspended, message}
	return &result{finding: f}
}

// locate finds the destination.
func (x *run) locate(ctx context.Context) *result {
	var err error
	if x.destination, err = x.Destinations.Destination(ctx, x.app); err == nil {
		return nil
	}
	switch mizzen.KindOf(err) {
	case mizzen.NotFound:
		return x.fail(v1alpha1.ReasonClusterNotFound, err)
	case mizzen.Invalid:
		return x.stall(v1alpha1.ReasonInvalidSpec, err.Error())
	}
	return x.unreachable(err)
}

// resolve finds the content to sync: of the revision that Git is at, or of the
// one that the Application is held at.
func (x *run) resolve(ctx context.Context) *result {
	repository := mizzen.Name{Namespace: x.name.Namespace, Name: x.app.Spec.Source.Repository}
	revision := x.app.Spec.Source.Revision
	if hold := x.app.Spec.Hold; hold != nil {
		if revision = hold.Revision; revision == "" {
			revision = x.app.Status.Revision
		}
		x.held = true
	}
	var err error
	if x.snapshot, err = x.Sources.Snapshot(ctx, repository, revision); err == nil {
		x.m.setStarved(false)
		if x.m.unpinned() {
			x.keep(ctx)
		}
		return nil
	}
	var notFetched sources.NotFetchedError
	switch {
	case errors.As(err, &notFetched):
		x.m.setStarved(true)
		return x.unfetched(ctx, repository)
	case mizzen.KindOf(err) == mizzen.NotFound:
		return x.stall(v1alpha1.ReasonRevisionNotFound, err.Error()+"; the cluster stays as it is")
	}
	return x.fail(v1alpha1.ReasonFetchFailed, err)
}

// unfetched says why there is nothing to sync from. What runs goes on. While
// the first fetch is under way there is nothing to say: it wakes those who wait
// for it, and if it fails, the Repository's own condition says why.
func (x *run) unfetched(ctx context.Context, name mizzen.Name) *result {
	var repo v1alpha1.Repository
	err := x.Client.Get(ctx, request(name).NamespacedName, &repo)
	switch {
	case apierrors.IsNotFound(err):
		return x.fail(v1alpha1.ReasonRepositoryNotFound, &mizzen.Error{
			Kind: mizzen.NotFound, Object: "repository " + name.String(), Err: errors.New("there is no such Repository"),
			Remedy: "create it in the namespace of the Application, or correct spec.source.repository",
		})
	case err != nil, x.app.Status.Revision != "", !meta.IsStatusConditionFalse(repo.Status.Conditions, v1alpha1.ConditionReady):
		return &result{silent: true}
	}
	return &result{finding: x.waitingFor(v1alpha1.ReasonRepositoryNotReady,
		fmt.Sprintf("repository %s cannot be fetched; see 'mizzen get repositories'", name))}
}

// quiet ends the reconcile if nothing that the last evaluation looked at has
// changed: then only drift and health are to be seen to.
func (x *run) quiet(ctx context.Context) *result {
	s := x.m.settled()
	if !s.done || x.m.awaits() || x.m.rechecks() || s.expired(x.now) || s.generation != x.app.Generation || s.wish != x.app.Annotations[mizzen.AnnotationReconcile] {
		return nil
	}
	if !x.m.untouched(x.snapshot) {
		return nil
	}
	if s.commit != x.snapshot.Commit().ID {
		// The Application keeps its revision, and those who wait for it at
		// this commit may go on.
		x.wakeDependents(ctx, x.name)
	}
	return x.news(ctx)
}

// target says what to plan.
func (x *run) target(inventory engine.Inventory) engine.Target {
	t := engine.TargetOf(x.app, x.snapshot, x.destination)
	t.Known = inventory
	return t
}

// plan computes what a sync would do.
func (x *run) plan(ctx context.Context) *result {
	release, err := x.busy(ctx)
	if err != nil {
		return &result{silent: true}
	}
	defer release()
	x.letGoBefore = x.letGo.Load()
	inventory, err := ReadInventory(ctx, x.Uncached, x.app)
	if err != nil {
		return x.fail(v1alpha1.ReasonFetchFailed, err)
	}
	if err := x.watch(ctx, inventory); err != nil {
		return x.failed(err)
	}
	// The plan sees the state that the news are about.
	x.drifted, x.touched = x.m.takeNews()
	t := x.target(inventory)
	s := x.m.settled()
	t.Recheck, t.Careful = !s.done || s.failed, x.m.careful
	// Where nobody looks at the plan before it is carried out.
	t.Direct = x.app.Spec.Sync.Mode != v1alpha1.SyncManual && enabled(x.app.Spec.Sync.SelfHeal)
	if x.planned, err = x.Engine.Plan(ctx, t); err != nil {
		return x.failed(err)
	}
	x.inventory = inventory
	x.mention()
	return nil
}

// busy waits for a slot for work that costs processor time.
func (x *run) busy(ctx context.Context) (release func(), err error) {
	return x.Busy.Enter(ctx, x.name.Namespace)
}

// gate decides whether the plan may be carried out now.
func (x *run) gate(ctx context.Context) *result {
	if mizzen.Worst(x.planned.Findings) == mizzen.Fatal {
		return nil // nobody can ask for it: the sync refuses it, and says why
	}
	manual, heal := x.app.Spec.Sync.Mode == v1alpha1.SyncManual, enabled(x.app.Spec.Sync.SelfHeal)
	if !x.planned.Writes() || x.approved() || !manual && heal {
		return nil
	}
	switch drift := x.onlyDrift(); {
	case drift && heal:
		return nil
	case drift:
		x.noteDrift()
		x.settle(false)
		x.outcome = &engine.Outcome{Inventory: x.inventory}
		r := x.conclude(ctx)
		return &r
	case manual:
		return x.ask()
	}
	return nil
}

// approved tells whether somebody asked for exactly this plan. That holds until
// it is carried out, not for ever: the same plan may come again.
func (x *run) approved() bool {
	digest := x.planned.Digest
	if wish := x.app.Annotations[mizzen.AnnotationReconcile]; x.app.Annotations[mizzen.AnnotationSync] == digest && wish != x.app.Status.HandledReconcile {
		x.m.approved = digest
	}
	return x.m.approved == digest
}

// onlyDrift tells whether the plan restores what was synced already: the same
// content as the last time, of objects that were applied then.
func (x *run) onlyDrift() bool {
	status := x.app.Status
	if status.Revision == "" || status.RenderKey != x.planned.Key.Identity() || status.ObservedGeneration != x.app.Generation ||
		len(status.History) == 0 || status.History[0].Result != v1alpha1.SyncSucceeded {
		return false
	}
	return !slices.ContainsFunc(x.planned.Changes, func(c mizzen.Change) bool {
		_, known := x.inventory[c.Ref]
		return c.Action.Writes() && !known
	})
}

// ask says what waits for somebody to ask for it.
func (x *run) ask() *result {
	f := x.previous()
	f.synced = no(v1alpha1.ReasonManualSync, fmt.Sprintf("Git is at %s: %s; run 'mizzen sync %s'",
		x.planned.Commit.Short(), x.planned.Counts(), x.name.Name))
	if f.healthy.status == "" {
		f.healthy = unknown(v1alpha1.ReasonHealthUnknown, "nothing is synced yet")
	}
	x.settle(false)
	x.m.wait()
	return &result{finding: f}
}

// settle notes that this input was evaluated to the end.
func (x *run) settle(failed bool) {
	s := x.input()
	s.done, s.failed = true, failed || x.planned == nil
	x.m.settle(s)
}

// input is what this reconcile looks at.
func (x *run) input() settled {
	s := settled{
		generation: x.app.Generation, commit: x.snapshot.Commit().ID, wish: x.app.Annotations[mizzen.AnnotationReconcile],
	}
	if x.planned != nil {
		s.key = x.planned.Key
	}
	return s
}
