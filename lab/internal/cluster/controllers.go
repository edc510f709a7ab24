package cluster

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"k8s.io/component-base/configz"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	kcmoptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"

	"mizzen.dev/mizzen/lab/internal/pki"
)

// controllers are those whose work a user of a cluster sees. Left out is what
// needs a cloud, real volumes, certificates for kubelets or a pod network.
// Without node-lifecycle-controller nodes keep their not-ready taint.
var controllers = []string{
	"clusterrole-aggregation-controller",
	"cronjob-controller",
	"daemonset-controller",
	"deployment-controller",
	"disruption-controller",
	"endpoints-controller",
	"endpointslice-controller",
	"endpointslice-mirroring-controller",
	"garbage-collector-controller",
	"horizontal-pod-autoscaler-controller",
	"job-controller",
	"namespace-controller",
	"node-lifecycle-controller",
	"persistentvolume-binder-controller",
	"persistentvolume-protection-controller",
	"persistentvolumeclaim-protection-controller",
	"pod-garbage-collector-controller",
	"replicaset-controller",
	"replicationcontroller-controller",
	"resourcequota-controller",
	"root-ca-certificate-publisher-controller",
	"service-cidr-controller",
	"serviceaccount-controller",
	"serviceaccount-token-controller",
	"statefulset-controller",
	"taint-eviction-controller",
	"ttl-after-finished-controller",
	"validatingadmissionpolicy-status-controller",
}

// runControllerManager runs kube-controller-manager until ctx ends. Its
// informers are named in a registry of the process: one cluster, one process.
func runControllerManager(ctx context.Context, kubeconfig string) error {
	o, err := kcmoptions.NewKubeControllerManagerOptions()
	if err != nil {
		return fmt.Errorf("options: %w", err)
	}
	all, off, aliases := kcm.KnownControllers(), kcm.ControllersDisabledByDefault(), kcm.ControllerAliases()
	sets := o.Flags(all, off, aliases)
	o.ParsedFlags = &sets
	err = parse("kube-controller-manager", sets, []string{
		"--kubeconfig=" + kubeconfig, "--leader-elect=false", "--secure-port=0",
		"--controllers=" + strings.Join(controllers, ","),
		"--service-account-private-key-file=" + filepath.Join(pkiDir, pki.ServiceAccountKeyFile),
		"--root-ca-file=" + filepath.Join(pkiDir, pki.AuthorityFile),
		"--use-service-account-credentials=false",
		"--concurrent-gc-syncs=10", "--concurrent-namespace-syncs=10",
		"--kube-api-qps=500", "--kube-api-burst=1000",
	})
	if err != nil {
		return err
	}
	if err := o.ComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("feature gates: %w", err)
	}
	config, err := o.Config(ctx, all, off, aliases)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	configz.Delete(kcm.ConfigzName) // Config and Run both register it
	return kcm.Run(ctx, config.Complete())
}

// runScheduler runs kube-scheduler until ctx ends.
func runScheduler(ctx context.Context, kubeconfig string) error {
	o := scheduleroptions.NewOptions()
	err := parse("kube-scheduler", *o.Flags, []string{
		"--kubeconfig=" + kubeconfig, "--leader-elect=false", "--secure-port=0",
		"--kube-api-qps=500", "--kube-api-burst=1000",
	})
	if err != nil {
		return err
	}
	if err := o.ComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("feature gates: %w", err)
	}
	completed, sched, err := scheduler.Setup(ctx, o)
	if err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	configz.Delete("componentconfig") // shared with the controller manager's process
	return scheduler.Run(ctx, completed, sched)
}
