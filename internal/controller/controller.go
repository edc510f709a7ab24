// Package controller runs Mizzen's loops: it installs what they need, elects a
// leader, joins the loops to each other, and serves webhooks, health and
// metrics.
package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/health"
	"mizzen.dev/mizzen/internal/observe"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/source"
	"mizzen.dev/mizzen/internal/source/git"
)

// Options configure a controller.
type Options struct {
	// Config reaches the cluster that holds the Applications.
	Config *rest.Config
	// Installation is the id of this installation; see mizzen.Manager.
	Installation string
	// StateDir holds mirrors and rendered output. It may be lost.
	StateDir string
	// Listen is the address of webhooks, health and metrics.
	Listen string
	// Install applies the CRDs first.
	Install bool
	// RenderTimeout is the wall clock for one rendering; zero means
	// render.DefaultTimeout.
	RenderTimeout time.Duration
	// AllowUnsandboxedRender renders although the system lacks what the
	// sandbox needs.
	AllowUnsandboxedRender bool
	// Traffic reviews revisions for the gate. It must be set: a gate that knows
	// no effects would let everything pass.
	Traffic TrafficPlanner
	// DefaultGate is the gate of Applications that set none; empty is None.
	DefaultGate v1alpha1.Gate
	// AllowFileRepositories permits file:// URLs.
	AllowFileRepositories bool
	// MaxMirrorBytes is the size on disk at which the fetch of a repository is
	// stopped; 0 is none.
	MaxMirrorBytes int64
	// Profile serves Go's profiles at /debug/pprof. They show what the process
	// works on, secrets in memory included.
	Profile bool
	Log     *slog.Logger
	// Version is this binary's, for traces.
	Version string
	// Leading is called when this process starts to lead.
	Leading func()
}

const (
	// LeaseName is the Lease in mizzen.SystemNamespace that the leader holds.
	LeaseName = "mizzen-controller"
	// leaseDuration is how long a dead leader is waited for. A home API that
	// is away for longer costs the lead, which is then taken again.
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
	// gracePeriod is how long the loops may take to end. It is over before the
	// Lease of a leader that cannot renew it is.
	gracePeriod = 4 * time.Second
	// cacheBytes bounds the rendered output on disk.
	cacheBytes = 2 << 30
)

// Controller is a controller process.
type Controller struct {
	Options
	clock    clock.WithTicker
	pool     *render.Pool
	memo     *render.Memo
	judge    *health.Judge
	store    *git.Store
	observer *observe.Observer
	status   *status
	home     *home
	identity *identity
	// http reaches the home API, in one connection for all terms.
	http *http.Client
}

// Run runs the loops until the context ends. Losing the lead, as after an
// outage of the home API, ends nothing: the loops start anew.
func Run(ctx context.Context, o Options) error {
	if o.Traffic == nil {
		return errors.New("a controller without a planner of traffic cannot guard its gates")
	}
	observe.Adopt(slog.New(quietly{o.Log.Handler()}))
	c := &Controller{Options: o, clock: clock.RealClock{}, status: &status{}}
	c.home = &home{log: o.Log, clock: c.clock}
	if err := c.open(ctx); err != nil {
		return err
	}
	defer c.close()
	if o.Install {
		if err := install(ctx, o.Config, o.Log); err != nil {
			return err
		}
	}
	stop, err := c.serve(ctx)
	if err != nil {
		return err
	}
	defer stop()
	c.Log.Info("started", "version", o.Version, "cluster", o.Config.Host, "state", o.StateDir)
	defer c.Log.Info("stopped")
	c.terms(ctx)
	return nil
}

// terms leads again and again until the context ends. The same failure is said
// once, however often it is met.
func (c *Controller) terms(ctx context.Context) {
	said := ""
	for {
		err := c.lead(ctx, c.term)
		if ctx.Err() != nil {
			return
		}
		switch {
		case unanswered(err):
			c.home.note(err)
		case errors.Is(err, errLost):
			c.Log.Warn("lost the lead; the loops start anew when it is won again")
		case err != nil && err.Error() != said:
			c.Log.Warn("the loops ended; starting them anew", "error", err)
			said = err.Error()
		}
		select {
		case <-ctx.Done():
			return
		case <-c.clock.After(retryPeriod):
		}
	}
}

// open prepares what outlives a term of leadership.
func (c *Controller) open(ctx context.Context) (err error) {
	if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	if c.identity, err = claimIdentity(c.StateDir, c.Config.Host); err != nil {
		return err
	}
	if c.identity.shared() {
		c.Log.Warn("another process uses this state directory too", "state", c.StateDir)
	}
	if c.http, err = rest.HTTPClientFor(c.Config); err != nil {
		return fmt.Errorf("client for %s: %w", c.Config.Host, err)
	}
	c.pool, err = render.NewPool(render.PoolConfig{Timeout: c.RenderTimeout, AllowUnsandboxed: c.AllowUnsandboxedRender})
	if err != nil {
		return err
	}
	kept, err := render.OpenCache(filepath.Join(c.StateDir, "renders"), cacheBytes, c.clock.Now)
	if err != nil {
		return err
	}
	metrics := observe.NewMetrics(c.clock.Now)
	traces, err := observe.StartTraces(ctx, c.Version, c.Log)
	if err != nil {
		return err
	}
	c.observer = &observe.Observer{Metrics: metrics, Traces: traces, Now: c.clock.Now}
	c.memo = render.NewMemo(render.MemoConfig{Pool: c.pool, Cache: kept, Now: c.clock.Now, Hooks: render.Hooks{
		Rendered: func(_ render.Renderer, took time.Duration, err error) { metrics.Rendered(took, err) },
		Kept:     func(render.Renderer) { metrics.RenderKept() },
		NotKept:  func(err error) { c.Log.Warn("rendered output is not kept", "error", err) },
	}})
	if c.judge, err = health.New(health.Options{}); err != nil {
		return err
	}
	c.store, err = git.NewStore(filepath.Join(c.StateDir, "git"), git.Options{
		AllowFile: c.AllowFileRepositories, MaxMirrorBytes: c.MaxMirrorBytes, Log: c.Log,
	})
	return err
}

func (c *Controller) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := c.observer.Traces.Stop(ctx); err != nil {
		c.Log.Warn("some traces were not sent", "error", err)
	}
	c.pool.Close()
	c.Traffic.Rest()
	if err := c.store.Close(); err != nil {
		c.Log.Warn("closing the Git mirrors", "error", err)
	}
	if err := c.identity.Close(); err != nil {
		c.Log.Warn("closing the state directory", "error", err)
	}
}

// errLost ends a term.
var errLost = errors.New("lost the lead")

// term runs the loops while this process leads.
func (c *Controller) term(ctx context.Context) error {
	mgr, err := c.manager()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	loops, err := c.loops(ctx, mgr)
	if err != nil {
		return err
	}
	defer loops.registry.Close()
	go func() {
		select {
		case <-mgr.Elected():
			c.status.begin(loops)
			c.Log.Info("leading")
			if c.Leading != nil {
				c.Leading()
			}
		case <-ctx.Done():
		}
	}()
	defer c.status.end()
	return mgr.Start(ctx)
}

// manager is what the loops of a term run in. It elects nobody: that is done
// before.
func (c *Controller) manager() (ctrl.Manager, error) {
	scheme, err := Scheme()
	if err != nil {
		return nil, err
	}
	config := rest.CopyConfig(c.Config)
	config.QPS = -1
	return ctrl.NewManager(config, ctrl.Options{
		Scheme:                  scheme,
		Metrics:                 metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress:  "0",
		GracefulShutdownTimeout: new(gracePeriod),
		Cache: cache.Options{
			DefaultTransform: cache.TransformStripManagedFields(),
			DefaultWatchErrorHandler: func(ctx context.Context, r *toolscache.Reflector, err error) {
				if unanswered(err) {
					c.home.note(err)
					return
				}
				toolscache.DefaultWatchErrorHandler(ctx, r, err)
			},
		},
	})
}

// engine returns the engine of a term.
func (c *Controller) engine() *engine.Engine {
	return &engine.Engine{Renderer: c.memo, Judge: c.judge, Clock: c.clock}
}

// sources returns the Repositories of a term.
func (c *Controller) sources() *source.Sources { return source.New(c.store) }

// busy is how many Applications of one namespace are planned or applied at a
// time: enough to keep the API server busy while others wait for it.
func busy() *render.Slots { return render.NewSlots(4*runtime.GOMAXPROCS(0), runtime.GOMAXPROCS(0)) }

func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}
