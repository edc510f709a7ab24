// Package application keeps clusters as Git says: one loop that takes an
// Application, the Snapshot of its Repository and the news of its destination,
// and ends in one write of status, or in none if nothing changed.
package application

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/controller/cluster"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/engine/review"
	"mizzen.dev/mizzen/internal/observe"
	"mizzen.dev/mizzen/internal/render"
	sources "mizzen.dev/mizzen/internal/source"
)

const (
	// waiting is how many Applications may be in a reconcile at a time. Most
	// of them only wait for a wave, so there are many.
	waiting = 256
	// Finalizer holds an Application until its objects are gone.
	Finalizer = "mizzen.dev/prune"
)

// Reconciler syncs Applications.
type Reconciler struct {
	Client client.Client
	// Uncached reads Inventories, which are too large to be kept.
	Uncached client.Reader
	Sources  *sources.Sources
	Engine   *engine.Engine
	// Reviewer says what a revision does, for Applications with a gate.
	Reviewer *review.Reviewer
	// DefaultGate is that of Applications that set none; empty is None.
	DefaultGate v1alpha1.Gate
	// Served fails if the API server drops a field that this binary reads.
	Served       func(context.Context) error
	Destinations *cluster.Registry
	// Surroundings are what the destinations have beside Git, for reviews.
	Surroundings *cluster.Surroundings
	Recorder     events.EventRecorder
	// Log says in one line what happened to an Application: synced, restored,
	// or why not.
	Log      *slog.Logger
	Observer *observe.Observer
	Clock    clock.WithTicker
	// Busy bounds how many Applications are planned or applied at a time.
	Busy *render.Slots
	// Reviewing bounds how many revisions are reviewed at a time.
	Reviewing *render.Slots
	// Jitter returns a random duration below its argument.
	Jitter func(time.Duration) time.Duration

	memories  memories
	gates     gates
	announcer announcer
	// letGo counts how often Applications have let go of objects.
	letGo atomic.Uint64
	queue atomic.Pointer[workqueue.TypedRateLimitingInterface[reconcile.Request]]
}

// SetUp registers the loop.
func (r *Reconciler) SetUp(mgr ctrl.Manager) error {
	r.announcer = announcer{recorder: r.Recorder, clock: r.Clock}
	if err := mgr.Add(&r.announcer); err != nil {
		return err
	}
	if err := index(context.Background(), mgr.GetFieldIndexer()); err != nil {
		return err
	}
	skip := true
	return ctrl.NewControllerManagedBy(mgr).
		Named("application").
		WithOptions(controller.Options{
			MaxConcurrentReconciles: waiting, SkipNameValidation: &skip,
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, lastRetry),
		}).
		// Our own status does not wake the loop; what others wait for does.
		For(&v1alpha1.Application{}, builder.WithPredicates(r.outdating(), predicate.Or(
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{},
		))).
		Watches(&v1alpha1.Approval{}, handler.EnqueueRequestsFromMapFunc(r.approvalChanged)).
		WatchesRawSource(source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			r.queue.Store(&q)
			return nil
		})).
		Complete(r)
}

// enqueue asks for a reconcile. It never blocks.
func (r *Reconciler) enqueue(name mizzen.Name) {
	if q := r.queue.Load(); q != nil {
		(*q).Add(request(name))
	}
}

func request(name mizzen.Name) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: name.Namespace, Name: name.Name}}
}

// Reconcile brings one Application forward.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	name := mizzen.Name{Namespace: req.Namespace, Name: req.Name}
	var app v1alpha1.Application
	if err := r.Client.Get(ctx, req.NamespacedName, &app); err != nil {
		if apierrors.IsNotFound(err) {
			r.memories.forget(name)
			r.gates.leave(name)
			r.Observer.Metrics.ForgetApplication(name)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	m := r.memories.of(name)
	defer m.begin()()
	m.refresh(&app)
	m.learn(&app)
	x := &run{Reconciler: r, app: &app, before: app.DeepCopy(), name: name, m: m, now: r.Clock.Now()}
	if !app.DeletionTimestamp.IsZero() {
		return x.finalize(ctx)
	}
	result := x.do(ctx)
	if ctx.Err() != nil {
		// The next leader goes on; what has to be kept is kept already.
		return ctrl.Result{}, nil
	}
	if result.silent {
		if m.first() {
			r.show(&app)
		}
		return ctrl.Result{RequeueAfter: x.again(result.after)}, nil
	}
	x.say(ctx, result.finding)
	app.Status.HandledReconcile = app.Annotations[mizzen.AnnotationReconcile]
	result.finding.write(&app.Status, app.Generation, metav1.NewTime(x.now))
	told := equality.Semantic.DeepEqual(x.before.Status, app.Status)
	if err := x.save(ctx); err != nil {
		m.unsettle()
		return ctrl.Result{}, err
	}
	r.show(&app)
	if !told || !m.awaits() {
		// Who waits and says no more than before has no news for those who wait
		// for him; in a circle they would wake each other for ever.
		r.wakeDependents(ctx, name)
	}
	return ctrl.Result{RequeueAfter: x.again(result.after)}, nil
}

// again is when to reconcile next: after what a phase asked for, or sooner when
// the evaluation is to be repeated. A reconcile that an event caused takes the
// place of the one that was to come, so that each has to ask for it anew.
func (x *run) again(after time.Duration) time.Duration {
	until := x.m.settled().until
	if !until.After(x.now) {
		return after // none, or what came before the evaluation has the word
	}
	left := max(until.Sub(x.Clock.Now()), time.Millisecond)
	if after == 0 {
		return left
	}
	return min(after, left)
}

// show makes the metrics say how an Application is.
func (r *Reconciler) show(app *v1alpha1.Application) {
	shown := observe.Application{
		Name: mizzen.Name{Namespace: app.Namespace, Name: app.Name}, Repository: app.Spec.Source.Repository,
		Cluster: app.Spec.Destination.Cluster, Health: app.Status.Health, Conditions: map[string]string{},
	}
	for _, c := range app.Status.Conditions {
		shown.Conditions[c.Type] = string(c.Status)
		if c.Type == v1alpha1.ConditionSynced && c.Status != metav1.ConditionTrue {
			shown.BehindSince = c.LastTransitionTime.Time
		}
	}
	r.Observer.Metrics.SetApplication(shown)
}

// refresh replaces a status that the cache does not have yet by the one that
// was written, so that a reconcile never works on a state of the past.
func (m *memory) refresh(app *v1alpha1.Application) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.written == nil {
		return
	}
	if older(app.ResourceVersion, m.writtenVersion) {
		app.Status = *m.written.DeepCopy()
		return
	}
	m.written = nil
}

// arrived notes which version the cache has: a status that it has is not kept
// a second time.
func (m *memory) arrived(version string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cached = version
	if m.written != nil && !older(version, m.writtenVersion) {
		m.written = nil
	}
}

// older tells whether a resource version is known to be before another.
func older(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}

// save writes the status once, if it changed.
func (x *run) save(ctx context.Context) error {
	if equality.Semantic.DeepEqual(x.before.Status, x.app.Status) {
		return nil
	}
	status := x.app.Status
	patched := x.app.DeepCopy()
	if err := x.Client.Status().Patch(ctx, patched, client.MergeFrom(x.before)); err != nil {
		return client.IgnoreNotFound(err)
	}
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	if x.m.cached == "" || older(x.m.cached, patched.ResourceVersion) {
		x.m.written, x.m.writtenVersion = &status, patched.ResourceVersion
	}
	return nil
}
