package mesh

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen/internal/labtest"
)

// shop is where the demo's gateway sends "/": web, and all that it calls.
const shop = "http://istio-ingressgateway.istio-ingress/"

// pace is the load of an outage, in requests a second: what two cores carry
// beside all else that happens then. Each goes through six services.
const pace = "20"

// TestUpgradeByRevision follows examples/revision of the demo: a second control
// plane beside the first, the shop and its gateway moved to it, the first one
// removed, each by a commit and all under load; and back again.
func TestUpgradeByRevision(t *testing.T) {
	m := newTeam(t)
	m.becomes("200", "caller-v1", shop)
	repo := m.clone()
	r := m.during(pace, func() {
		repo.edit("apps/values.yaml", "revisions: [default]", "revisions: [default, canary]")
		repo.push("Add a control plane")
		m.ready("istiod-canary")

		repo.edit("services/revision/kustomization.yaml", "value: default", "value: canary")
		repo.push("Move the shop")
		m.serves("shop", "security.istio.io/tlsMode=istio", "canary")

		repo.edit("helm-charts/gateway/values.yml", "  revision: ", "  revision: canary #")
		repo.push("Move the gateway")
		m.serves("istio-ingress", "istio=ingressgateway", "canary")

		repo.edit("apps/values.yaml", "revisions: [default, canary]", "revisions: [canary]")
		repo.push("Remove the old control plane")
		m.controlPlanes("istiod-canary")

		// And back, the same way. The caller's proxy, which nobody moved, had no
		// control plane meanwhile, and takes its time to find the new one: until then
		// it would not hear of another gateway.
		repo.revert(1)
		m.ready("istiod")
		m.connected()
		repo.revert(3)
		m.serves("istio-ingress", "istio=ingressgateway", "default")
		repo.revert(5)
		m.serves("shop", "security.istio.io/tlsMode=istio", "default")
		repo.revert(7)
		m.controlPlanes("istiod")
	}, shop)
	m.clean(r)
}

// TestSubsetsComeBack deletes the subsets that the shop's routes name, by hand
// and under load. Until Mizzen has put them back and the proxies have them,
// requests fail; how many is counted, and afterwards none does.
func TestSubsetsComeBack(t *testing.T) {
	m := newTeam(t)
	m.becomes("200", "caller-v1", shop)
	uid := func() string {
		return m.kubectl("get", "-n", "shop", "destinationrule", "reviews-destination", "-o", "jsonpath={.metadata.uid}")
	}
	before := uid()
	r := m.during(pace, func() {
		m.kubectl("delete", "-n", "shop", "destinationrule", "reviews-destination")
		labtest.Eventually(t, "the DestinationRule to be back", func(context.Context) bool {
			out, err := m.try("get", "-n", "shop", "destinationrule", "reviews-destination", "-o", "jsonpath={.metadata.uid}")
			return err == nil && out != before
		})
		labtest.Eventually(t, "the proxies to have it", func(context.Context) bool {
			return m.load("-n", "50", shop).Total.Failed == 0
		})
	}, shop)
	if r.Total.Requests == 0 {
		t.Errorf("there was no load: %s", r)
	}
	t.Logf("%d of %d requests failed while the subsets were away", r.Total.Failed, r.Total.Requests)
	if after := m.load("-n", "500", shop); after.Total.Failed != 0 {
		t.Errorf("requests still fail: %s", after)
	}
}

// TestControlPlaneEnds kills istiod under load: the proxies go on with what
// they have, and follow its successor. Mizzen has nothing to write there, as
// test/peace says of quieter minutes.
func TestControlPlaneEnds(t *testing.T) {
	m := newTeam(t)
	m.becomes("200", "caller-v1", shop)
	mark := m.lab.Audit(t)
	r := m.during(pace, func() {
		m.kubectl("delete", "pod", "-n", "istio-system", "-l", "app=istiod", "--grace-period=0", "--force")
		m.kubectl("rollout", "status", "-n", "istio-system", "deployment/istiod", "--timeout=2m")
	}, shop)
	m.clean(r)
	for _, r := range mark.Writes(t, "mizzen") {
		if r.Namespace == "istio-system" || strings.HasSuffix(r.Resource, "webhookconfigurations") {
			t.Errorf("Mizzen did %s %s %s/%s", r.Verb, r.Resource, r.Namespace, r.Name)
		}
	}
	// The successor's word reaches the proxies.
	m.apply(subsets + virtualService(`[{fault: {abort: {percentage: {value: 100}, httpStatus: 418}}, route: [{destination: {host: server}}]}]`))
	m.becomes("418", "caller-v1", "http://server/")
}

// TestGatewayRestarts replaces the gateway's pod under load.
func TestGatewayRestarts(t *testing.T) {
	m := newTeam(t)
	m.becomes("200", "caller-v1", shop)
	m.clean(m.during(pace, func() {
		m.kubectl("rollout", "restart", "-n", "istio-ingress", "deployment/istio-ingressgateway")
		m.kubectl("rollout", "status", "-n", "istio-ingress", "deployment/istio-ingressgateway", "--timeout=2m")
	}, shop))
}

func (m *team) clean(r report) {
	m.Helper()
	if r.Total.Failed != 0 || r.Total.Requests == 0 {
		m.Errorf("want requests, and none to fail: %s", r)
	}
	m.Logf("%d of %d requests failed", r.Total.Failed, r.Total.Requests)
}

// controlPlanes waits until only one istiod is left.
func (m *team) controlPlanes(want string) {
	m.Helper()
	labtest.Eventually(m.T, "only "+want+" to be left", func(context.Context) bool {
		out, err := m.try("get", "deployment", "-n", "istio-system", "-l", "app=istiod", "-o", "name")
		return err == nil && strings.TrimSpace(out) == "deployment.apps/"+want
	})
}

// syncStatus is what istiod says of a proxy at /debug/syncz.
type syncStatus struct {
	Proxy         string `json:"proxy"`
	EndpointAcked string `json:"endpoint_acked"`
}

// connected waits until the caller's proxy, no other of its namespace, has its
// endpoints from a control plane.
func (m *team) connected() {
	m.Helper()
	labtest.Eventually(m.T, "the caller's proxy to have a control plane", func(context.Context) bool {
		cmd := exec.CommandContext(m.Context(), m.lab.Kubectl(), "--kubeconfig", m.lab.Kubeconfig,
			"exec", "-n", "istio-system", "deployment/istiod", "--", "pilot-discovery", "request", "GET", "/debug/syncz")
		out, err := cmd.Output() // without what kubectl may say beside it
		var proxies []syncStatus
		if err != nil || json.Unmarshal(out, &proxies) != nil {
			return false
		}
		return slices.ContainsFunc(proxies, func(p syncStatus) bool {
			return strings.HasPrefix(p.Proxy, "caller-") && strings.HasSuffix(p.Proxy, "."+m.ns) && p.EndpointAcked != ""
		})
	})
}

// ready waits until an Application of the platform is Ready.
func (m *team) ready(app string) {
	m.Helper()
	labtest.Eventually(m.T, app+" to be ready", func(context.Context) bool {
		out, err := m.try("get", "application", "-n", "mizzen-system", app, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
		return err == nil && out == "True"
	})
}

// serves waits until every running pod of a namespace has its sidecar from a
// control plane.
func (m *team) serves(namespace, selector, revision string) {
	m.Helper()
	labtest.Eventually(m.T, namespace+" to be moved to "+revision, func(ctx context.Context) bool {
		pods, err := m.core.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil || len(pods.Items) == 0 {
			return false
		}
		for _, p := range pods.Items {
			if p.Labels["istio.io/rev"] != revision || p.DeletionTimestamp != nil || p.Status.Phase != "Running" {
				return false
			}
		}
		return true
	})
}

// demo is a clone of the demo's repository.
type demo struct {
	m     *team
	dir   string
	start string
}

// clone clones the demo, and puts it back as it was when the test ends: other
// tests use the same mesh.
func (m *team) clone() *demo {
	m.Helper()
	d := &demo{m: m, dir: filepath.Join(m.TempDir(), "demo")}
	m.git("", "clone", "-q", m.lab.GitURL+"/demo.git", d.dir)
	d.start = m.git(d.dir, "rev-parse", "HEAD")
	m.Cleanup(func() {
		m.git(d.dir, "checkout", "-q", d.start, "--", ".")
		m.git(d.dir, "commit", "-q", "--allow-empty", "-am", "Put everything back")
		m.git(d.dir, "push", "-q")
	})
	m.explains()
	return d
}

func (d *demo) edit(file, from, to string) {
	d.m.Helper()
	path := filepath.Join(d.dir, file)
	b, err := os.ReadFile(path)
	if err != nil {
		d.m.Fatal(err)
	}
	if !strings.Contains(string(b), from) {
		d.m.Fatalf("%s has no %q", file, from)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), from, to, 1)), 0o644); err != nil {
		d.m.Fatal(err)
	}
}

// revert takes back the nth of the last commits.
func (d *demo) revert(n int) {
	d.m.Helper()
	d.m.git(d.dir, "revert", "--no-edit", "HEAD~"+strconv.Itoa(n-1))
	d.m.git(d.dir, "push", "-q")
}

func (d *demo) push(message string) {
	d.m.Helper()
	d.m.git(d.dir, "commit", "-qam", message)
	d.m.git(d.dir, "push", "-q")
}
