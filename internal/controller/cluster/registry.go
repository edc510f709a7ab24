// Package cluster keeps the destinations: the cluster that holds the
// Applications and those that Cluster objects name. One loop checks that each
// answers; the registry gives an Application its destination, with the
// identity that it may write as.
package cluster

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/apply"
	"mizzen.dev/mizzen/internal/diff"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/lint"
	"mizzen.dev/mizzen/internal/live"
)

// home is the name of the cluster that holds the Applications.
var home = mizzen.Name{Name: engine.InCluster}

// Registry holds the destinations. It is safe for concurrent use.
type Registry struct {
	// Home is how to reach the cluster that holds the Applications.
	Home *rest.Config
	// Reader reads Clusters and Secrets.
	Reader client.Reader
	// Writer notes which kinds were applied.
	Writer       client.Writer
	Installation string
	Masker       diff.Masker
	Log          *slog.Logger
	// Handler hears of what happens in each cluster.
	Handler func(cluster mizzen.Name) live.Handler

	ctx context.Context
	mu  sync.Mutex
	all map[mizzen.Name]*destination

	kinds kinds
}

// destination is one cluster that is in use.
type destination struct {
	// access identifies the kubeconfig, so that a new one replaces the client.
	access  [sha256.Size]byte
	cluster *live.Cluster
	watcher *live.Watcher
	writer  *apply.Applier
	schemas *lint.Cluster
	// down is why the cluster does not answer; nil if it does.
	down atomic.Pointer[error]
	// recalled tells that the kinds that were ever applied are watched.
	recalled  atomic.Bool
	recalling sync.Mutex
}

// Bind sets the context that watches live in. It is called once, before the
// first Destination.
func (r *Registry) Bind(ctx context.Context) { r.ctx = ctx }

// Close ends all watches.
func (r *Registry) Close() {
	r.mu.Lock()
	all := r.all
	r.all = nil
	r.mu.Unlock()
	for _, d := range all {
		d.watcher.Close()
	}
}

// Drop ends the watches of a Cluster that is gone.
func (r *Registry) Drop(name mizzen.Name) {
	r.mu.Lock()
	d := r.all[name]
	delete(r.all, name)
	r.mu.Unlock()
	if d != nil {
		d.watcher.Close()
	}
}

// Destination returns the cluster of an Application as it may use it. The
// error is of Kind NotFound if there is no such Cluster, Invalid if its
// kubeconfig cannot be used, and Unreachable if it is known not to answer.
func (r *Registry) Destination(ctx context.Context, app *v1alpha1.Application) (engine.Destination, error) {
	d, name, err := r.of(ctx, app.Namespace, app.Spec.Destination.Cluster)
	if err != nil {
		return engine.Destination{}, err
	}
	if down := d.down.Load(); down != nil && name != engine.InCluster {
		return engine.Destination{}, *down
	}
	key := home
	if name != engine.InCluster {
		key = mizzen.Name{Namespace: app.Namespace, Name: name}
	}
	if err := r.watchKnown(ctx, key, d); err != nil {
		return engine.Destination{}, err
	}
	writer := d.writer
	if !app.Spec.Privileged {
		account := app.Spec.ServiceAccountName
		if account == "" {
			account = "default"
		}
		writer = writer.As(fmt.Sprintf("system:serviceaccount:%s:%s", app.Namespace, account))
	}
	return engine.Destination{
		Name: name, Installation: r.Installation, Cluster: d.cluster, Watcher: d.watcher,
		Writer: writer, Schemas: d.schemas, Masker: r.Masker,
		Note: func(ctx context.Context, kinds []schema.GroupKind) error { return r.note(ctx, key, kinds) },
	}, nil
}

func (r *Registry) of(ctx context.Context, namespace, cluster string) (*destination, string, error) {
	if cluster == "" {
		d, err := r.open(home, r.Home, sha256.Sum256([]byte(r.Home.Host)))
		return d, engine.InCluster, err
	}
	name := mizzen.Name{Namespace: namespace, Name: cluster}
	kubeconfig, err := kubeconfigOf(ctx, r.Reader, name)
	if err != nil {
		return nil, "", err
	}
	config, err := configOf(name, kubeconfig)
	if err != nil {
		return nil, "", err
	}
	d, err := r.open(name, config, sha256.Sum256(kubeconfig))
	return d, cluster, err
}

// open returns the destination, made anew if its access changed.
func (r *Registry) open(name mizzen.Name, config *rest.Config, access [sha256.Size]byte) (*destination, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := r.all[name]; d != nil && d.access == access {
		return d, nil
	}
	cluster, err := live.New(config, live.Options{Installation: r.Installation})
	if err != nil {
		return nil, err
	}
	writer, err := apply.New(config, apply.Options{
		Installation: r.Installation, Logger: r.Log,
		Mapper: func(ctx context.Context, gvk schema.GroupVersionKind) (schema.GroupVersionResource, bool, error) {
			found, err := cluster.Resource(ctx, gvk)
			return found.GVR(), found.Namespaced, err
		},
	})
	if err != nil {
		return nil, err
	}
	d := &destination{access: access, cluster: cluster, writer: writer, schemas: lint.FromCluster(cluster.OpenAPI)}
	d.watcher = cluster.Watch(r.ctx, r.handler(name, d))
	if old := r.all[name]; old != nil {
		go old.watcher.Close()
	}
	if r.all == nil {
		r.all = map[mizzen.Name]*destination{}
	}
	r.all[name] = d
	return d, nil
}

// handler is the registry's own interest in the news, before the loop's.
func (r *Registry) handler(name mizzen.Name, d *destination) live.Handler {
	h := r.Handler(name)
	kinds, reachable := h.Kinds, h.Reachable
	h.Reachable = func(err error) {
		if err == nil {
			d.down.Store(nil)
		} else {
			d.down.Store(&err)
		}
		if reachable != nil {
			reachable(err)
		}
	}
	h.Kinds = func(kind schema.GroupResource) {
		d.schemas.Forget(kind.Group)
		if kinds != nil {
			kinds(kind)
		}
	}
	return h
}

// Config returns how to reach the cluster that a Cluster object names. The
// errors are those of Registry.Destination.
func Config(ctx context.Context, reader client.Reader, name mizzen.Name) (*rest.Config, error) {
	kubeconfig, err := kubeconfigOf(ctx, reader, name)
	if err != nil {
		return nil, err
	}
	return configOf(name, kubeconfig)
}

func kubeconfigOf(ctx context.Context, reader client.Reader, name mizzen.Name) ([]byte, error) {
	remedy := "create the Cluster in the Application's namespace, or correct spec.destination.cluster"
	var cluster v1alpha1.Cluster
	if err := reader.Get(ctx, client.ObjectKey{Namespace: name.Namespace, Name: name.Name}, &cluster); err != nil {
		return nil, missing(err, "cluster "+name.String(), remedy)
	}
	key := client.ObjectKey{Namespace: name.Namespace, Name: cluster.Spec.KubeconfigSecretRef.Name}
	var secret corev1.Secret
	if err := reader.Get(ctx, key, &secret); err != nil {
		return nil, missing(err, "secret "+key.String(), "create it with the key kubeconfig, or correct spec.kubeconfigSecretRef")
	}
	for _, k := range []string{"kubeconfig", "value", "config"} {
		if v := secret.Data[k]; len(v) > 0 {
			return v, nil
		}
	}
	return nil, &mizzen.Error{
		Kind: mizzen.Invalid, Object: "secret " + key.String(), Err: errors.New("it has no key kubeconfig"),
		Remedy: "put the kubeconfig of the cluster there",
	}
}

func missing(err error, object, remedy string) error {
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("%s: %w", object, err)
	}
	return &mizzen.Error{Kind: mizzen.NotFound, Object: object, Err: errors.New("not found"), Remedy: remedy}
}

// configOf reads a kubeconfig from a Secret. Whoever may write the Secret must
// not be able to read the controller's files or to run its programs.
func configOf(name mizzen.Name, kubeconfig []byte) (*rest.Config, error) {
	invalid := func(err error) error {
		return &mizzen.Error{
			Kind: mizzen.Invalid, Object: "cluster " + name.String(), Err: err,
			Remedy: "write a kubeconfig that holds its credentials itself",
		}
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, invalid(errors.New("the kubeconfig cannot be read"))
	}
	switch {
	case config.ExecProvider != nil, config.AuthProvider != nil:
		return nil, invalid(errors.New("the kubeconfig runs a command to log in"))
	case config.BearerTokenFile != "", config.CertFile != "", config.KeyFile != "", config.CAFile != "":
		return nil, invalid(errors.New("the kubeconfig names files"))
	}
	return config, nil
}
