// Package cluster is one Kubernetes cluster of the lab in one process: etcd,
// kube-apiserver, kube-controller-manager, kube-scheduler and kwok, all real,
// linked as libraries. In comes a working directory that belongs to the
// cluster; out come its files there, a listening port and Events. It is built
// to be killed: there is no orderly end, and a directory left by a killed
// cluster can be started again.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"mizzen.dev/mizzen/lab/internal/pki"
	"mizzen.dev/mizzen/lab/internal/ports"
)

// The files of a cluster's directory.
const (
	// KubeconfigFile is the administrator's.
	KubeconfigFile = "kubeconfig"
	// AuditLogFile has a line of JSON (audit.k8s.io/v1 Event) per request.
	AuditLogFile = "audit.log"

	auditPolicyFile = "audit-policy.yaml"
	pkiDir          = "pki"
	etcdDir         = "etcd"
	controllersFile = "controller-manager.kubeconfig"
	schedulerFile   = "scheduler.kubeconfig"
	kwokFile        = "kwok.kubeconfig"
	lockFile        = "lock"
)

// Options say which cluster to run.
type Options struct {
	// Name is the name of cluster and context in the kubeconfig.
	Name string
	// Listener is where the API is served.
	Listener net.Listener
	// Nodes is how many kwok nodes there are.
	Nodes int
	// Live is the node whose pods run, or nil if there is none.
	Live *Live
}

// Phase says how far a cluster has come.
type Phase string

// The phases of a cluster's start.
const (
	// Serving: the API answers and kubeconfigs are written.
	Serving Phase = "serving"
	// NodeReady: the live node is Ready. Other clusters do not have it.
	NodeReady Phase = "node-ready"
	// Ready: pods can be created and scheduled.
	Ready Phase = "ready"
)

// Run runs a cluster in the working directory and calls report at each Phase.
// It returns when ctx ends or a component fails.
func Run(ctx context.Context, o Options, report func(Phase)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	started := startGenerously(ctx)
	lock, err := lockDirectory()
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := writeFiles(o); err != nil {
		return err
	}
	server, err := startEtcd(ctx, etcdDir)
	if err != nil {
		return err
	}
	defer server.Close()
	component := func(name string, run func() error) {
		go func() {
			if err := run(); err != nil {
				cancel(fmt.Errorf("%s: %w", name, err))
			} else {
				cancel(fmt.Errorf("%s ended", name))
			}
		}()
	}
	// client-go makes the user agent, and the API server the field manager, of
	// the program's name. Whose scale it was has to read as in a real cluster.
	os.Args[0] = "kube-controller-manager"
	component("kube-apiserver", func() error { return runAPIServer(ctx, o) })
	client, err := waitServing(ctx)
	if err != nil {
		return cause(ctx, err)
	}
	report(Serving)
	component("kube-controller-manager", func() error { return runControllerManager(ctx, controllersFile) })
	component("kube-scheduler", func() error { return runScheduler(ctx, schedulerFile) })
	component("kwok", func() error { return runKwok(ctx, kwokFile, o.fakePods()) })
	if err := prepare(ctx, client, o, report); err != nil {
		return cause(ctx, err)
	}
	report(Ready)
	started()
	<-ctx.Done()
	return cause(ctx, nil)
}

// prepare returns when pods can be created and scheduled, and run if the
// cluster has a live node.
func prepare(ctx context.Context, client kubernetes.Interface, o Options, report func(Phase)) error {
	if o.Live != nil {
		if err := grant(ctx, client); err != nil {
			return err
		}
	}
	if err := createNodes(ctx, client, o.Nodes, o.Live != nil); err != nil {
		return err
	}
	if o.Live != nil {
		if err := waitLive(ctx, client, o.Live); err != nil {
			return err
		}
		report(NodeReady)
		if err := waitDNS(ctx, o.Live); err != nil {
			return err
		}
	}
	return waitUsable(ctx, client)
}

// cause prefers the component that failed to what its failure led to.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil && !errors.Is(c, context.Canceled) {
		return c
	}
	return err
}

// writeFiles makes certificates and kubeconfigs, unless a former process of
// the same cluster did: then clients keep what they have.
func writeFiles(o Options) error {
	if err := os.WriteFile(auditPolicyFile, []byte(auditPolicy), 0o600); err != nil {
		return fmt.Errorf("audit policy: %w", err)
	}
	// Tests open the log before the first request is written.
	log, err := os.OpenFile(AuditLogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	if err := log.Close(); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	server := fmt.Sprintf("https://127.0.0.1:%d", ports.Of(o.Listener))
	switch c, err := clientcmd.LoadFromFile(KubeconfigFile); {
	case err == nil && c.Clusters[o.Name] != nil && c.Clusters[o.Name].Server == server:
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("kubeconfig: %w", err)
	}
	return writeIdentities(o, server)
}

func writeIdentities(o Options, server string) error {
	authority, err := pki.New(pkiDir, o.addresses()...)
	if err != nil {
		return err
	}
	if o.Live != nil {
		if err := writeLiveFiles(authority, o, server); err != nil {
			return err
		}
	}
	// Everybody is an administrator; the names are for the audit log.
	const admins = "system:masters"
	return errors.Join(
		authority.WriteKubeconfig(controllersFile, o.Name, server, "system:kube-controller-manager", admins),
		authority.WriteKubeconfig(schedulerFile, o.Name, server, "system:kube-scheduler", admins),
		authority.WriteKubeconfig(kwokFile, o.Name, server, "lab:kwok", admins),
		// Last, since its presence says that the others are there.
		authority.WriteKubeconfig(KubeconfigFile, o.Name, server, "lab:admin", admins),
	)
}

// waitServing returns a client once the API server is ready.
func waitServing(ctx context.Context) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", KubeconfigFile)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	err = wait.PollUntilContextCancel(ctx, 25*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil, nil
	})
	return client, err
}
