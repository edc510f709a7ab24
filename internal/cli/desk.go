package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
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
	"mizzen.dev/mizzen/internal/traffic/worker"
	"mizzen.dev/mizzen/internal/webhook"
)

// desk is what a verb needs to render and plan on the user's own machine.
type desk struct {
	app     *app
	engine  *engine.Engine
	traffic *worker.Planner
	closers []func()
	// assesses: plans say what they do to traffic, and what policy says of that;
	// judges: it is an error if that is not known.
	assesses, judges bool
	// surroundings are what destinations have beside Git, by their names.
	surroundings map[string][]mizzen.Object
	// sources holds what was fetched, made by the first fetch; ready names it.
	sources *source.Sources
	ready   map[mizzen.Name]bool
}

// desk starts one; close it. Charts are confined as far as this system can;
// what it cannot do is said.
func (a *app) desk() (*desk, error) {
	return a.deskOn(render.PoolConfig{AllowUnsandboxed: true})
}

func (a *app) deskOn(config render.PoolConfig) (*desk, error) {
	pool, err := render.NewPool(config)
	if err != nil {
		return nil, err
	}
	judge, err := health.New(health.Options{})
	if err != nil {
		return nil, err
	}
	// What the system offers is one thing, what a worker got another: it is
	// known once one has run.
	var warned sync.Once
	warn := func() {
		if report := pool.Sandbox(); !report.Confined() {
			warned.Do(func() {
				fmt.Fprintf(a.Err, "warning: charts are rendered with less protection than in the controller: %s\n", report)
			})
		}
	}
	warn()
	memo := render.NewMemo(render.MemoConfig{Pool: pool, Hooks: render.Hooks{
		Rendered: func(render.Renderer, time.Duration, error) { warn() },
	}})
	// It starts with its first question, when all is rendered: render workers and
	// one with a large mesh need not be in memory together.
	planner := &worker.Planner{Client: &worker.Client{AllowUnsandboxed: config.AllowUnsandboxed, Starting: pool.Rest}}
	return &desk{
		app: a, closers: []func(){pool.Close, planner.Client.Close}, ready: map[mizzen.Name]bool{}, traffic: planner, surroundings: map[string][]mizzen.Object{},
		engine: &engine.Engine{Renderer: memo, Judge: judge, Clock: a.clock, Analyzer: planner},
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
	switch {
	case isCommit(f.revision):
		if s := d.committed(ctx, &repo, f.revision); s != nil {
			return s, nil
		}
	case f.revision == "" && !f.fetch:
		if s, err := d.clone(ctx, &repo, f.local); s != nil || err != nil {
			return s, err
		}
	}
	return d.fetched(ctx, c, &repo, app, f.revision)
}

// isCommit tells whether a revision is a whole commit id, whose content is the
// same everywhere.
func isCommit(revision string) bool {
	return len(revision) >= 40 && strings.Trim(revision, "0123456789abcdef") == ""
}

// committed returns a commit from the clone that the user stands in; nil if
// that is none of the Repository, or lacks the commit.
func (d *desk) committed(ctx context.Context, repo *v1alpha1.Repository, commit string) mizzen.Snapshot {
	local, err := git.OpenLocal(ctx, ".", git.Options{})
	if err != nil {
		return nil
	}
	d.closers = append(d.closers, func() { _ = local.Close() })
	if !isCloneOf(ctx, local, repo) {
		return nil
	}
	snapshot, err := local.Snapshot(ctx, commit)
	if err != nil {
		return nil
	}
	return snapshot
}

func isCloneOf(ctx context.Context, local *git.Local, repo *v1alpha1.Repository) bool {
	origin, err := local.OriginURL(ctx)
	return err == nil && origin != "" && webhook.Key(origin) == webhook.Key(repo.Spec.URL)
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
	same, root := isCloneOf(ctx, local, repo), local.Root()
	_ = local.Close()
	if !named && !same {
		return nil, nil
	}
	opened, err := dir.Open(ctx, path, git.Options{})
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, opened.Close)
	fmt.Fprintf(d.app.Err, "using the files of %s (%s)\n", root, opened.Snapshot.Commit().Short())
	return opened.Snapshot, nil
}

// fetched returns what the Repository holds, read with the user's own right to
// its credentials.
func (d *desk) fetched(ctx context.Context, c client.Client, repo *v1alpha1.Repository, app *v1alpha1.Application, revision string) (mizzen.Snapshot, error) {
	name := mizzen.Name{Namespace: repo.Namespace, Name: repo.Name}
	if !d.ready[name] {
		if err := d.fetch(ctx, c, repo, name); err != nil {
			return nil, err
		}
		d.ready[name] = true
	}
	if revision == "" {
		revision = app.Spec.Source.Revision
	}
	return d.sources.Snapshot(ctx, name, revision)
}

func (d *desk) fetch(ctx context.Context, c client.Client, repo *v1alpha1.Repository, name mizzen.Name) error {
	if d.sources == nil {
		store, err := git.NewStore(filepath.Join(defaultStateDir(), "git"), git.Options{AllowFile: true})
		if err != nil {
			return err
		}
		d.closers = append(d.closers, func() { _ = store.Close() })
		d.sources = source.New(store)
	}
	var credentials map[string][]byte
	if ref := repo.Spec.SecretRef; ref != nil {
		var secret corev1.Secret
		key := client.ObjectKey{Namespace: repo.Namespace, Name: ref.Name}
		if err := c.Get(ctx, key, &secret); err != nil {
			return explain(err, "secret "+key.String(), "create it; or plan from a clone with --local")
		}
		credentials = secret.Data
	}
	if err := d.sources.Set(name, repo.Spec, credentials); err != nil {
		return err
	}
	_, err := d.sources.Fetch(ctx, name)
	return err
}

// destination is where the Application goes, written to as the user.
func (d *desk) destination(ctx context.Context, c client.Client, config *rest.Config, app *v1alpha1.Application, installation string) (engine.Destination, error) {
	name, config, err := destinationConfig(ctx, c, config, app)
	if err != nil {
		return engine.Destination{}, err
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

// destinationConfig returns how to reach the cluster that an Application goes
// to, and its name.
func destinationConfig(ctx context.Context, c client.Client, home *rest.Config, app *v1alpha1.Application) (string, *rest.Config, error) {
	name := app.Spec.Destination.Cluster
	if name == "" {
		return engine.InCluster, home, nil
	}
	config, err := cluster.Config(ctx, c, mizzen.Name{Namespace: app.Namespace, Name: name})
	if err != nil {
		return "", nil, explain(err, "cluster "+app.Namespace+"/"+name, "create it, or correct spec.destination.cluster")
	}
	config.QPS = -1
	config.Wrap(patient(firstAnswer))
	return name, config, nil
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
	// A plan is for somebody who wants to know: new objects are dry-run too.
	t.Options.FieldOrigins, t.Recheck, t.Policy.DryRunCreates = true, true, true
	return t, err
}
