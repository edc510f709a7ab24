// Package mesh tells what a mesh that Mizzen installed from Git does with
// traffic: pods with Istio's sidecars on the lab's live node, requests through
// real proxies. All tests share one mesh; each has a namespace of its own, a
// team that runs a caller and two versions of a server. Those of load and of the
// model are alone, one after the other; the others run beside each other then.
package mesh

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes"

	"mizzen.dev/mizzen/internal/labtest"
)

// team is a namespace of the mesh.
type team struct {
	*testing.T
	lab  *labtest.Lab
	core kubernetes.Interface
	ns   string
	// explained: it has been said how the mesh was when the test failed.
	explained bool
}

// newTeam starts the mesh, or joins it, and deploys into a fresh namespace: a
// caller, a stranger without a sidecar, and server v1 and v2.
func newTeam(t *testing.T) *team {
	t.Helper()
	lab := labtest.Start(t, labtest.ControlPlane|labtest.Git|labtest.Mesh)
	m := &team{T: t, lab: lab, core: kubernetes.NewForConfigOrDie(lab.Config), ns: lab.Namespace}
	m.kubectl("label", "namespace", m.ns, "istio-injection=enabled")
	m.apply(workload("caller", "v1", "true") + workload("stranger", "v1", "false") +
		workload("server", "v1", "true") + workload("server", "v2", "true") + service("caller") + service("server"))
	for _, name := range []string{"caller-v1", "stranger-v1", "server-v1", "server-v2"} {
		m.kubectl("rollout", "status", "-n", m.ns, "deployment", name, "--timeout=3m")
	}
	m.explains()
	return m
}

// explains makes a test that fails say how the mesh is then, before what was
// registered for its end earlier changes it.
func (m *team) explains() {
	m.Cleanup(func() {
		if !m.Failed() || m.explained {
			return
		}
		m.explained = true
		const conditions = `{{range .items}}{{$name := .metadata.name}}{{range .status.conditions}}` +
			`{{$name}}: {{.type}} {{.status}} since {{.lastTransitionTime}}: {{.message}}{{"\n"}}{{end}}{{end}}`
		log := filepath.Join(m.lab.Dir, "mizzen.log")
		for _, ask := range [][]string{
			{m.lab.Kubectl(), "get", "applications,repositories", "-n", "mizzen-system", "-o", "go-template=" + conditions},
			{m.lab.Kubectl(), "get", "pods", "-A", "-o", "wide", "--show-labels", "--field-selector", "spec.nodeName=lab-1"},
			{m.lab.Kubectl(), "get", "deployments,replicasets", "-A", "-o", "wide"},
			{m.lab.Kubectl(), "get", "events", "-A", "--sort-by", ".metadata.creationTimestamp"},
			{"tail", "-n", "100", log},
		} {
			cmd := exec.Command(ask[0], ask[1:]...) // the test's context has ended
			cmd.Env = append(os.Environ(), "KUBECONFIG="+m.lab.Kubeconfig)
			out, err := cmd.CombinedOutput()
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			m.Logf("%s: %v\n%s", strings.Join(ask[1:], " "), err, strings.Join(lines[max(0, len(lines)-100):], "\n"))
		}
	})
}

// workload is a Deployment; settings are further entries of its environment.
func workload(app, version, injected string, settings ...string) string {
	return fmt.Sprintf(`
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: %[1]s}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s-%[2]s}
spec:
  selector: {matchLabels: {app: %[1]s, version: %[2]s}}
  template:
    metadata: {labels: {app: %[1]s, version: %[2]s, sidecar.istio.io/inject: "%[3]s"}}
    spec:
      serviceAccountName: %[1]s
      terminationGracePeriodSeconds: 5
      containers:
      - name: app
        image: lab/shop:v1
        env: [{name: APP, value: %[1]s}, {name: VERSION, value: %[2]s}%[4]s]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
`, app, version, injected, strings.Join(append([]string{""}, settings...), ", "))
}

func service(app string) string {
	return fmt.Sprintf(`
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec:
  selector: {app: %[1]s}
  ports: [{name: http, port: 80, targetPort: 8080}]
`, app)
}

// subsets name the versions of server.
const subsets = `
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: server}
spec:
  host: server
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
`

// virtualService routes requests for server by http, a YAML list.
func virtualService(http string) string {
	return fmt.Sprintf(`
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: server}
spec:
  hosts: [server]
  http: %s
`, http)
}

func (m *team) kubectl(args ...string) string {
	m.Helper()
	out, err := m.try(args...)
	if err != nil {
		m.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (m *team) try(args ...string) (string, error) {
	cmd := exec.CommandContext(m.Context(), m.lab.Kubectl(), append([]string{"--kubeconfig", m.lab.Kubeconfig}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (m *team) apply(yaml string) {
	m.Helper()
	m.applyIn(m.ns, yaml)
}

func (m *team) applyIn(namespace, yaml string) {
	m.Helper()
	cmd := exec.CommandContext(m.Context(), m.lab.Kubectl(), "--kubeconfig", m.lab.Kubeconfig, "apply", "--server-side", "-n", namespace, "-f", "-")
	cmd.Stdin = strings.NewReader(yaml)
	if out, err := cmd.CombinedOutput(); err != nil {
		m.Fatalf("kubectl apply: %v\n%s", err, out)
	}
}

// answer is what a server of the shop says.
type answer struct {
	Status  int
	App     string
	Version string
	Path    string
	XFCC    string
	Error   string
}

// unanswered is the status of a request to which nobody answered, as curl says
// it. A curl that was not even started says none.
const unanswered = "000"

// get sends one request from a workload, by a connection of its own, and
// returns its status and body. The status is empty if the request was not sent.
func (m *team) get(from, url string, args ...string) (status string, body string) {
	m.Helper()
	// A line of its own: kubectl says after it how curl has ended.
	curl := append([]string{
		"exec", "-n", m.ns, "deployment/" + from, "-c", "app", "--",
		"curl", "-s", "-m", "10", "-w", "\n%{http_code}\n", url,
	}, args...)
	out, _ := m.try(curl...) // curl's status says it
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, line := range lines {
		if len(line) == 3 && strings.Trim(line, "0123456789") == "" {
			return line, strings.Join(lines[:i], "\n")
		}
	}
	return "", out
}

// takes returns the status of a request from a workload, and how long the
// caller waited for it.
func (m *team) takes(from, url string) (status string, seconds float64) {
	m.Helper()
	out := m.kubectl("exec", "-n", m.ns, "deployment/"+from, "-c", "app", "--",
		"curl", "-s", "-m", "30", "-o", "/dev/null", "-w", "%{http_code} %{time_total}", url)
	if _, err := fmt.Sscan(out, &status, &seconds); err != nil {
		m.Fatalf("curl %s: %v: %q", url, err, out)
	}
	return status, seconds
}

// becomes waits until a request from a workload has a status: routes and
// policies take a moment to reach the proxies.
func (m *team) becomes(want, from, url string, args ...string) answer {
	m.Helper()
	var status, body string
	labtest.Eventually(m.T, fmt.Sprintf("%s from %s to be answered by %s", url, from, want), func(context.Context) bool {
		status, body = m.get(from, url, args...)
		return status == want
	})
	var a answer
	_ = json.Unmarshal([]byte(body), &a) // a proxy answers with text
	return a
}

// report is what `shop load` counts.
type report struct {
	Total struct {
		Requests, Failed int
		Latency          struct{ P50Seconds, P99Seconds float64 }
	}
	Targets []struct {
		Statuses map[string]int
		Versions []struct {
			Name     string
			Requests int
		}
		Failures []struct {
			Reason string
			Count  int
		}
	}
}

func (r report) of(version string) (n int) {
	for _, target := range r.Targets {
		for _, v := range target.Versions {
			if v.Name == version {
				n += v.Requests
			}
		}
	}
	return n
}

func (r report) String() string {
	b, _ := json.Marshal(r)
	return string(b)
}

// load sends requests from the caller and returns what became of them.
func (m *team) load(args ...string) report {
	m.Helper()
	cmd := exec.CommandContext(m.Context(), m.lab.Kubectl(), append([]string{
		"--kubeconfig", m.lab.Kubeconfig,
		"exec", "-n", m.ns, "deployment/caller-v1", "-c", "app", "--", "shop", "load", "-o", "json",
	}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, _ := cmd.Output() // failed requests are in the report
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		m.Fatalf("shop load %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return r
}

// during runs load from the caller while do changes the mesh, until a while
// after do has returned, and tells what became of the requests. It runs in a
// pod of its own, so that no other test's report is in its way.
func (m *team) during(rate string, do func(), url string) report {
	m.Helper()
	ctx, cancel := context.WithCancel(m.Context())
	cmd := exec.CommandContext(ctx, m.lab.Kubectl(), "--kubeconfig", m.lab.Kubeconfig, "exec", "-n", m.ns,
		"deployment/caller-v1", "-c", "app", "--", "sh", "-c",
		"shop load -o json -qps "+rate+" -c 8 -d 15m "+url+" >/tmp/report & echo $! >/tmp/load; wait; exit 0")
	if err := cmd.Start(); err != nil {
		m.Fatal(err)
	}
	defer func() {
		cancel() // a test that has failed does not wait for the end of its load
		_ = cmd.Wait()
	}()
	labtest.Eventually(m.T, "the load to start", func(context.Context) bool {
		_, err := m.inCaller("kill -0 $(cat /tmp/load)")
		return err == nil
	})
	do()
	after := m.load("-n", "250", "-qps", rate, url) // a while in which all should be well
	if after.Total.Failed != 0 {
		m.Errorf("requests fail after all is done: %s", after)
	}
	if out, err := m.inCaller("kill -INT $(cat /tmp/load); while kill -0 $(cat /tmp/load) 2>/dev/null; do sleep 0.1; done"); err != nil {
		m.Fatalf("stop the load: %v\n%s", err, out)
	}
	out, err := m.inCaller("cat /tmp/report")
	if err != nil {
		m.Fatalf("report: %v\n%s", err, out)
	}
	var r report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		m.Fatalf("report: %v\n%s", err, out)
	}
	return r
}

func (m *team) inCaller(script string) (string, error) {
	return m.try("exec", "-n", m.ns, "deployment/caller-v1", "-c", "app", "--", "sh", "-c", script)
}

func (m *team) git(dir string, args ...string) string {
	m.Helper()
	cmd := exec.Command("git", args...) // also in a Cleanup, when the test's context has ended
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.test", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.test")
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}
