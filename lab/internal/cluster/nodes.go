package cluster

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

// fakeTaint keeps pods that are meant to run away from nodes where they do
// not. Pods that need not run tolerate it.
var fakeTaint = corev1.Taint{Key: FakeNode, Value: "fake", Effect: corev1.TaintEffectNoSchedule}

// createNodes registers n nodes for kwok to play, tainted if there is a choice;
// those that exist stay.
func createNodes(ctx context.Context, client kubernetes.Interface, n int, taint bool) error {
	for i := range n {
		fake := node(fmt.Sprintf("kwok-%d", i))
		if taint {
			fake.Spec.Taints = []corev1.Taint{fakeTaint}
		}
		_, err := client.CoreV1().Nodes().Create(ctx, fake, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("node: %w", err)
		}
	}
	return nil
}

// node has room for thousands of pods, which cost nothing.
func node(name string) *corev1.Node {
	room := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("1000"),
		corev1.ResourceMemory:           resource.MustParse("4Ti"),
		corev1.ResourceEphemeralStorage: resource.MustParse("4Ti"),
		corev1.ResourcePods:             resource.MustParse("10000"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Annotations: map[string]string{FakeNode: "fake"},
			Labels: map[string]string{
				"type":                   "kwok",
				corev1.LabelHostname:     name,
				corev1.LabelOSStable:     "linux",
				corev1.LabelArchStable:   "amd64",
				corev1.LabelTopologyZone: "lab",
			},
		},
		Status: corev1.NodeStatus{Capacity: room, Allocatable: room},
	}
}

// waitUsable returns when pods can be created and scheduled: the namespace
// "default" has its service account, and every node is Ready.
func waitUsable(ctx context.Context, client kubernetes.Interface) error {
	return wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		_, err := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		} else if err != nil {
			return false, fmt.Errorf("service account: %w", err)
		}
		nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, fmt.Errorf("nodes: %w", err)
		}
		for _, n := range nodes.Items {
			if !usable(n) {
				return false, nil
			}
		}
		return true, nil
	})
}

// usable reports whether the node is Ready, and open to the pods that want it.
func usable(n corev1.Node) bool {
	for _, t := range n.Spec.Taints {
		if t != fakeTaint {
			return false
		}
	}
	return ready(n)
}

func ready(n corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
