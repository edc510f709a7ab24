// Package pods tells what a pod of the lab's live node does: everything goes
// through the real kubelet, and what the API server says of the pod is the
// evidence. All tests share one lab; each has a namespace of its own.
package pods

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"mizzen.dev/mizzen/internal/labtest"
)

// yard is a namespace of the live node.
type yard struct {
	*testing.T
	lab  *labtest.Lab
	core kubernetes.Interface
	ns   string
}

// newYard starts the lab, or joins it, and takes a fresh namespace.
func newYard(t *testing.T) *yard {
	t.Helper()
	lab := labtest.Start(t, labtest.ControlPlane|labtest.Live)
	return &yard{T: t, lab: lab, core: kubernetes.NewForConfigOrDie(lab.Config), ns: lab.Namespace}
}

// idle is a script that waits until it is asked to end.
const idle = "; trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"

const never = "restartPolicy: Never"

// impatient ends a pod that ignores that it is asked to end. Others have time
// to do what they do then, also on a busy machine.
const impatient = "terminationGracePeriodSeconds: 2"

// pod is the manifest of a pod on the live node; spec are entries of its spec.
func pod(name string, spec ...string) string {
	if !slices.Contains(spec, impatient) {
		spec = append(spec, "terminationGracePeriodSeconds: 60")
	}
	return fmt.Sprintf(`
---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, labels: {app: %[1]s}}
spec: {%[2]s}
`, name, strings.Join(spec, ", "))
}

func containers(all ...string) string { return "containers: [" + strings.Join(all, ", ") + "]" }

func initContainers(all ...string) string { return "initContainers: [" + strings.Join(all, ", ") + "]" }

// sh is a container that runs a script; fields are further ones of it.
func sh(name, script string, fields ...string) string {
	command := "command: [sh, -c, " + strconv.Quote(script) + "]"
	return container(name, "lab/sh:v1", append([]string{command}, fields...)...)
}

// shop is a container that serves HTTP on port 8080.
func shop(name string, fields ...string) string { return container(name, "lab/shop:v1", fields...) }

func container(name, image string, fields ...string) string {
	return "{" + strings.Join(append([]string{"name: " + name, "image: " + image}, fields...), ", ") + "}"
}

func (y *yard) apply(manifests ...string) {
	y.Helper()
	cmd := y.command("apply", "--server-side", "-f", "-")
	cmd.Stdin = strings.NewReader(strings.Join(manifests, ""))
	if out, err := cmd.CombinedOutput(); err != nil {
		y.Fatalf("kubectl apply: %v\n%s", err, out)
	}
}

// command is kubectl in the yard's namespace.
func (y *yard) command(args ...string) *exec.Cmd {
	return exec.CommandContext(y.Context(), y.lab.Kubectl(),
		append([]string{"--kubeconfig", y.lab.Kubeconfig, "-n", y.ns}, args...)...)
}

func (y *yard) kubectl(args ...string) string {
	y.Helper()
	out, err := y.command(args...).CombinedOutput()
	if err != nil {
		y.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// until waits until a pod is as ok says, and returns it.
func (y *yard) until(name, what string, ok func(*corev1.Pod) bool) *corev1.Pod {
	y.Helper()
	var last *corev1.Pod
	y.eventually("pod "+name+" to be "+what, func(ctx context.Context) bool {
		p, err := y.core.CoreV1().Pods(y.ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false
		}
		last = p
		return ok(p)
	})
	return last
}

// eventually is labtest.Eventually; if it fails, the namespace's events tell why.
func (y *yard) eventually(what string, ok func(context.Context) bool) {
	y.Helper()
	held := false
	defer func() {
		if !held {
			list, err := y.core.CoreV1().Events(y.ns).List(context.WithoutCancel(y.Context()), metav1.ListOptions{})
			if err == nil {
				for _, e := range list.Items {
					y.Logf("%s: %s: %s", e.InvolvedObject.Name, e.Reason, e.Message)
				}
			}
		}
	}()
	labtest.Eventually(y.T, what, ok)
	held = true
}

func (y *yard) ready(name string) *corev1.Pod {
	y.Helper()
	return y.until(name, "ready", isReady)
}

func isReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// ended waits until a pod has ended, and returns it.
func (y *yard) ended(name string) *corev1.Pod {
	y.Helper()
	return y.until(name, "ended", func(p *corev1.Pod) bool {
		return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	})
}

// succeeded waits until a pod has ended, well, and returns the log of its
// container "main".
func (y *yard) succeeded(name string) string {
	y.Helper()
	p := y.ended(name)
	log := y.log(name, corev1.PodLogOptions{Container: "main"})
	if p.Status.Phase != corev1.PodSucceeded {
		y.Fatalf("pod %s has failed: %v\n%s", name, p.Status.ContainerStatuses, log)
	}
	return log
}

func (y *yard) log(name string, options corev1.PodLogOptions) string {
	y.Helper()
	b, err := y.core.CoreV1().Pods(y.ns).GetLogs(name, &options).DoRaw(y.Context())
	if err != nil {
		y.Fatalf("log of %s: %v", name, err)
	}
	return string(b)
}

// says waits until a container's log has a line.
func (y *yard) says(name, container, line string) {
	y.Helper()
	y.eventually(name+"/"+container+" to say "+line, func(ctx context.Context) bool {
		b, err := y.core.CoreV1().Pods(y.ns).GetLogs(name, &corev1.PodLogOptions{Container: container}).DoRaw(ctx)
		return err == nil && strings.Contains("\n"+string(b), "\n"+line+"\n")
	})
}

// event waits for an event of an object that has all of texts in its message.
func (y *yard) event(name, reason string, texts ...string) {
	y.Helper()
	y.eventually(fmt.Sprintf("an event %s of %s with %q", reason, name, texts), func(ctx context.Context) bool {
		list, err := y.core.CoreV1().Events(y.ns).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name + ",reason=" + reason})
		if err != nil {
			return false
		}
		for _, e := range list.Items {
			if containsAll(e.Message, texts) {
				return true
			}
		}
		return false
	})
}

func containsAll(s string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

// remove deletes a pod and waits until it is gone.
func (y *yard) remove(name string) {
	y.Helper()
	if err := y.core.CoreV1().Pods(y.ns).Delete(y.Context(), name, metav1.DeleteOptions{}); err != nil {
		y.Fatal(err)
	}
	y.gone(name)
}

func (y *yard) gone(name string) {
	y.Helper()
	y.eventually("pod "+name+" to be gone", func(ctx context.Context) bool {
		_, err := y.core.CoreV1().Pods(y.ns).Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

// join makes one string of names in any order.
func join(names []string) string { return strings.Join(slices.Sorted(slices.Values(names)), " ") }
