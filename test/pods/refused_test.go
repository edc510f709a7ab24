package pods

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// refused is the reason of the event if the pod is refused, and if a container is.
const (
	podRefused       = "FailedCreatePodSandBox"
	containerRefused = "Failed"
)

// TestRefusals asks for what the node cannot do. An event names the field.
func TestRefusals(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	plain := containers(sh("main", "true"))
	with := func(fields ...string) string { return containers(sh("main", "true", fields...)) }
	mount := "volumeMounts: [{name: shared, mountPath: /shared, mountPropagation: HostToContainer}]"
	hostPath := func(path string) string {
		return "volumes: [{name: host, hostPath: {path: " + path + "}}], " + with("volumeMounts: [{name: host, mountPath: /data}]")
	}
	cases := []struct{ name, reason, names, spec string }{
		{"privileged", podRefused, "securityContext.privileged", with("securityContext: {privileged: true}")},
		{"host-pid", podRefused, "hostPID", "hostPID: true, " + plain},
		{"host-ipc", podRefused, "hostIPC", "hostIPC: true, " + plain},
		{"share", podRefused, "shareProcessNamespace", "shareProcessNamespace: true, " + plain},
		{"host-port", podRefused, "hostPort 18080", with("ports: [{containerPort: 80, hostPort: 18080}]")},
		{"sysctl", podRefused, "securityContext.sysctls: kernel.shm_rmid_forced", "securityContext: {sysctls: [{name: kernel.shm_rmid_forced, value: '1'}]}, " + plain},
		{"seccomp", containerRefused, "securityContext.seccompProfile: Localhost", "securityContext: {seccompProfile: {type: Localhost, localhostProfile: x}}, " + plain},
		{"selinux", podRefused, "securityContext.seLinuxOptions", "securityContext: {seLinuxOptions: {level: s0}}, " + plain},
		{"tty", containerRefused, "tty", with("tty: true")},
		{"stdin", containerRefused, "stdin", with("stdin: true")},
		{"socket", containerRefused, "volumes: hostPath /run/lab/cri.sock", hostPath("/run/lab/cri.sock, type: Socket")},
		{"device", containerRefused, "volumes: hostPath /dev/null", hostPath("/dev/null, type: CharDevice")},
		{"processes", containerRefused, "volumes: hostPath /proc", hostPath("/proc")},
		{"capability", containerRefused, "securityContext.capabilities.add: SYS_ADMIN", with("securityContext: {capabilities: {add: [SYS_ADMIN]}}")},
		{"propagation", containerRefused, "mountPropagation of /shared", shared + ", " + with(mount)},
	}
	var manifests []string
	for _, c := range cases {
		manifests = append(manifests, pod(c.name, never, c.spec))
	}
	y.apply(manifests...)
	for _, c := range cases {
		y.event(c.name, c.reason, c.names+": not supported by the lab's container runtime: ")
	}
	list, err := y.core.CoreV1().Pods(y.ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list.Items {
		for _, c := range p.Status.ContainerStatuses {
			if c.State.Running != nil || c.State.Terminated != nil && c.State.Terminated.ExitCode == 0 {
				t.Errorf("%s runs all the same: %v", p.Name, c.State)
			}
		}
	}
}

// TestBadInput makes the mistakes that people make.
func TestBadInput(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.apply(
		pod("image", containers(container("main", "example/none:v1"))),
		pod("volume", "volumes: [{name: none, configMap: {name: none}}]",
			containers(sh("main", "true", "volumeMounts: [{name: none, mountPath: /none}]"))),
		pod("env", containers(sh("main", "true", "envFrom: [{configMapRef: {name: none}}]"))),
		pod("program", never, containers(container("main", "lab/sh:v1", "command: [/no/such/program]"))),
		pod("port", containers(shop("first"), shop("second"))))
	y.event("image", "Failed", `there is no image "example/none:v1" in the lab`, "pulls from no registry", "lab/sh:v1")
	y.waits("image", "ImagePullBackOff")
	y.event("volume", "FailedMount", `configmap "none" not found`)
	y.event("env", "Failed", `configmap "none" not found`)
	y.waits("env", "CreateContainerConfigError")
	y.event("program", "Failed", "/no/such/program")
	y.until("port", "crashing", func(p *corev1.Pod) bool {
		n := int32(0)
		for _, c := range p.Status.ContainerStatuses {
			n += c.RestartCount
		}
		return n > 0
	})
	// Which of the two comes first is not told.
	y.eventually("a log to say that the port is in use", func(ctx context.Context) bool {
		for _, c := range []string{"first", "second"} {
			b, err := y.core.CoreV1().Pods(y.ns).GetLogs("port", &corev1.PodLogOptions{Container: c, Previous: true}).DoRaw(ctx)
			if err == nil && strings.Contains(string(b), "address already in use") {
				return true
			}
		}
		return false
	})
}

// waits waits until a pod's only container waits for a reason.
func (y *yard) waits(name, reason string) {
	y.Helper()
	y.until(name, "waiting: "+reason, func(p *corev1.Pod) bool {
		s := p.Status.ContainerStatuses
		return len(s) > 0 && s[0].State.Waiting != nil && s[0].State.Waiting.Reason == reason
	})
}
