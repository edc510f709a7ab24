package application

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine"
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
	for _, phase := range []func(context.Context) *result{x.plan, x.gate, x.sync} {
		if r := phase(ctx); r != nil {
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
		return nil
	}
	var notFetched sources.NotFetchedError
	switch {
	case errors.As(err, &notFetched) && (x.app.Status.Revision != "" || !x.refused(ctx, repository)):
		// What runs goes on, and the first fetch wakes the rest; if it fails,
		// the Repository's own condition says why.
		return &result{silent: true}
	case errors.As(err, &notFetched):
		return &result{finding: x.waitingFor(v1alpha1.ReasonRepositoryNotReady,
			fmt.Sprintf("repository %s is not fetched yet; see 'mizzen get repositories'", repository))}
	case mizzen.KindOf(err) == mizzen.NotFound && x.missing(ctx, repository):
		return x.fail(v1alpha1.ReasonRepositoryNotFound, err)
	case mizzen.KindOf(err) == mizzen.NotFound:
		return x.stall(v1alpha1.ReasonRevisionNotFound, err.Error()+"; the cluster stays as it is")
	}
	return x.fail(v1alpha1.ReasonFetchFailed, err)
}

// refused tells whether a Repository was tried to fetch, in vain.
func (x *run) refused(ctx context.Context, name mizzen.Name) bool {
	var repo v1alpha1.Repository
	err := x.Client.Get(ctx, request(name).NamespacedName, &repo)
	return err == nil && meta.IsStatusConditionFalse(repo.Status.Conditions, v1alpha1.ConditionReady)
}

// missing tells whether the Repository itself does not exist.
func (x *run) missing(ctx context.Context, name mizzen.Name) bool {
	var repo v1alpha1.Repository
	return apierrors.IsNotFound(x.Client.Get(ctx, request(name).NamespacedName, &repo))
}

// quiet ends the reconcile if nothing that the last evaluation looked at has
// changed: then only drift and health are to be seen to.
func (x *run) quiet(ctx context.Context) *result {
	s := x.m.settled()
	if !s.done || s.generation != x.app.Generation || s.wish != x.app.Annotations[mizzen.AnnotationReconcile] {
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
	inventory, err := ReadInventory(ctx, x.Uncached, x.app)
	if err != nil {
		return x.fail(v1alpha1.ReasonFetchFailed, err)
	}
	if err := x.watch(ctx, inventory); err != nil {
		return x.failed(err)
	}
	x.m.takeNews() // the plan sees the state that the news are about
	t := x.target(inventory)
	t.Recheck = !x.m.settled().done
	if x.planned, err = x.Engine.Plan(ctx, t); err != nil {
		return x.failed(err)
	}
	return nil
}

// busy waits for a slot for work that costs processor time.
func (x *run) busy(ctx context.Context) (release func(), err error) {
	select {
	case x.Busy <- struct{}{}:
		return func() { <-x.Busy }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// gate decides whether the plan may be carried out now.
func (x *run) gate(context.Context) *result {
	if x.app.Spec.Sync.Mode != v1alpha1.SyncManual || !x.planned.Writes() {
		return nil
	}
	if x.app.Annotations[mizzen.AnnotationSync] == x.planned.Digest {
		return nil
	}
	f := x.previous()
	f.synced = no(v1alpha1.ReasonManualSync, fmt.Sprintf("Git is at %s: %s; run 'mizzen sync %s'",
		x.planned.Commit.Short(), x.planned.Counts(), x.name.Name))
	if f.healthy.status == "" {
		f.healthy = unknown(v1alpha1.ReasonHealthUnknown, "nothing is synced yet")
	}
	x.settle(false)
	return &result{finding: f}
}

// settle notes that this input was evaluated to the end.
func (x *run) settle(failed bool) {
	s := settled{
		done: true, generation: x.app.Generation, commit: x.snapshot.Commit().ID, failed: failed,
		wish: x.app.Annotations[mizzen.AnnotationReconcile],
	}
	if x.planned != nil {
		s.key = x.planned.Key
	} else {
		s.failed = true
	}
	x.m.settle(s)
}
