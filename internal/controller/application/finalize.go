package application

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine"
)

// protect makes sure that the Application does not go before its objects. A
// cluster with our admission policy has seen to it already.
func (x *run) protect(ctx context.Context) *result {
	if !controllerutil.AddFinalizer(x.app, Finalizer) {
		return nil
	}
	if err := x.Client.Patch(ctx, withoutStatus(x.app), client.MergeFrom(withoutStatus(x.before))); err != nil {
		return x.fail(v1alpha1.ReasonApplyFailed, err)
	}
	x.before.Finalizers = x.app.Finalizers
	return nil
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
	err := x.Client.Patch(ctx, withoutStatus(x.app), client.MergeFrom(withoutStatus(x.before)))
	x.memories.forget(x.name)
	return ctrl.Result{}, client.IgnoreNotFound(err)
}

// remove returns nil when nothing is left to remove.
func (x *run) remove(ctx context.Context) *result {
	if r := x.locate(ctx); r != nil {
		return r
	}
	inventory, err := ReadInventory(ctx, x.Uncached, x.app)
	if err == nil {
		err = x.watch(ctx, inventory)
	}
	if err != nil {
		return x.stuck(err)
	}
	t := engine.TargetOf(x.app, nil, x.destination)
	t.Known = inventory
	if x.planned, err = x.Engine.Removal(ctx, t, x.app.Spec.OnDelete == v1alpha1.Orphan); err != nil {
		return x.stuck(err)
	}
	if x.outcome, err = x.Engine.Sync(ctx, x.planned); err != nil {
		return x.stuck(err)
	}
	x.wakeClaimants(x.outcome.Written)
	if x.planned.Writes() {
		x.Recorder.Eventf(x.app, nil, corev1.EventTypeNormal, "Removed", "Prune", "%s", x.outcome.Counts)
		x.Log.InfoContext(ctx, "removed", "application", x.name.String(), "changes", x.outcome.Counts.String())
	}
	return nil
}

// stuck says why the Application does not go.
func (x *run) stuck(err error) *result {
	return x.fail(v1alpha1.ReasonTerminating, &terminating{err})
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
