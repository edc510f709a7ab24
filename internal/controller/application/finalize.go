package application

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine"
)

// protect makes sure that the Application does not go before its objects. A
// cluster with our admission policy has seen to it already.
func (x *run) protect(ctx context.Context) *result {
	if !controllerutil.AddFinalizer(x.app, Finalizer) {
		return nil
	}
	err := x.patchMetadata(ctx)
	switch {
	case apierrors.IsConflict(err):
		return &result{silent: true, after: overtaken}
	case err != nil:
		return x.fail(v1alpha1.ReasonApplyFailed, err)
	}
	x.before.Finalizers = x.app.Finalizers
	return nil
}

// overtaken is when to look again at an Application that somebody else wrote at
// the same time: the cache is about to have it.
const overtaken = 100 * time.Millisecond

// patchMetadata writes what changed of the metadata. A merge patch holds the
// whole list of finalizers, so it must not undo what others do to it.
func (x *run) patchMetadata(ctx context.Context) error {
	before := client.MergeFromWithOptions(withoutStatus(x.before), client.MergeFromWithOptimisticLock{})
	return x.Client.Patch(ctx, withoutStatus(x.app), before)
}

// withoutStatus is what a write of metadata sends.
func withoutStatus(app *v1alpha1.Application) *v1alpha1.Application {
	c := *app
	c.Status = v1alpha1.ApplicationStatus{}
	return &c
}

// finalize takes away what was applied, or leaves it as the Application says,
// and then lets the Application go.
func (x *run) finalize(ctx context.Context) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(x.app, Finalizer) {
		return ctrl.Result{}, nil
	}
	if r := x.remove(ctx); r != nil {
		if ctx.Err() != nil {
			return ctrl.Result{}, nil
		}
		x.say(ctx, r.finding)
		r.finding.write(&x.app.Status, x.app.Generation, metav1.NewTime(x.now))
		return ctrl.Result{RequeueAfter: r.after}, x.save(ctx)
	}
	controllerutil.RemoveFinalizer(x.app, Finalizer)
	err := x.patchMetadata(ctx)
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: overtaken}, nil
	}
	x.memories.forget(x.name)
	return ctrl.Result{}, client.IgnoreNotFound(err)
}

// remove returns nil when nothing is left to remove, or when what is left is to
// be left.
func (x *run) remove(ctx context.Context) *result {
	var err error
	if x.destination, err = x.Destinations.Destination(ctx, x.app); err == nil {
		err = x.takeAway(ctx)
	}
	switch {
	case err == nil:
		return nil
	case x.leaves(ctx, err):
		x.Log.WarnContext(ctx, "let go without its objects", "application", x.name.String(), "error", err)
		x.Recorder.Eventf(x.app, nil, corev1.EventTypeWarning, "NotReleased", "Prune", "%s",
			clip("its objects stay, with Mizzen's marks on them: "+err.Error(), maxMessage))
		return nil
	}
	return x.fail(v1alpha1.ReasonTerminating, &terminating{err})
}

// outagePatience is how long an Application that orphans its objects waits for
// a cluster that does not answer, to take its marks off them.
const outagePatience = time.Minute

// leaves tells whether the Application is let go although its objects could not
// be looked after: it orphans them, or its identity goes with its namespace, as
// all that lives there does. Another try would meet the same answer.
func (x *run) leaves(ctx context.Context, err error) bool {
	orphan := x.app.Spec.OnDelete == v1alpha1.Orphan
	switch mizzen.KindOf(err) {
	case mizzen.NotFound, mizzen.Invalid:
		return orphan
	case mizzen.Forbidden:
		return orphan || x.homeless(ctx)
	case mizzen.Unreachable, mizzen.Timeout:
		return orphan && x.now.Sub(x.app.DeletionTimestamp.Time) > outagePatience
	}
	return false
}

// homeless tells whether the namespace of the Application is being deleted.
func (x *run) homeless(ctx context.Context) bool {
	var namespace corev1.Namespace
	err := x.Uncached.Get(ctx, client.ObjectKey{Name: x.name.Namespace}, &namespace)
	return err == nil && !namespace.DeletionTimestamp.IsZero()
}

// takeAway removes the objects, or takes the marks off them.
func (x *run) takeAway(ctx context.Context) error {
	inventory, err := ReadInventory(ctx, x.Uncached, x.app)
	if err == nil {
		err = x.watch(ctx, inventory)
	}
	if err != nil {
		return err
	}
	t := engine.TargetOf(x.app, nil, x.destination)
	t.Known = inventory
	if x.planned, err = x.Engine.Removal(ctx, t, x.app.Spec.OnDelete == v1alpha1.Orphan); err != nil {
		return err
	}
	x.outcome, err = x.Engine.Sync(ctx, x.planned)
	x.wakeClaimants(x.outcome.Written)
	if err == nil && x.planned.Writes() {
		x.Recorder.Eventf(x.app, nil, corev1.EventTypeNormal, "Removed", "Prune", "%s", x.outcome.Counts)
		x.Log.InfoContext(ctx, "removed", "application", x.name.String(), "changes", x.outcome.Counts.String())
	}
	return err
}

// terminating adds the way out to an error that keeps an Application from
// being deleted.
type terminating struct{ error }

// Error names the remedy.
func (t *terminating) Error() string {
	return "its objects cannot be removed: " + t.error.Error() + "; set spec.onDelete to Orphan to let it go without them"
}

// Unwrap returns the cause.
func (t *terminating) Unwrap() error { return t.error }
