// Package repository keeps the mirrors of Repositories up to date: on a
// timer, and at once when a forge announces a push. It says in one condition
// whether that works, and tells the Applications when something is new.
package repository

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	sources "mizzen.dev/mizzen/internal/source"
)

const (
	// firstRetry and lastRetry bound the pause after a failed fetch.
	firstRetry = 2 * time.Second
	lastRetry  = 5 * time.Minute
	// parallel is how many Repositories are fetched at a time.
	parallel = 4
)

// Reconciler fetches Repositories.
type Reconciler struct {
	Client client.Client
	// Secrets reads Secrets without caching them.
	Secrets client.Reader
	Sources *sources.Sources
	Clock   clock.PassiveClock
	Log     *slog.Logger
	// Changed is called when a fetch brought something new, or anything for the
	// first time.
	Changed func(ctx context.Context, name mizzen.Name)

	triggers chan event.GenericEvent
	secrets  secrets
}

// SetUp registers the loop.
func (r *Reconciler) SetUp(mgr ctrl.Manager) error {
	r.triggers = make(chan event.GenericEvent, 256)
	skip := true
	return ctrl.NewControllerManagedBy(mgr).
		Named("repository").
		WithOptions(controller.Options{
			MaxConcurrentReconciles: parallel, SkipNameValidation: &skip,
			// What fails is the write of a status; to fetch again does not mend it.
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[ctrl.Request](firstRetry, lastRetry),
		}).
		// The spec and a wish to reconcile count, not our own status.
		For(&v1alpha1.Repository{}, builder.WithPredicates(predicate.Or(
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{},
		))).
		WatchesRawSource(source.Channel(r.triggers, &handler.EnqueueRequestForObject{})).
		Complete(r)
}

// Trigger asks for a fetch now.
func (r *Reconciler) Trigger(name mizzen.Name) {
	r.triggers <- event.GenericEvent{Object: &v1alpha1.Repository{
		ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name},
	}}
}

// Reconcile fetches one Repository and plans the next time.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	name := mizzen.Name{Namespace: req.Namespace, Name: req.Name}
	var repo v1alpha1.Repository
	if err := r.Client.Get(ctx, req.NamespacedName, &repo); err != nil {
		if apierrors.IsNotFound(err) {
			r.Sources.Forget(name)
			r.forgetSecrets(name)
			r.Changed(ctx, name)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if repo.Spec.Suspend || !repo.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	err := r.fetch(ctx, name, &repo)
	if ctx.Err() != nil {
		return ctrl.Result{}, nil
	}
	if writeErr := r.write(ctx, &repo, err); writeErr != nil {
		return ctrl.Result{}, writeErr
	}
	if err != nil && !r.Sources.Fetched(name) {
		// There is nothing to sync from; those who wait for it say so.
		r.Changed(ctx, name)
	}
	return ctrl.Result{RequeueAfter: r.pause(&repo, err)}, nil
}

func (r *Reconciler) fetch(ctx context.Context, name mizzen.Name, repo *v1alpha1.Repository) error {
	secrets, err := r.secretsOf(ctx, name, repo)
	if err != nil {
		return err
	}
	if err := r.Sources.Set(name, repo.Spec, secrets.credentials); err != nil {
		return err
	}
	first := !r.Sources.Fetched(name)
	fetched, err := r.Sources.Fetch(ctx, name)
	if err != nil {
		r.distrustSecrets(name)
		return err
	}
	snapshot, err := r.Sources.Snapshot(ctx, name, "")
	if err != nil {
		return revisionError{err}
	}
	moved := repo.Status.Revision != snapshot.Commit().ID
	repo.Status.Revision = snapshot.Commit().ID
	// Who looked before the first fetch found nothing to sync from, even if all
	// is as it was: at a start, or when the URL was another one for a while.
	if first || fetched.Changed || fetched.Rebuilt != "" || moved {
		r.Changed(ctx, name)
	}
	return nil
}

// revisionError is a failure to find the revision in what was fetched.
type revisionError struct{ error }

func (e revisionError) Unwrap() error { return e.error }

// write sets the Ready condition, and writes only if something changed.
func (r *Reconciler) write(ctx context.Context, repo *v1alpha1.Repository, err error) error {
	before := repo.DeepCopy()
	if getErr := r.Client.Get(ctx, client.ObjectKeyFromObject(repo), before); getErr != nil {
		return client.IgnoreNotFound(getErr)
	}
	repo.Status.ObservedGeneration = repo.Generation
	ready, stalled := r.verdict(repo, err)
	meta.SetStatusCondition(&repo.Status.Conditions, ready)
	if stalled {
		ready.Type, ready.Status = v1alpha1.ConditionStalled, metav1.ConditionTrue
		meta.SetStatusCondition(&repo.Status.Conditions, ready)
	} else {
		meta.RemoveStatusCondition(&repo.Status.Conditions, v1alpha1.ConditionStalled)
	}
	if equality.Semantic.DeepEqual(before.Status, repo.Status) {
		return nil
	}
	if err := r.Client.Status().Patch(ctx, repo, client.MergeFrom(before)); err != nil {
		return client.IgnoreNotFound(err)
	}
	r.say(ctx, &before.Status, repo)
	return nil
}

// say logs one line for each new revision, and one when fetching begins or
// ceases to fail.
func (r *Reconciler) say(ctx context.Context, before *v1alpha1.RepositoryStatus, repo *v1alpha1.Repository) {
	was := meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionReady)
	ready := meta.FindStatusCondition(repo.Status.Conditions, v1alpha1.ConditionReady)
	name := client.ObjectKeyFromObject(repo).String()
	switch {
	case ready.Status != metav1.ConditionTrue && (was == nil || was.Status != ready.Status || was.Reason != ready.Reason):
		r.Log.WarnContext(ctx, "not fetched", "repository", name, "reason", ready.Reason, "message", ready.Message)
	case ready.Status == metav1.ConditionTrue && (was == nil || was.Status != ready.Status || before.Revision != repo.Status.Revision):
		r.Log.InfoContext(ctx, "fetched", "repository", name, "commit", repo.Status.Revision)
	}
}

func (r *Reconciler) verdict(repo *v1alpha1.Repository, err error) (ready metav1.Condition, stalled bool) {
	ready = metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonFetched,
		Message:            "fetched",
		ObservedGeneration: repo.Generation, LastTransitionTime: metav1.NewTime(r.Clock.Now()),
	}
	if err == nil {
		return ready, false
	}
	ready.Status, ready.Message = metav1.ConditionFalse, err.Error()
	kind := mizzen.KindOf(err)
	switch {
	case errors.As(err, &revisionError{}):
		ready.Reason = v1alpha1.ReasonRevisionNotFound
	case kind == mizzen.Forbidden:
		ready.Reason = v1alpha1.ReasonAuthenticationFailed
	case kind == mizzen.Invalid || kind == mizzen.Refused:
		ready.Reason, stalled = v1alpha1.ReasonInvalidSpec, true
	default:
		ready.Reason = v1alpha1.ReasonFetchFailed
	}
	return ready, stalled
}

// pause is the interval after a success. After failures it doubles from
// firstRetry on for as long as the condition has been false, so that no count
// needs to be kept.
func (r *Reconciler) pause(repo *v1alpha1.Repository, err error) time.Duration {
	interval := max(repo.Spec.Interval.Duration, time.Second)
	if err == nil {
		return interval
	}
	since := time.Duration(0)
	if c := meta.FindStatusCondition(repo.Status.Conditions, v1alpha1.ConditionReady); c != nil {
		since = r.Clock.Since(c.LastTransitionTime.Time)
	}
	return min(max(firstRetry, since), lastRetry, max(interval, firstRetry))
}
