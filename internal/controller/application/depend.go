package application

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
)

// Index names of the cache: Applications by what they refer to.
const (
	byRepository = "repository"
	byDependency = "dependency"
	byCluster    = "cluster"
)

// askAgain is when to ask dependencies again that have not told yet. They wake
// who waits for them; nobody waits for ever if one of them does not.
const askAgain = 30 * time.Second

// index makes the cache answer who uses a Repository, and who waits for an
// Application.
func index(ctx context.Context, indexer client.FieldIndexer) error {
	err := indexer.IndexField(ctx, &v1alpha1.Application{}, byRepository, func(o client.Object) []string {
		return []string{o.(*v1alpha1.Application).Spec.Source.Repository}
	})
	if err != nil {
		return err
	}
	err = indexer.IndexField(ctx, &v1alpha1.Application{}, byCluster, func(o client.Object) []string {
		return []string{o.(*v1alpha1.Application).Spec.Destination.Cluster}
	})
	if err != nil {
		return err
	}
	return indexer.IndexField(ctx, &v1alpha1.Application{}, byDependency, func(o client.Object) []string {
		var names []string
		for _, d := range o.(*v1alpha1.Application).Spec.DependsOn {
			names = append(names, d.Name)
		}
		return names
	})
}

// list returns the Applications of a namespace by an index. They are the
// cache's own: the caller must not change them.
func (r *Reconciler) list(ctx context.Context, namespace, index, value string) []v1alpha1.Application {
	var apps v1alpha1.ApplicationList
	err := r.Client.List(ctx, &apps, client.InNamespace(namespace), client.MatchingFields{index: value}, client.UnsafeDisableDeepCopy)
	if err != nil {
		// The cache only fails while it is being stopped.
		return nil
	}
	return apps.Items
}

// wakeDependents lets those go on who wait for an Application.
func (r *Reconciler) wakeDependents(ctx context.Context, name mizzen.Name) {
	for _, app := range r.list(ctx, name.Namespace, byDependency, name.Name) {
		dependent := mizzen.Name{Namespace: app.Namespace, Name: app.Name}
		if r.memories.of(dependent).awaits() {
			r.enqueue(dependent)
		}
	}
}

// await waits until every dependency is healthy, and at the same revision if
// it is of the same Repository.
func (x *run) await(ctx context.Context) *result {
	// Noted before anybody is asked: what becomes ready meanwhile wakes only
	// those who are known to wait for it.
	waited := x.m.awaits()
	x.m.setAwaiting(true)
	if circle := x.circle(ctx, x.app.Spec.DependsOn, []string{x.name.Name}, map[string]bool{}); circle != nil {
		return x.stall(v1alpha1.ReasonInvalidSpec, fmt.Sprintf("spec.dependsOn goes in a circle: %s; take one of these dependencies away",
			strings.Join(circle, " waits for ")))
	}
	for _, d := range x.app.Spec.DependsOn {
		if why := x.dependency(ctx, d.Name); why != "" {
			r := x.standBy(ctx, fmt.Sprintf("waits for application %s: %s", d.Name, why))
			if r.after == 0 || r.after > askAgain {
				r.after = askAgain
			}
			return r
		}
	}
	x.m.setAwaiting(false)
	if waited {
		x.m.unsettle()
	}
	return nil
}

// standBy keeps what runs as the last synced revision says, and judges it, while
// the Application waits for another.
func (x *run) standBy(ctx context.Context, why string) *result {
	waits := x.waitingFor(v1alpha1.ReasonDependencyNotReady, why)
	x.settle(true)
	if x.app.Status.Revision == "" {
		return &result{finding: waits}
	}
	meanwhile := x.news(ctx)
	if meanwhile == nil || meanwhile.silent {
		r := &result{finding: waits}
		if meanwhile != nil {
			r.after = meanwhile.after
		}
		return r
	}
	meanwhile.finding.synced, meanwhile.finding.reconciling = waits.synced, true
	return meanwhile
}

// circle returns the way from the Application over dependencies back to
// itself; nil if there is none.
func (x *run) circle(ctx context.Context, dependencies []v1alpha1.ApplicationReference, way []string, seen map[string]bool) []string {
	for _, d := range dependencies {
		if d.Name == x.name.Name {
			return append(way, d.Name)
		}
		var app v1alpha1.Application
		key := client.ObjectKey{Namespace: x.name.Namespace, Name: d.Name}
		if seen[d.Name] || x.Client.Get(ctx, key, &app) != nil {
			continue
		}
		seen[d.Name] = true
		if found := x.circle(ctx, app.Spec.DependsOn, append(way, d.Name), seen); found != nil {
			return found
		}
	}
	return nil
}

// dependency says why a dependency is not ready; "" if it is.
func (x *run) dependency(ctx context.Context, name string) string {
	var app v1alpha1.Application
	key := client.ObjectKey{Namespace: x.name.Namespace, Name: name}
	if err := x.Client.Get(ctx, key, &app); err != nil {
		if client.IgnoreNotFound(err) == nil {
			return "it does not exist"
		}
		return err.Error()
	}
	m := x.memories.of(mizzen.Name{Namespace: app.Namespace, Name: app.Name})
	m.refresh(&app)
	if app.Status.ObservedGeneration != app.Generation {
		return "its spec has just changed"
	}
	for _, condition := range []string{v1alpha1.ConditionSynced, v1alpha1.ConditionHealthy} {
		c := meta.FindStatusCondition(app.Status.Conditions, condition)
		if c == nil {
			return "it is not synced yet"
		}
		if c.Status != "True" {
			return c.Message
		}
	}
	commit := x.snapshot.Commit().ID
	if together(&app, x.app) && !m.evaluated(commit) {
		return fmt.Sprintf("it is not at %.8s yet", commit)
	}
	return ""
}

// together tells whether two Applications go through the commits of a
// Repository together. One that is held stays behind, and would wait for ever
// for a commit that the others have left.
func together(a, b *v1alpha1.Application) bool {
	return a.Spec.Source.Repository == b.Spec.Source.Repository && a.Spec.Source.Revision == b.Spec.Source.Revision &&
		a.Spec.Hold == nil && b.Spec.Hold == nil
}
