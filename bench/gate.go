package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine/discover"
	"mizzen.dev/mizzen/internal/engine/review"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/source"
	"mizzen.dev/mizzen/internal/source/git"
	"mizzen.dev/mizzen/internal/traffic/worker"
)

// planWarm reviews changed weights as a controller's gate does: those of one
// Application of a city, as a canary moves them, and of one after the other, among
// all others of its cluster, in one process that has reviewed before.
func planWarm(ctx context.Context, b *bench) error {
	services := b.n(1000)
	g, err := newGate(ctx, services)
	if err != nil {
		return err
	}
	defer g.close()
	cold, err := g.change(ctx, 0)
	if err != nil {
		return err
	}
	same, err := g.changes(ctx, 2*b.runs, func(int) int { return 0 })
	if err != nil {
		return err
	}
	other, err := g.changes(ctx, 2*b.runs, func(i int) int { return (1 + 7*i) % services })
	if err != nil {
		return err
	}
	b.results.keep("plan-warm/first-seconds", cold.Seconds())
	b.results.keep("plan-warm/seconds", same...)
	b.results.keep("plan-warm/other-seconds", other...)
	changes := fmt.Sprintf("%d changes", len(same))
	b.results.add(fmt.Sprintf("review of a further weight by the gate among %d services and Applications, in a warm controller, seconds", services),
		spread(same, "%.2f"), "<= 1 s", changes)
	b.results.add("the same of a service after another, seconds", spread(other, "%.2f"), "<= 1 s", changes)
	b.results.add("the first review in a new controller, which renders all Applications, seconds", fmt.Sprintf("%.2f", cold.Seconds()), "", "1 run")
	return nil
}

// gate is what a controller reviews with, and a repository of its own.
type gate struct {
	clone        string
	applications []*v1alpha1.Application
	// weights are those that services were given instead of the first 90, in
	// percent.
	weights  map[int]int
	sources  *source.Sources
	reviewer review.Reviewer
	closers  []func()
}

// city is the Repository, whose revision is the branch of the clone.
var city = mizzen.Name{Namespace: "city", Name: "city"}

// newGate makes a city, each service an Application, and fetches it.
func newGate(ctx context.Context, services int) (g *gate, err error) {
	g = &gate{weights: map[int]int{}}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	dir, err := os.MkdirTemp("", "mizzen-bench-")
	if err != nil {
		return nil, err
	}
	g.closers = append(g.closers, func() { _ = os.RemoveAll(dir) }) // of no further use
	g.clone = filepath.Join(dir, "clone")
	if err := writeCity(g.clone, services); err != nil {
		return nil, err
	}
	if err := commit(ctx, g.clone); err != nil {
		return nil, err
	}
	for i := range services {
		g.applications = append(g.applications, applicationOf(i))
	}
	if err := g.open(ctx, dir); err != nil {
		return nil, err
	}
	return g, g.sync(ctx, "")
}

// applicationOf is the Application of a service, as the cluster has it.
func applicationOf(i int) *v1alpha1.Application {
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: city.Namespace, Name: fmt.Sprintf("svc-%d", i)}}
	app.Spec.Source = v1alpha1.ApplicationSource{Repository: city.Name, Path: app.Name}
	app.Spec.Destination.Namespace = fmt.Sprintf("team-%d", i/10)
	return app
}

// open makes the parts of a controller that review.
func (g *gate) open(ctx context.Context, dir string) error {
	binary, err := filepath.Abs("bin/mizzen")
	if err != nil {
		return err
	}
	pool, err := render.NewPool(render.PoolConfig{Command: []string{binary, render.WorkerCommand}})
	if err != nil {
		return err
	}
	planner := &worker.Planner{Client: &worker.Client{Executable: binary}, Beside: &worker.Client{Executable: binary}}
	g.closers = append(g.closers, pool.Close, planner.Rest)
	kept, err := render.OpenCache(filepath.Join(dir, "renders"), render.DefaultCacheBytes, nil)
	if err != nil {
		return err
	}
	g.reviewer = review.Reviewer{
		Renderer: render.NewMemo(render.MemoConfig{Pool: pool, Cache: kept}), Traffic: planner, Analyzer: planner,
	}
	store, err := git.NewStore(filepath.Join(dir, "git"), git.Options{AllowFile: true})
	if err != nil {
		return err
	}
	g.closers = append(g.closers, func() { _ = store.Close() }) // with all that it is about
	g.sources = source.New(store)
	if err := g.sources.Set(city, v1alpha1.RepositorySpec{URL: "file://" + g.clone, Revision: "HEAD"}, nil); err != nil {
		return err
	}
	_, err = g.sources.Fetch(ctx, city)
	return err
}

func (g *gate) close() {
	for i := len(g.closers) - 1; i >= 0; i-- {
		g.closers[i]()
	}
}

// sync makes a revision the one that all Applications are at; "" is the newest.
func (g *gate) sync(ctx context.Context, revision string) error {
	s, err := g.sources.Snapshot(ctx, city, revision)
	if err != nil {
		return err
	}
	for _, app := range g.applications {
		app.Status.Revision = s.Commit().ID
	}
	return nil
}

// changes returns the seconds of n reviews; which says the service of each.
func (g *gate) changes(ctx context.Context, n int, which func(i int) int) (seconds []float64, err error) {
	for i := range n {
		took, err := g.change(ctx, which(i))
		if err != nil {
			return nil, err
		}
		seconds = append(seconds, took.Seconds())
	}
	return seconds, nil
}

// change gives a service a weight that is smaller by one, and returns how long
// the review of that takes. The commit is synced then.
func (g *gate) change(ctx context.Context, service int) (time.Duration, error) {
	name := fmt.Sprintf("svc-%d", service)
	file := filepath.Join(g.clone, name, "service.yaml")
	was := cmp.Or(g.weights[service], 90)
	g.weights[service] = was - 1
	text := func(weight int) string { return fmt.Sprint("weight: ", weight, "\n") }
	if err := edit(file, text(was), text(was-1), text(100-was), text(101-was)); err != nil {
		return 0, err
	}
	if err := commit(ctx, g.clone); err != nil {
		return 0, err
	}
	if _, err := g.sources.Fetch(ctx, city); err != nil {
		return 0, err
	}
	begin := time.Now()
	r, err := g.review(ctx, g.applications[service])
	took := time.Since(begin)
	if err != nil {
		return 0, err
	}
	if len(r.Effects) != 1 || r.Effects[0].Code != mizzen.EffectWeights || !strings.HasPrefix(r.Effects[0].Subject, name+".") {
		return 0, fmt.Errorf("the review of %s tells other effects than the weight: %+v; findings: %+v", name, r.Effects, r.Findings)
	}
	return took, g.sync(ctx, "")
}

// review does what the controller's loop does for an Application with a gate
// (internal/controller/application/review.go), but for the look at the cluster.
func (g *gate) review(ctx context.Context, app *v1alpha1.Application) (*mizzen.Review, error) {
	base, baseErr := g.sources.Snapshot(ctx, city, app.Status.Revision)
	head, headErr := g.sources.Snapshot(ctx, city, "")
	if err := errors.Join(baseErr, headErr); err != nil {
		return nil, err
	}
	var others []review.Neighbor
	for _, other := range g.applications {
		if other == app {
			continue
		}
		at, err := g.sources.Snapshot(ctx, city, other.Status.Revision)
		if err != nil {
			return nil, err
		}
		others = append(others, review.Neighbor{Application: discover.Of(other), At: at})
	}
	return g.reviewer.Single(ctx, review.Single{Application: discover.Of(app), Base: base, Head: head, Others: others})
}
