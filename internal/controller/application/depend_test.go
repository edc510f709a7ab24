package application

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
)

// TestHeldApplicationWaitsForNoCommit: a rollback of an Application with
// dependencies waited until they were at the old commit, which they never are.
func TestHeldApplicationWaitsForNoCommit(t *testing.T) {
	of := func(change func(*v1alpha1.ApplicationSpec)) *v1alpha1.Application {
		app := &v1alpha1.Application{}
		app.Spec.Source.Repository = "demo"
		change(&app.Spec)
		return app
	}
	plain := of(func(*v1alpha1.ApplicationSpec) {})
	for name, c := range map[string]struct {
		other *v1alpha1.Application
		want  bool
	}{
		"same":             {of(func(*v1alpha1.ApplicationSpec) {}), true},
		"held":             {of(func(s *v1alpha1.ApplicationSpec) { s.Hold = &v1alpha1.Hold{Revision: "abc"} }), false},
		"other repository": {of(func(s *v1alpha1.ApplicationSpec) { s.Source.Repository = "other" }), false},
		"other revision":   {of(func(s *v1alpha1.ApplicationSpec) { s.Source.Revision = "v1" }), false},
	} {
		if got := together(plain, c.other); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		if got := together(c.other, plain); got != c.want {
			t.Errorf("%s, the other way round: %v, want %v", name, got, c.want)
		}
	}
}

// passing answers with an Application that is not ready yet, and does before it
// returns what happens meanwhile.
type passing struct {
	client.Client
	dependent v1alpha1.Application
	meanwhile func()
}

func (p passing) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	app := o.(*v1alpha1.Application)
	app.Namespace, app.Name = key.Namespace, key.Name
	p.meanwhile()
	return nil
}

func (p passing) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*v1alpha1.ApplicationList).Items = []v1alpha1.Application{p.dependent}
	return nil
}

// TestDependencyBecomesReadyMeanwhile: an Application that looked at its
// dependency just before that became ready was not woken, and waited until
// something else happened to it.
func TestDependencyBecomesReadyMeanwhile(t *testing.T) {
	app := v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
	app.Spec.DependsOn = []v1alpha1.ApplicationReference{{Name: "mesh"}}
	r := &Reconciler{}
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer q.ShutDown()
	r.queue.Store(&q)
	r.Client = passing{dependent: app, meanwhile: func() {
		r.wakeDependents(t.Context(), mizzen.Name{Namespace: "shop", Name: "mesh"})
	}}
	name := mizzen.Name{Namespace: "shop", Name: "web"}
	x := &run{Reconciler: r, app: &app, name: name, m: r.memories.of(name), snapshot: at{commit: "a"}}
	if got := x.await(t.Context()); got == nil || got.after != askAgain {
		t.Errorf("%+v, want it to wait, and to ask again after %s", got, askAgain)
	}
	if q.Len() != 1 {
		t.Errorf("%d reconciles are to come, want 1", q.Len())
	}
}
