package pods

import (
	"context"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// servers is a Deployment of shops whose answers tell their pod, and Services
// of it with an address and without.
func servers(replicas int, app string) string {
	return fmt.Sprintf(`
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: server}
spec:
  replicas: %d
  selector: {matchLabels: {server: "yes"}}
  template:
    metadata: {labels: {server: "yes"}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: shop
        image: lab/shop:v1
        env: [{name: APP, value: %s}, {name: VERSION, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, timeoutSeconds: 30}
        lifecycle: {preStop: {sleep: {seconds: 2}}}
---
apiVersion: v1
kind: Service
metadata: {name: server}
spec: {selector: {server: "yes"}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {server: "yes"}, ports: [{port: 8080}]}
`, replicas, app)
}

// TestServices asks a Service by its names from a pod until each endpoint has
// answered, and asks DNS for the endpoints' addresses.
func TestServices(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.apply(servers(3, "server"), pod("client", containers(sh("main", "true"+idle))))
	y.kubectl("rollout", "status", "deployment/server", "--timeout=5m")
	y.ready("client")
	var pods, addresses []string
	list, err := y.core.CoreV1().Pods(y.ns).List(t.Context(), metav1.ListOptions{LabelSelector: "server=yes"})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list.Items {
		pods, addresses = append(pods, p.Name), append(addresses, p.Status.PodIP)
	}
	for _, name := range []string{"server", "server." + y.ns, "server." + y.ns + ".svc.cluster.local"} {
		y.eventually("each pod to answer for "+name, func(context.Context) bool {
			out, _ := y.command("exec", "client", "--", "sh", "-c",
				"for i in $(seq 30); do curl -sS http://"+name+"/; echo; done").CombinedOutput()
			return containsAll(string(out), pods)
		})
	}
	y.eventually("DNS to name all pods", func(context.Context) bool {
		out, _ := y.command("exec", "client", "--", "sh", "-c", "getent ahostsv4 headless | awk '/STREAM/ {print $1}'").CombinedOutput()
		return join(strings.Fields(string(out))) == join(addresses)
	})
	if out, err := y.command("exec", "client", "--", "getent", "hosts", "no-such-service").CombinedOutput(); err == nil {
		t.Errorf("a Service that is not there has the address %s", out)
	}
}

// TestRollingUpdate replaces the pods of a Deployment while a pod sends requests
// to them: none of them fails, and the last are answered by the new pods.
func TestRollingUpdate(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.apply(servers(2, "old"), pod("client", containers(sh("main", "true"+idle))))
	y.kubectl("rollout", "status", "deployment/server", "--timeout=5m")
	y.ready("client")
	load := y.command("exec", "client", "--", "sh", "-c", `touch /tmp/on; while test -e /tmp/on; do
  curl -sS --max-time 30 http://server/ >/tmp/answer || echo failed; sleep 0.05; done; cat /tmp/answer`)
	var out strings.Builder
	load.Stdout, load.Stderr = &out, &out
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	y.eventually("the load to start", func(context.Context) bool {
		return y.command("exec", "client", "--", "test", "-s", "/tmp/answer").Run() == nil
	})
	y.kubectl("set", "env", "deployment/server", "APP=new")
	y.kubectl("rollout", "status", "deployment/server", "--timeout=5m")
	y.eventually("only new pods to be left", func(ctx context.Context) bool {
		list, err := y.core.CoreV1().Pods(y.ns).List(ctx, metav1.ListOptions{LabelSelector: "server=yes"})
		return err == nil && len(list.Items) == 2
	})
	y.kubectl("exec", "client", "--", "rm", "/tmp/on")
	if err := load.Wait(); err != nil {
		t.Errorf("the load: %v", err)
	}
	if strings.Contains(out.String(), "failed") || !strings.Contains(out.String(), `"new"`) {
		t.Errorf("requests during the update: %s", out.String())
	}
}
