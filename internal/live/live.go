// Package live is what a cluster has: which kinds it knows, what its objects
// look like, who owns them, and the news when one of them leaves the state it
// was synced to.
//
// In come a rest.Config (one cluster, one identity) and identities of objects;
// out go objects, metadata and Events. The package only reads; it never writes
// to a cluster. Drift is read off metadata.managedFields by watches that carry
// metadata alone, so a steady state costs no request and little memory.
package live

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/singleflight"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"mizzen.dev/mizzen"
)

const (
	// userAgent is how the API server's audit log knows us.
	userAgent = "mizzen"
	// requestTimeout bounds every request but watches.
	requestTimeout = 30 * time.Second
	// maxInFlight bounds the requests of one Cluster that run at a time. The
	// server's own priority and fairness does the rest.
	maxInFlight = 16
)

// Options says on whose behalf a Cluster is read.
type Options struct {
	// Installation is the value of mizzen.dev/managed; empty stands for
	// mizzen.DefaultInstallation.
	Installation string
	// Exclusive lists kinds, beyond the built-in ones, whose fields nobody
	// else may add to.
	Exclusive []schema.GroupKind
	// HTTPClient is used for all requests if it is not nil; it must not have a
	// Timeout, which would end watches. Without it one is made of the config.
	HTTPClient *http.Client
	// Clock is the real one if it is nil.
	Clock clock.WithTicker
}

// Cluster reads one cluster with one identity. It is safe for concurrent use,
// and keeps no connection or goroutine of its own unless Watch is called.
type Cluster struct {
	installation string
	manager      string
	host         string
	exclusive    map[schema.GroupKind]bool
	clock        clock.WithTicker

	http      *http.Client
	rest      rest.Interface
	discovery *discovery.DiscoveryClient
	dynamic   dynamic.Interface
	metadata  metadata.Interface

	inFlight  chan struct{}
	presences presences
	once      singleflight.Group
	kinds     kindCache
	schemas   schemaCache
}

// New returns a Cluster. It sends no request yet, so an error means that the
// config itself is unusable; it is of Kind Invalid.
func New(config *rest.Config, o Options) (*Cluster, error) {
	cfg := rest.CopyConfig(config)
	// The server's priority and fairness shares its capacity better than a
	// client that throttles itself without knowing the load.
	cfg.QPS, cfg.Burst, cfg.RateLimiter = -1, 0, nil
	cfg.UserAgent = userAgent
	cfg.Timeout = 0
	// Deprecation warnings are for whoever wrote the manifest; lint says them.
	cfg.WarningHandler = rest.NoWarnings{}

	c := &Cluster{
		installation: o.Installation,
		host:         cfg.Host,
		http:         o.HTTPClient,
		clock:        o.Clock,
		inFlight:     make(chan struct{}, maxInFlight),
		exclusive:    make(map[schema.GroupKind]bool, len(o.Exclusive)),
	}
	if c.installation == "" {
		c.installation = mizzen.DefaultInstallation
	}
	if c.clock == nil {
		c.clock = clock.RealClock{}
	}
	c.manager = mizzen.Manager(c.installation)
	for _, gk := range o.Exclusive {
		c.exclusive[gk] = true
	}
	if err := c.connect(cfg); err != nil {
		return nil, &mizzen.Error{
			Kind: mizzen.Invalid, Object: "cluster " + cfg.Host, Err: fmt.Errorf("client config: %w", err),
			Remedy: "correct the kubeconfig",
		}
	}
	return c, nil
}

func (c *Cluster) connect(cfg *rest.Config) (err error) {
	if c.http == nil {
		if c.http, err = rest.HTTPClientFor(cfg); err != nil {
			return err
		}
	}
	// Discovery takes no context, so it gets a client that gives up by itself.
	impatient := *c.http
	impatient.Timeout = requestTimeout
	var errs [3]error
	c.discovery, errs[0] = discovery.NewDiscoveryClientForConfigAndClient(cfg, &impatient)
	c.dynamic, errs[1] = dynamic.NewForConfigAndClient(cfg, c.http)
	watching := *c.http
	watching.Transport = prompt{c.http.Transport}
	c.metadata, errs[2] = metadata.NewForConfigAndClient(cfg, &watching)
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	c.rest = c.discovery.RESTClient()
	return nil
}

// Installation returns the id that this Cluster takes for ours.
func (c *Cluster) Installation() string { return c.installation }

// Reachable asks the API server whether it is ready. The error is of Kind
// Unreachable, Timeout or Forbidden.
func (c *Cluster) Reachable(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	err := c.rest.Get().AbsPath("/readyz").Do(ctx).Error()
	if k := mizzen.KindOf(c.apiError("", err)); k == mizzen.Forbidden || k == mizzen.NotFound {
		// A hardened or an older server hides /readyz; /version is for all.
		err = c.rest.Get().AbsPath("/version").Do(ctx).Error()
	}
	return c.apiError("", err)
}

// bounded returns a context for one request. The client logs nothing: errors
// are returned, and said by whoever knows what they are about.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(klog.NewContext(ctx, logr.Discard()), requestTimeout)
}

// acquire waits for a free slot among the requests in flight.
func (c *Cluster) acquire(ctx context.Context) (release func(), err error) {
	select {
	case c.inFlight <- struct{}{}:
		return func() { <-c.inFlight }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Target is an object to look for, by the version that it is wanted in.
type Target struct {
	Kind      schema.GroupVersionKind
	Namespace string
	Name      string
}

// Ref returns the identity of the target.
func (t Target) Ref() mizzen.Ref {
	return mizzen.Ref{Group: t.Kind.Group, Kind: t.Kind.Kind, Namespace: t.Namespace, Name: t.Name}
}

// Resource is how a cluster serves a kind.
type Resource struct {
	Kind schema.GroupVersionKind
	// Name is the plural in URLs, such as "deployments".
	Name       string
	Namespaced bool
	// Verbs are sorted.
	Verbs []string
}

// GVR returns the group, version and plural of the resource.
func (r Resource) GVR() schema.GroupVersionResource {
	return r.Kind.GroupVersion().WithResource(r.Name)
}

// Can tells whether the API serves the verb for the kind, whoever asks.
func (r Resource) Can(verb string) bool { return slices.Contains(r.Verbs, verb) }
