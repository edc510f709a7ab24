package cluster

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	nodefast "sigs.k8s.io/kwok/kustomize/stage/node/fast"
	nodeheartbeat "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
	podfast "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
	"sigs.k8s.io/kwok/pkg/apis/internalversion"
	"sigs.k8s.io/kwok/pkg/client/clientset/versioned"
	"sigs.k8s.io/kwok/pkg/config"
	kwok "sigs.k8s.io/kwok/pkg/kwok/controllers"
	"sigs.k8s.io/kwok/pkg/utils/client"
)

// FakeNode marks the nodes that kwok plays; a node with a real kubelet lacks it.
const FakeNode = "kwok.x-k8s.io/node"

// runKwok plays the kubelet of every fake node until ctx ends, with addresses
// of the range pods: they become Ready, complete and go away, but nothing
// runs. It is put together here since kwok's own command reads the arguments
// of the process.
func runKwok(ctx context.Context, kubeconfig, pods string) error {
	c, err := kwokConfig(ctx, kubeconfig, pods)
	if err != nil {
		return err
	}
	controller, err := kwok.NewController(c)
	if err != nil {
		return fmt.Errorf("new controller: %w", err)
	}
	if err := controller.Start(ctx); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	<-ctx.Done()
	return nil
}

func kwokConfig(ctx context.Context, kubeconfig, pods string) (kwok.Config, error) {
	stages, err := kwokStages()
	if err != nil {
		return kwok.Config{}, err
	}
	clients, err := client.NewClientset("", kubeconfig)
	if err != nil {
		return kwok.Config{}, fmt.Errorf("client: %w", err)
	}
	restConfig, err := clients.ToRESTConfig()
	if err != nil {
		return kwok.Config{}, fmt.Errorf("client: %w", err)
	}
	restConfig.QPS, restConfig.Burst = 500, 1000
	dynamicClient, err1 := clients.ToDynamicClient()
	mapper, err2 := clients.ToRESTMapper()
	restClient, err3 := rest.RESTClientFor(restConfig)
	typed, err4 := kubernetes.NewForConfig(restConfig)
	typedKwok, err5 := versioned.NewForConfig(restConfig)
	id, err6 := kwok.Identity()
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return kwok.Config{}, fmt.Errorf("client: %w", err)
	}
	defaults := config.GetKwokConfiguration(ctx).Options
	return kwok.Config{
		ID: id, Clock: clock.RealClock{},
		RESTClient: restClient, RESTMapper: mapper, DynamicClient: dynamicClient,
		TypedClient: typed, TypedKwokClient: typedKwok,
		ImpersonatingDynamicClient:        clients.ToImpersonatingDynamicClient(),
		ImpersonatingTypedClient:          clients.ToImpersonatingTypedClient(),
		ManageNodesWithAnnotationSelector: FakeNode + "=fake",
		CIDR:                              pods, NodeIP: "192.0.2.2",
		LocalStages:               stages,
		PodPlayStageParallelism:   defaults.PodPlayStageParallelism,
		NodePlayStageParallelism:  defaults.NodePlayStageParallelism,
		NodeLeaseParallelism:      defaults.NodeLeaseParallelism,
		NodeLeaseDurationSeconds:  40,
		PodsOnNodeSyncParallelism: defaults.PodsOnNodeSyncParallelism,
	}, nil
}

// kwokStages are the life cycles of nodes and pods without any delay.
func kwokStages() (map[internalversion.StageResourceRef][]*internalversion.Stage, error) {
	stages := map[internalversion.StageResourceRef][]*internalversion.Stage{}
	for _, text := range []string{
		nodefast.DefaultNodeInit, nodeheartbeat.DefaultNodeHeartbeatWithLease,
		podfast.DefaultPodReady, podfast.DefaultPodComplete, podfast.DefaultPodDelete,
	} {
		stage, err := config.UnmarshalWithType[*internalversion.Stage](text)
		if err != nil {
			return nil, fmt.Errorf("stage: %w", err)
		}
		stages[stage.Spec.ResourceRef] = append(stages[stage.Spec.ResourceRef], stage)
	}
	return stages, nil
}
