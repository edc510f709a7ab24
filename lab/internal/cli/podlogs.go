package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"mizzen.dev/mizzen/lab/internal/cluster"
	"mizzen.dev/mizzen/lab/internal/state"
)

// defaultContainer is the annotation with which a pod says whose log is meant.
const defaultContainer = "kubectl.kubernetes.io/default-container"

// printPod prints the log of [NAMESPACE/]POD as the API server has it.
func (l logsOptions) printPod(ctx context.Context, w io.Writer, dir state.Dir, what string) error {
	client, err := connect(dir, l.cluster)
	if err != nil {
		return err
	}
	namespace, name, of := strings.Cut(what, "/")
	if !of {
		namespace, name = metav1.NamespaceDefault, what
	}
	if name == "" {
		return fmt.Errorf("%q names no pod: say NAMESPACE/POD", what)
	}
	pod, err := client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && !of {
		return fmt.Errorf("there is no pod %s of %s in the namespace %s: say NAMESPACE/POD", name, l.cluster, namespace)
	} else if err != nil {
		return fmt.Errorf("%s of %s in namespace %s: %w", name, l.cluster, namespace, err)
	}
	if err := runs(ctx, client, pod); err != nil {
		return err
	}
	stream, err := client.CoreV1().Pods(namespace).GetLogs(name, &corev1.PodLogOptions{
		Container: containerOf(pod, l.container), Follow: l.follow,
	}).Stream(ctx)
	if err != nil {
		return fmt.Errorf("log of %s: %w", what, err)
	}
	defer stream.Close()
	if _, err := io.Copy(w, stream); err != nil && ctx.Err() == nil {
		return fmt.Errorf("log of %s: %w", what, err)
	}
	return nil
}

// runs fails if the pod is on a node of kwok's, where nothing writes a log.
func runs(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod) error {
	if pod.Spec.NodeName == "" {
		return nil // the API server says so
	}
	node, err := client.CoreV1().Nodes().Get(ctx, pod.Spec.NodeName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("node of %s: %w", pod.Name, err)
	}
	if _, fake := node.Annotations[cluster.FakeNode]; fake {
		return fmt.Errorf("%s is on the simulated node %s, so it does not run and has no log", pod.Name, node.Name)
	}
	return nil
}

// containerOf returns the container that is meant.
func containerOf(pod *corev1.Pod, wanted string) string {
	switch name := pod.Annotations[defaultContainer]; {
	case wanted != "":
		return wanted
	case name != "":
		return name
	case len(pod.Spec.Containers) > 0:
		return pod.Spec.Containers[0].Name
	}
	return ""
}

// connect returns a client of a cluster that runs.
func connect(dir state.Dir, name string) (kubernetes.Interface, error) {
	status, err := dir.ReadStatus()
	if err != nil {
		return nil, err
	}
	if status.State == state.Stopped {
		return nil, errors.New("the lab does not run: start it with `lab up`")
	}
	for _, c := range status.Clusters {
		if c.Name != name {
			continue
		}
		if c.State == state.Stopped {
			return nil, fmt.Errorf("%s is stopped: start it with `lab start %[1]s`", name)
		}
		config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
		if err != nil {
			return nil, fmt.Errorf("kubeconfig: %w", err)
		}
		return kubernetes.NewForConfig(config)
	}
	return nil, fmt.Errorf("there is no cluster %q: see `lab status`", name)
}
