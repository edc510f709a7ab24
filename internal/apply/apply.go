// Package apply carries out a Plan. It is the only package that writes to
// clusters, dry-runs included.
//
// In comes a Plan whose Changes were decided by others; out goes what became
// of each. Nothing is compared or decided again, but for what only the API
// server can tell: that somebody else took a field meanwhile, that a field is
// immutable, that a definition is not served yet. Every write is one that may
// be repeated, so a sync that was killed is finished by running it again.
package apply

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	"k8s.io/utils/clock"

	"mizzen.dev/mizzen"
)

// Mapper tells how a cluster serves a kind. It fails with an Error of Kind
// NotFound if the cluster does not know it.
type Mapper func(ctx context.Context, gvk schema.GroupVersionKind) (gvr schema.GroupVersionResource, namespaced bool, err error)

// Options says on whose behalf a cluster is written to.
type Options struct {
	// Installation decides the field manager; see mizzen.Manager.
	Installation string
	// Impersonate is the user to act as, such as
	// system:serviceaccount:shop:default; empty acts as the config's own user.
	Impersonate string
	// Mapper is required.
	Mapper Mapper
	// HTTPClient is used for all requests if it is not nil, whoever is
	// impersonated. Without it one is made of the config.
	HTTPClient *http.Client
	// Clock is the real one if it is nil.
	Clock clock.WithTicker
	// Logger hears of retries; nil means silence.
	Logger *slog.Logger
}

// Applier writes to one cluster as one user. It is safe for concurrent use.
type Applier struct {
	manager string
	user    string
	mapper  Mapper
	clock   clock.WithTicker
	log     *slog.Logger

	base *url.URL
	// shared carries the config's own credentials, and all connections.
	shared *http.Client
	http   *http.Client
}

// New returns an Applier. It sends no request yet: an error, of Kind Invalid,
// means that the config is unusable.
func New(cfg *rest.Config, o Options) (*Applier, error) {
	a := &Applier{manager: mizzen.Manager(o.Installation), mapper: o.Mapper, clock: o.Clock, log: o.Logger, shared: o.HTTPClient}
	if a.clock == nil {
		a.clock = clock.RealClock{}
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	cfg = rest.CopyConfig(cfg)
	if cfg.UserAgent == "" {
		cfg.UserAgent = "mizzen"
	}
	if err := a.connect(cfg); err != nil {
		return nil, &mizzen.Error{
			Kind: mizzen.Invalid, Object: "cluster " + cfg.Host, Err: fmt.Errorf("client config: %w", err),
			Remedy: "correct the kubeconfig",
		}
	}
	return a.As(o.Impersonate), nil
}

func (a *Applier) connect(cfg *rest.Config) (err error) {
	if a.base, _, err = rest.DefaultServerUrlFor(cfg); err != nil {
		return err
	}
	a.base.Path = strings.TrimSuffix(a.base.Path, "/")
	if a.shared == nil {
		a.shared, err = rest.HTTPClientFor(cfg)
	}
	return err
}

// As returns an Applier that acts as another user over the same connections;
// "" is the config's own user. The API server adds the groups of a service
// account by itself, so the permission to impersonate the account is enough.
func (a *Applier) As(user string) *Applier {
	b := *a
	b.user = user
	b.http = a.shared
	if user != "" {
		own := *a.shared
		own.Transport = transport.NewImpersonatingRoundTripper(transport.ImpersonationConfig{UserName: user}, base(a.shared))
		b.http = &own
	}
	return &b
}

func base(c *http.Client) http.RoundTripper {
	if c.Transport != nil {
		return c.Transport
	}
	return http.DefaultTransport
}

// User returns whom the Applier acts as; "" is the config's own user.
func (a *Applier) User() string { return a.user }
