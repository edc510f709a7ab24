package cluster

import (
	"context"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
)

// retry is how often a cluster that does not answer is asked again; its
// watches usually tell earlier.
const retry = 30 * time.Second

// Reconciler says of each Cluster whether it answers.
type Reconciler struct {
	Client   client.Client
	Registry *Registry
	Clock    clock.PassiveClock

	queue atomic.Pointer[workqueue.TypedRateLimitingInterface[reconcile.Request]]
}

// SetUp registers the loop.
func (r *Reconciler) SetUp(mgr ctrl.Manager) error {
	skip := true
	return ctrl.NewControllerManagedBy(mgr).
		Named("cluster").
		WithOptions(controller.Options{
			SkipNameValidation: &skip,
			RateLimiter:        workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](time.Second, retry),
		}).
		For(&v1alpha1.Cluster{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			r.queue.Store(&q)
			return nil
		})).
		Complete(r)
}

// Trigger looks at a cluster now. It never blocks.
func (r *Reconciler) Trigger(name mizzen.Name) {
	if q := r.queue.Load(); q != nil && name != home {
		(*q).Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: name.Namespace, Name: name.Name}})
	}
}

// Reconcile asks one cluster whether it is there.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var found v1alpha1.Cluster
	if err := r.Client.Get(ctx, req.NamespacedName, &found); err != nil {
		if apierrors.IsNotFound(err) {
			r.Registry.Drop(mizzen.Name{Namespace: req.Namespace, Name: req.Name})
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := found.DeepCopy()
	version, err := r.ask(ctx, &found)
	ready := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonSucceeded, Message: "it answers",
		ObservedGeneration: found.Generation, LastTransitionTime: metav1.NewTime(r.Clock.Now()),
	}
	after := time.Duration(0)
	if err != nil {
		ready.Status, ready.Message, after = metav1.ConditionFalse, err.Error(), retry
		ready.Reason = v1alpha1.ReasonClusterUnreachable
		if kind := mizzen.KindOf(err); kind == mizzen.Invalid || kind == mizzen.NotFound {
			ready.Reason = v1alpha1.ReasonInvalidSpec
		}
	} else {
		found.Status.Version = version
	}
	found.Status.ObservedGeneration = found.Generation
	meta.SetStatusCondition(&found.Status.Conditions, ready)
	if !equality.Semantic.DeepEqual(before.Status, found.Status) {
		if err := r.Client.Status().Patch(ctx, &found, client.MergeFrom(before)); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
	}
	return ctrl.Result{RequeueAfter: after}, nil
}

func (r *Reconciler) ask(ctx context.Context, c *v1alpha1.Cluster) (version string, err error) {
	d, _, err := r.Registry.of(ctx, c.Namespace, c.Name)
	if err != nil {
		return "", err
	}
	if err := d.cluster.Reachable(ctx); err != nil {
		return "", err
	}
	version, _, err = d.cluster.Capabilities(ctx)
	return version, err
}
