package controller

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/controller/application"
	"mizzen.dev/mizzen/internal/controller/cluster"
	"mizzen.dev/mizzen/internal/controller/repository"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/engine/review"
	"mizzen.dev/mizzen/internal/live"
	"mizzen.dev/mizzen/internal/render"
)

// loops are those of one term of leadership.
type loops struct {
	registry     *cluster.Registry
	clusters     *cluster.Reconciler
	repositories *repository.Reconciler
	applications *application.Reconciler
}

// Scheme knows Kubernetes' own kinds and ours.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	if err := scheme.AddToScheme(s); err != nil {
		return nil, err
	}
	return s, v1alpha1.AddToScheme(s)
}

// loops makes the loops and joins them: a fetch wakes Applications, a watch
// wakes the Application whose object it is about.
func (c *Controller) loops(ctx context.Context, mgr ctrl.Manager) (*loops, error) {
	if err := served(ctx, mgr.GetAPIReader(), c.Log); err != nil {
		return nil, err
	}
	masker, err := planKey(ctx, mgr.GetAPIReader(), mgr.GetClient())
	if err != nil {
		return nil, err
	}
	l := &loops{registry: &cluster.Registry{
		Home: c.Config, Reader: mgr.GetAPIReader(), Writer: mgr.GetClient(), Installation: c.Installation, Masker: masker, Log: c.Log,
	}}
	l.registry.Bind(ctx)
	sources := c.sources()
	l.applications = &application.Reconciler{
		Client: mgr.GetClient(), Uncached: mgr.GetAPIReader(), Sources: sources, Engine: c.engine(), Destinations: l.registry,
		Surroundings: cluster.NewSurroundings(c.clock), DefaultGate: c.DefaultGate,
		Reviewer: &review.Reviewer{Renderer: c.memo, Traffic: c.Traffic, Analyzer: c.Traffic},
		Recorder: mgr.GetEventRecorder("mizzen"), Log: c.Log, Observer: c.observer, Clock: c.clock,
		Busy: busy(), Reviewing: render.NewSlots(1, 1), Jitter: jitter,
		Served: func(ctx context.Context) error { return served(ctx, mgr.GetAPIReader(), nil) },
	}
	l.repositories = &repository.Reconciler{
		Client: mgr.GetClient(), Secrets: mgr.GetAPIReader(), Sources: sources, Clock: c.clock, Log: c.Log,
		Changed: l.applications.RepositoryChanged,
	}
	if err := mgr.Add(&repository.Tidier{Sources: sources, Clock: c.clock, Log: c.Log}); err != nil {
		return nil, err
	}
	l.clusters = &cluster.Reconciler{Client: mgr.GetClient(), Registry: l.registry, Clock: c.clock}
	l.registry.Handler = func(name mizzen.Name) live.Handler { return c.news(ctx, l, name) }
	for _, set := range []func(ctrl.Manager) error{l.applications.SetUp, l.repositories.SetUp, l.clusters.SetUp} {
		if err := set(mgr); err != nil {
			return nil, fmt.Errorf("set up the loops: %w", err)
		}
	}
	return l, nil
}

// news hands the news of one cluster to the loops.
func (c *Controller) news(ctx context.Context, l *loops, name mizzen.Name) live.Handler {
	return live.Handler{
		Event: l.applications.Report,
		Kinds: func(schema.GroupResource) { l.applications.KindsChanged() },
		Watching: func(kind schema.GroupKind, err error) {
			if err != nil {
				c.Log.Warn("drift is not seen", "cluster", name.Name, "kind", kind.String(), "error", err)
			}
		},
		Reachable: func(err error) {
			if name == (mizzen.Name{Name: engine.InCluster}) {
				c.home.note(err)
			} else if err != nil {
				c.Log.Warn("the cluster does not answer", "cluster", name.Name, "error", err)
			} else {
				c.Log.Info("the cluster answers again", "cluster", name.Name)
			}
			l.clusters.Trigger(name)
			l.applications.Reachable(ctx, name)
		},
	}
}
