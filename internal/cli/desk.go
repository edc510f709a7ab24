package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/apply"
	"mizzen.dev/mizzen/internal/controller"
	"mizzen.dev/mizzen/internal/controller/application"
	"mizzen.dev/mizzen/internal/controller/cluster"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/health"
	"mizzen.dev/mizzen/internal/lint"
	"mizzen.dev/mizzen/internal/live"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/source"
	"mizzen.dev/mizzen/internal/source/dir"
	"mizzen.dev/mizzen/internal/source/git"
	"mizzen.dev/mizzen/internal/webhook"
)

// desk is what a verb needs to render and plan on the user's own machine.
type desk struct {
	app     *app
	pool    *render.Pool
	engine  *engine.Engine
	closers []func()
}

// desk starts one; close it. Charts are confined as far as this system can;
// what it cannot do is said.
func (a *app) desk() (*desk, error) {
	pool, err := render.NewPool(render.PoolConfig{AllowUnsandboxed: true})
	if err != nil {
		return nil, err
	}
	judge, err := health.New(health.Options{})
	if err != nil {
		return nil, err
	}
	if report := pool.Sandbox(); !report.Confined() {
		fmt.Fprintf(a.Err, "warning: charts are rendered with less protection than in the controller: %s\n", report)
	}
	return &desk{
		app: a, pool: pool, closers: []func(){pool.Close},
		engine: &engine.Engine{Renderer: render.NewMemo(render.MemoConfig{Pool: pool}), Judge: judge, Clock: clock.RealClock{}},
	}, nil
}

func (d *desk) close() {
	for i := len(d.closers) - 1; i >= 0; i-- {
		d.closers[i]()
	}
}

// contentFlags say what to plan: a clone's files, or a revision.
type contentFlags struct {
	local    string
	revision string
	// fetch asks Git, wherever the user stands.
	fetch bool
}

// content returns the Snapshot to plan an Application from: a revision if one
// is named, else the files of the clone that the user stands in, if it is a
// clone of the Application's Repository, else what the Repository is at.
func (d *desk) content(ctx context.Context, c client.Client, app *v1alpha1.Application, f contentFlags) (mizzen.Snapshot, error) {
	var repo v1alpha1.Repository
	key := client.ObjectKey{Namespace: app.Namespace, Name: app.Spec.Source.Repository}
	if err := c.Get(ctx, key, &repo); err != nil {
		return nil, explain(err, "repository "+key.String(), "create it, or correct spec.source.repository")
	}
	if f.revision == "" && !f.fetch {
		s, err := d.clone(ctx, &repo, f.local)
		if s != nil || err != nil {
			return s, err
		}
	}
	return d.fetched(ctx, c, &repo, app, f.revision)
}

// clone returns the files of a clone of the Repository; nil if the user stands
// in none.
func (d *desk) clone(ctx context.Context, repo *v1alpha1.Repository, path string) (mizzen.Snapshot, error) {
	named := path != ""
	if !named {
		path = "."
	}
	local, err := git.OpenLocal(ctx, path, git.Options{})
	if err != nil {
		if named {
			return nil, err
		}
		return nil, nil
	}
	origin, err := local.OriginURL(ctx)
	_ = local.Close()
	if err != nil {
		return nil, err
	}
	if !named && (origin == "" || webhook.Key(origin) != webhook.Key(repo.Spec.URL)) {
		return nil, nil
	}
	opened, err := dir.Open(ctx, path, git.Options{})
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, opened.Close)
	fmt.Fprintf(d.app.Err, "using the files of %s (%s)\n", local.Root(), opened.Snapshot.Commit().Short())
	return opened.Snapshot, nil
}

// fetched returns what the Repository holds, read with the user's own right to
// its credentials.
func (d *desk) fetched(ctx context.Context, c client.Client, repo *v1alpha1.Repository, app *v1alpha1.Application, revision string) (mizzen.Snapshot, error) {
	store, err := git.NewStore(filepath.Join(defaultStateDir(), "git"), git.Options{AllowFile: true})
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, func() { _ = store.Close() })
	var credentials map[string][]byte
	if ref := repo.Spec.SecretRef; ref != nil {
		var secret corev1.Secret
		key := client.ObjectKey{Namespace: repo.Namespace, Name: ref.Name}
		if err := c.Get(ctx, key, &secret); err != nil {
			return nil, explain(err, "secret "+key.String(), "create it; or plan from a clone with --local")
		}
		credentials = secret.Data
	}
	sources, name := source.New(store), mizzen.Name{Namespace: repo.Namespace, Name: repo.Name}
	if err := sources.Set(name, repo.Spec, credentials); err != nil {
		return nil, err
	}
	if _, err := sources.Fetch(ctx, name); err != nil {
		return nil, err
	}
	if revision == "" {
		revision = app.Spec.Source.Revision
	}
	return sources.Snapshot(ctx, name, revision)
}

// destination is where the Application goes, written to as the user.
func (d *desk) destination(ctx context.Context, c client.Client, config *rest.Config, app *v1alpha1.Application, installation string) (engine.Destination, error) {
	name := engine.InCluster
	if app.Spec.Destination.Cluster != "" {
		var err error
		name = app.Spec.Destination.Cluster
		if config, err = cluster.Config(ctx, c, mizzen.Name{Namespace: app.Namespace, Name: name}); err != nil {
			return engine.Destination{}, err
		}
	}
	reader, err := live.New(config, live.Options{Installation: installation})
	if err != nil {
		return engine.Destination{}, err
	}
	writer, err := apply.New(config, apply.Options{
		Installation: installation,
		Mapper: func(ctx context.Context, gvk schema.GroupVersionKind) (schema.GroupVersionResource, bool, error) {
			r, err := reader.Resource(ctx, gvk)
			return r.GVR(), r.Namespaced, err
		},
	})
	if err != nil {
		return engine.Destination{}, err
	}
	masker, ok := controller.ReadPlanKey(ctx, c)
	if !ok {
		fmt.Fprintln(d.app.Err, "warning: you may not read Mizzen's plan key, so changes of Secrets are hidden and the digest may differ from the controller's")
	}
	return engine.Destination{
		Name: name, Installation: installation, Cluster: reader, Writer: writer,
		Schemas: lint.FromCluster(reader.OpenAPI), Masker: masker,
	}, nil
}

// target says what to plan for one Application.
func (d *desk) target(ctx context.Context, c client.Client, config *rest.Config, app *v1alpha1.Application, f contentFlags) (engine.Target, error) {
	snapshot, err := d.content(ctx, c, app, f)
	if err != nil {
		return engine.Target{}, err
	}
	destination, err := d.destination(ctx, c, config, app, mizzen.DefaultInstallation)
	if err != nil {
		return engine.Target{}, err
	}
	t := engine.TargetOf(app, snapshot, destination)
	t.Known, err = application.ReadInventory(ctx, c, app)
	t.Options.FieldOrigins, t.Recheck = true, true
	return t, err
}

var errNoTerminal = errors.New("nobody is here to confirm")
