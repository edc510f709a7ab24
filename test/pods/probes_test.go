package pods

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// How a container is asked, and how soon a failure counts. An answer may take
// long on a busy machine, which is no failure.
const (
	soon     = "periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 30"
	askHTTP  = "{httpGet: {path: /healthz, port: 8080}, " + soon + "}"
	askTCP   = "{tcpSocket: {port: 8080}, " + soon + "}"
	askGRPC  = "{grpc: {port: 9000}, " + soon + "}"
	askShell = "{exec: {command: [test, '!', -e, /tmp/broken]}, " + soon + "}"
)

// TestLivenessRestarts has one pod for each way to ask.
func TestLivenessRestarts(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	cases := map[string]struct{ container, event string }{
		"exec": {sh("main", "true"+idle, "livenessProbe: {exec: {command: [sh, -c, 'echo I am ill; exit 1']}, "+soon+"}"), "I am ill"},
		"http": {shop("main", "env: [{name: ERRORS, value: '1:503'}]", "livenessProbe: {httpGet: {path: /, port: 8080}, "+soon+"}"), "503"},
		"tcp":  {sh("main", "true"+idle, "livenessProbe: "+askTCP), "connection refused"},
		"grpc": {sh("main", "true"+idle, "livenessProbe: "+askGRPC), ":9000"},
	}
	for name, c := range cases {
		y.apply(pod(name, containers(c.container)))
	}
	for name, c := range cases {
		y.event(name, "Unhealthy", "Liveness probe failed", c.event)
		y.event(name, "Killing", "failed liveness probe, will be restarted")
		y.until(name, "restarted", func(p *corev1.Pod) bool {
			return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].RestartCount > 0
		})
	}
}

// TestStartupComesFirst has a liveness probe that would end the container at
// once, were it asked before the startup probe has succeeded; and a startup
// probe that never does.
func TestStartupComesFirst(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	up := "exec: {command: [test, -e, /tmp/up]}, periodSeconds: 1, timeoutSeconds: 30"
	y.apply(
		pod("slow", containers(sh("main", "sleep 3; touch /tmp/up"+idle,
			"startupProbe: {"+up+", failureThreshold: 60}", "livenessProbe: {"+up+", failureThreshold: 1}"))),
		pod("never", containers(sh("main", "true"+idle, "startupProbe: {"+up+", failureThreshold: 1}"))))
	if n := y.ready("slow").Status.ContainerStatuses[0].RestartCount; n != 0 {
		t.Errorf("the slow one was started %d times anew, want 0", n)
	}
	y.event("never", "Killing", "failed startup probe, will be restarted")
}

// TestReadinessDecidesEndpoints has one pod for each way to ask, all behind one
// Service; one of them becomes unready, and ready again.
func TestReadinessDecidesEndpoints(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.apply(`
---
apiVersion: v1
kind: Service
metadata: {name: probed}
spec: {selector: {probed: "yes"}, ports: [{port: 80, targetPort: 8080}]}
`)
	probes := map[string]string{
		"exec": sh("main", "true"+idle, "readinessProbe: "+askShell),
		"http": shop("main", "readinessProbe: "+askHTTP),
		"tcp":  shop("main", "readinessProbe: "+askTCP),
		"grpc": shop("main", "readinessProbe: "+askGRPC),
	}
	manifests := pod("closed", containers(sh("main", "true"+idle, "readinessProbe: "+askTCP)))
	for name, c := range probes {
		manifests += pod(name, containers(c))
	}
	y.apply(manifests)
	y.kubectl("label", "pod", "--all", "probed=yes")
	for name := range probes {
		y.ready(name)
	}
	y.event("closed", "Unhealthy", "Readiness probe failed", "connection refused")
	y.endpoints("exec", "grpc", "http", "tcp")
	y.kubectl("exec", "exec", "--", "touch", "/tmp/broken")
	y.endpoints("grpc", "http", "tcp")
	y.event("exec", "Unhealthy", "Readiness probe failed")
	y.kubectl("exec", "exec", "--", "rm", "/tmp/broken")
	y.endpoints("exec", "grpc", "http", "tcp")
}

// endpoints waits until the Service "probed" leads to these pods and no other.
func (y *yard) endpoints(want ...string) {
	y.Helper()
	y.eventually("the Service to lead to "+join(want), func(ctx context.Context) bool {
		list, err := y.core.DiscoveryV1().EndpointSlices(y.ns).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=probed"})
		if err != nil {
			return false
		}
		var got []string
		for _, s := range list.Items {
			for _, e := range s.Endpoints {
				if e.Conditions.Ready != nil && *e.Conditions.Ready {
					got = append(got, e.TargetRef.Name)
				}
			}
		}
		return join(got) == join(want)
	})
}
