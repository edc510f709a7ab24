package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/labtest"
)

// outage is how long something is away: longer than the Lease of the leader is
// good for.
const outage = 30 * time.Second

// asksPerSecond bounds how often a process tries to reach what is away: a busy
// loop makes thousands.
const asksPerSecond = 10

// agent is how the API server knows Mizzen's requests.
const agent = "mizzen"

// frugal makes sure that a process does little while something is away: it
// must not burn processor time, nor fill the log, nor ask all the time. It
// asks, though: it is to notice the end by itself.
func frugal(t *testing.T, p *process, away *relay, during func()) {
	t.Helper()
	cpu, said, asked := p.cpu(), len(p.log()), away.attempts.Load()
	begin := time.Now()
	during()
	elapsed := time.Since(begin)
	p.alive()
	used, lines := p.cpu()-cpu, strings.Count(p.log()[said:], "\n")
	asks := away.attempts.Load() - asked
	t.Logf("%s: %s of processor time (%.1f %%), %d lines, %d times asked", elapsed.Round(time.Second), used,
		100*used.Seconds()/elapsed.Seconds(), lines, asks)
	if most := int64(elapsed.Seconds() * asksPerSecond); asks == 0 || asks > most {
		t.Errorf("asked %d times in %s what is away, want 1 to %d", asks, elapsed, most)
	}
	if used > elapsed/10 {
		t.Errorf("%s of processor time in %s", used, elapsed)
	}
	if lines > 10 {
		t.Errorf("%d lines in the log:\n%s", lines, p.log()[said:])
	}
}

// The API server that holds the Applications goes away for longer than the
// lead lasts. The process says so and waits; when the server is back it goes
// on by itself.
func TestHomeOutage(t *testing.T) {
	t.Parallel()
	s := newStage(t, 0)
	s.publish(map[string]string{"app/cm.yaml": configMap("cm", "1")})
	through := *s.lab
	var server *relay
	server, through.Cluster = behindRelay(t, s.lab.Cluster)
	p := launch(t, &through, s.state).ready()
	s.app("app", "app")
	s.shows("cm", "value", "1")

	// A busy cluster may have been slow to answer before.
	before := len(p.log())
	s.lab.Stop(t, &s.lab.Cluster)
	frugal(t, p, server, func() {
		labtest.Eventually(t, "/readyz says no", func(ctx context.Context) bool {
			code, body := p.get(ctx, "/readyz")
			return code == http.StatusServiceUnavailable && strings.Contains(body, "does not answer")
		})
		if code, _ := p.get(t.Context(), "/healthz"); code != http.StatusOK {
			t.Errorf("/healthz: %d: a restart would mend nothing", code)
		}
		code, stderr := cli(t, s.lab.Kubeconfig, "plan", "app", "-n", s.ns)
		if code != 2 || !strings.Contains(stderr, "check that") {
			t.Errorf("mizzen plan: exit code %d, want 2 with a remedy: %s", code, stderr)
		}
		s.push("While the cluster is away", map[string]string{"app/cm.yaml": configMap("cm", "2")})
		time.Sleep(outage)
	})
	if n := strings.Count(p.log()[before:], "does not answer"); n != 1 {
		t.Errorf("the outage is said %d times:\n%s", n, p.log())
	}

	s.lab.Resume(t, &s.lab.Cluster)
	s.shows("cm", "value", "2")
	p.ready()
	p.says("answers again")
	s.heals("cm", "2")
	s.push("After it", map[string]string{"app/cm.yaml": configMap("cm", "3")})
	s.shows("cm", "value", "3")

	// Nobody can be told, yet the process ends; and one that is started does not
	// pretend to work.
	s.lab.Stop(t, &s.lab.Cluster)
	if code, took := p.stop(); code != 0 || took > 10*time.Second {
		t.Errorf("exit code %d after %s, want 0 within 10s", code, took)
	}
	code, stderr := cli(t, s.lab.Kubeconfig, "up", "--state-dir", s.state, "--listen", anyPort)
	if code != 2 || !strings.Contains(stderr, "check that") {
		t.Errorf("mizzen up: exit code %d, want 2 with a remedy: %s", code, stderr)
	}
	s.lab.Resume(t, &s.lab.Cluster)
}

// heals changes a ConfigMap by hand, and waits until it has its value back.
func (s *stage) heals(name, value string) {
	s.test.Helper()
	out, err := s.run(s.test.Context(), "patch", "cm", name, "-n", s.ns, "--type=merge", "-p", `{"data":{"value":"drifted"}}`)
	if err != nil {
		s.test.Fatalf("%v: %s", err, out)
	}
	s.shows(name, "value", value)
}

// A destination goes away: its Applications say that nothing is known of them,
// its Cluster says why, and others go on.
func TestDestinationOutage(t *testing.T) {
	t.Parallel()
	s := newStage(t, labtest.SecondCluster)
	second := s.lab.Second(t)
	server, through := behindRelay(t, *second)
	s.addCluster(&through)
	s.publish(map[string]string{"app/cm.yaml": configMap("cm", "1")})
	p := launch(t, s.lab, s.state).ready()
	s.app("here", "app")
	s.app("there", "app", fmt.Sprintf("destination: {cluster: second, namespace: %s}", second.Namespace))
	s.until("there", "Ready", metav1.ConditionTrue, "")
	s.untilCluster("second", metav1.ConditionTrue, v1alpha1.ReasonSucceeded)
	remote := kubernetes.NewForConfigOrDie(second.Config)

	audit := s.lab.Audit(t)
	s.lab.Stop(t, second)
	frugal(t, p, server, func() {
		for _, condition := range []string{"Ready", "Synced"} {
			app := s.until("there", condition, metav1.ConditionUnknown, v1alpha1.ReasonClusterUnreachable)
			if meta.IsStatusConditionTrue(app.Status.Conditions, v1alpha1.ConditionStalled) {
				t.Error("an outage needs nobody to act")
			}
		}
		s.untilCluster("second", metav1.ConditionFalse, v1alpha1.ReasonClusterUnreachable)
		s.push("While the second is away", map[string]string{"app/cm.yaml": configMap("cm", "2")})
		s.shows("cm", "value", "2")
		time.Sleep(outage)
	})
	writes := map[string]int{}
	for _, r := range audit.Requests(t) {
		if strings.HasPrefix(r.UserAgent, agent) && r.Verb == "patch" && strings.HasSuffix(r.Resource, "/status") {
			writes[r.Resource+" "+r.Name]++
		}
	}
	t.Logf("status writes: %v", writes)
	// There: it is away. Its Cluster: it is away.
	if n := writes["applications/status there"]; n > 2 {
		t.Errorf("%d writes of the status of an Application of which nothing is known", n)
	}
	if n := writes["clusters/status second"]; n > 2 {
		t.Errorf("%d writes of the status of the Cluster", n)
	}

	s.lab.Resume(t, second)
	s.wait("the push to be applied there", func(ctx context.Context) bool {
		return s.value(ctx, remote, second.Namespace, "cm", "value") == "2"
	}, func() string { return fmt.Sprint(s.read(t.Context(), "there").Status.Conditions) })
	s.until("there", "Ready", metav1.ConditionTrue, "")
	s.untilCluster("second", metav1.ConditionTrue, v1alpha1.ReasonSucceeded)
	out, err := exec.Command(s.lab.Kubectl(), "--kubeconfig", second.Kubeconfig, "delete", "cm", "cm", "-n", second.Namespace).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.wait("the drift there to be healed", func(ctx context.Context) bool {
		return s.value(ctx, remote, second.Namespace, "cm", "value") == "2"
	}, func() string { return fmt.Sprint(s.read(t.Context(), "there").Status.Conditions) })
}

// addCluster makes the second cluster a destination, which trusts the service
// account that the Applications write as.
func (s *stage) addCluster(second *labtest.Cluster) {
	s.test.Helper()
	kubeconfig, err := os.ReadFile(second.Kubeconfig)
	if err != nil {
		s.test.Fatal(err)
	}
	s.apply(fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: second, namespace: $NS}
stringData: {kubeconfig: %q}
---
apiVersion: mizzen.dev/v1alpha1
kind: Cluster
metadata: {name: second, namespace: $NS}
spec: {kubeconfigSecretRef: {name: second}}
`, kubeconfig))
	cmd := exec.Command(s.lab.Kubectl(), "--kubeconfig", second.Kubeconfig, "apply", "--server-side", "-f", "-")
	cmd.Stdin = strings.NewReader(s.fill(fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tenant, namespace: %s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: default, namespace: $NS}]
`, second.Namespace)))
	if out, err := cmd.CombinedOutput(); err != nil {
		s.test.Fatalf("%v: %s", err, out)
	}
}

// untilCluster waits until a Cluster is or is not ready.
func (s *stage) untilCluster(name string, status metav1.ConditionStatus, reason string) {
	s.test.Helper()
	var found v1alpha1.Cluster
	s.wait(fmt.Sprintf("cluster %s to be %s", name, reason), func(ctx context.Context) bool {
		if err := s.client.Get(ctx, client.ObjectKey{Namespace: s.ns, Name: name}, &found); err != nil {
			return false
		}
		c := meta.FindStatusCondition(found.Status.Conditions, v1alpha1.ConditionReady)
		return c != nil && c.Status == status && c.Reason == reason
	}, func() string { return fmt.Sprint(found.Status.Conditions) })
}

// The Git server goes away: the Repository says so, once; the Applications are
// not written, and what drifts is still restored.
func TestGitOutage(t *testing.T) {
	t.Parallel()
	s := newStage(t, 0)
	s.repo = s.lab.Repo(t, map[string]string{"app/cm.yaml": configMap("cm", "1")})
	server, url := newRelay(t, s.repo.URL)
	s.declare(url)
	p := launch(t, s.lab, s.state).ready()
	s.app("app", "app")
	s.until("app", "Ready", metav1.ConditionTrue, "")

	audit := s.lab.Audit(t)
	server.stop()
	var said metav1.Condition
	var once *labtest.Audit
	frugal(t, p, server, func() {
		s.untilRepository(metav1.ConditionFalse, v1alpha1.ReasonFetchFailed)
		// The first failure may be that of a fetch which was under way, and be told
		// otherwise than the next ones: that no answer came to its end.
		failed := server.attempts.Load()
		labtest.Eventually(t, "a fetch that fails from its beginning", func(context.Context) bool {
			return server.attempts.Load() >= failed+2
		})
		said, once = s.untilRepository(metav1.ConditionFalse, v1alpha1.ReasonFetchFailed), s.lab.Audit(t)
		s.push("While Git is away", map[string]string{"app/cm.yaml": configMap("cm", "2")})
		s.heals("cm", "1")
		time.Sleep(outage)
	})
	if now := s.untilRepository(metav1.ConditionFalse, v1alpha1.ReasonFetchFailed); now != said {
		t.Errorf("the condition changed from %v to %v", said, now)
	}
	for resource, most := range map[string]int{"applications/status": 0, "applications": 0, "repositories/status": 2} {
		if n := audit.Count(t, labtest.By{UserAgent: agent, Verb: "patch", Resource: resource}); n > most {
			t.Errorf("%d writes of %s", n, resource)
		}
	}
	if n := once.Count(t, labtest.By{UserAgent: agent, Verb: "patch", Resource: "repositories/status"}); n > 0 {
		t.Errorf("what the Repository says already is written %d times more", n)
	}

	server.resume()
	s.shows("cm", "value", "2")
	s.untilRepository(metav1.ConditionTrue, v1alpha1.ReasonFetched)
	s.push("After it", map[string]string{"app/cm.yaml": configMap("cm", "3")})
	s.shows("cm", "value", "3")
}

// untilRepository waits until the Repository is or is not ready.
func (s *stage) untilRepository(status metav1.ConditionStatus, reason string) (ready metav1.Condition) {
	s.test.Helper()
	var found v1alpha1.Repository
	s.wait("the repository to be "+reason, func(ctx context.Context) bool {
		if err := s.client.Get(ctx, client.ObjectKey{Namespace: s.ns, Name: "demo"}, &found); err != nil {
			return false
		}
		c := meta.FindStatusCondition(found.Status.Conditions, v1alpha1.ConditionReady)
		if c != nil {
			ready = *c
		}
		return c != nil && c.Status == status && c.Reason == reason
	}, func() string { return fmt.Sprint(found.Status.Conditions) })
	return ready
}
