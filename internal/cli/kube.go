package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/controller"
)

// namespaceVariable names the namespace where --namespace does not.
const namespaceVariable = "MIZZEN_NAMESPACE"

// kubeFlags say which cluster to talk to, and about which namespace.
type kubeFlags struct {
	kubeconfig, context, namespace string
}

func (k *kubeFlags) register(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVar(&k.kubeconfig, "kubeconfig", "", "kubeconfig file (default: $KUBECONFIG, the lab of this checkout, ~/.kube/config)")
	f.StringVar(&k.context, "context", "", "context of the kubeconfig")
	f.StringVarP(&k.namespace, "namespace", "n", "",
		"namespace of Mizzen's own objects (default: $"+namespaceVariable+", "+mizzen.SystemNamespace+")")
	_ = cmd.RegisterFlagCompletionFunc("context", k.completeContexts)
}

// defaultNamespace is where the command line looks for Applications. A
// kubeconfig's default namespace is where workloads are, seldom Applications,
// so it does not count.
func (k *kubeFlags) defaultNamespace() string {
	for _, namespace := range []string{k.namespace, os.Getenv(namespaceVariable)} {
		if namespace != "" {
			return namespace
		}
	}
	return mizzen.SystemNamespace
}

// key reads the name of an object as users write it: NAME, NAMESPACE/NAME as
// Mizzen's own reports do, or KIND/NAME as -o name and kubectl do.
func (k *kubeFlags) key(kind, arg string) client.ObjectKey {
	prefix, name, found := strings.Cut(arg, "/")
	switch {
	case !found:
		return client.ObjectKey{Namespace: k.defaultNamespace(), Name: arg}
	case strings.TrimSuffix(prefix, "."+mizzen.Group) == kind:
		return client.ObjectKey{Namespace: k.defaultNamespace(), Name: name}
	}
	return client.ObjectKey{Namespace: prefix, Name: name}
}

// loader finds the kubeconfig.
func (k *kubeFlags) loader() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = k.kubeconfig
	if k.kubeconfig == "" && os.Getenv(clientcmd.RecommendedConfigPathEnvVar) == "" {
		if lab := labKubeconfig(); lab != "" {
			rules.ExplicitPath = lab
		}
	}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: k.context})
}

// config returns the client configuration.
func (k *kubeFlags) config() (*rest.Config, error) {
	cfg, err := k.loader().ClientConfig()
	if err != nil {
		return nil, &mizzen.Error{
			Kind: mizzen.Invalid, Object: "kubeconfig", Err: err,
			Remedy: "name a kubeconfig with --kubeconfig or $KUBECONFIG, or start the lab with 'make up'",
		}
	}
	// The API server shares its capacity out by priority and fairness; a
	// second limit here would only make plans slow.
	cfg.QPS = -1
	cfg.UserAgent = "mizzen/" + version()
	return cfg, nil
}

// labKubeconfig finds the kubeconfig of a lab that runs in this checkout: in
// .lab of the working directory or of one above it.
func labKubeconfig() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for {
		path := filepath.Join(dir, ".lab", "kubeconfig")
		if _, err := os.Stat(path); err == nil {
			return path
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

// newScheme knows Kubernetes' own kinds and ours.
func newScheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	if err := scheme.AddToScheme(s); err != nil {
		return nil, err
	}
	return s, v1alpha1.AddToScheme(s)
}

// client returns a client for Mizzen's own objects, and how to reach the
// cluster they are in. A cluster that does not answer the first request in
// time does not answer at all.
func (k *kubeFlags) client() (client.WithWatch, *rest.Config, error) {
	cfg, err := k.config()
	if err != nil {
		return nil, nil, err
	}
	cfg.Wrap(patient(firstAnswer))
	s, err := newScheme()
	if err != nil {
		return nil, nil, err
	}
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: s})
	if err != nil {
		return nil, nil, fmt.Errorf("client for %s: %w", cfg.Host, err)
	}
	return c, cfg, nil
}

// application reads one Application, and tells what to do if there is none.
func (k *kubeFlags) application(ctx context.Context, c client.Client, name string) (*v1alpha1.Application, error) {
	var found v1alpha1.Application
	key := k.key("application", name)
	if err := c.Get(ctx, key, &found); err != nil {
		return nil, explain(err, "application "+key.String(), "see 'mizzen get applications -n "+key.Namespace+"'")
	}
	return &found, nil
}

// controllerLease reads the lease that a controller holds while it runs; held
// is false if none does.
func (a *app) controllerLease(ctx context.Context, c client.Client) (lease coordinationv1.LeaseSpec, held bool, err error) {
	var found coordinationv1.Lease
	key := client.ObjectKey{Namespace: mizzen.SystemNamespace, Name: controller.LeaseName}
	if err := c.Get(ctx, key, &found); err != nil {
		return lease, false, client.IgnoreNotFound(err)
	}
	lease = found.Spec
	if lease.HolderIdentity == nil || *lease.HolderIdentity == "" || lease.RenewTime == nil || lease.LeaseDurationSeconds == nil {
		return lease, false, nil
	}
	return lease, a.clock.Since(lease.RenewTime.Time).Seconds() < float64(*lease.LeaseDurationSeconds), nil
}
