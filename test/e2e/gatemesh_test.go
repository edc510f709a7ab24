package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"mizzen.dev/mizzen/api/v1alpha1"
)

// workload is a Deployment with its Service.
func workload(name string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: 1
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      containers: [{name: %[1]s, image: "lab/shop:v1"}]
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec:
  selector: {app: %[1]s}
  ports: [{name: http, port: 80}]
`, name)
}

// peers is a PeerAuthentication.
func peers(mode string) string {
	return "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: mtls}\nspec: {mtls: {mode: " + mode + "}}\n"
}

// newMesh is a stage with Istio's definitions and a namespace with injection,
// whose repository holds a workload and asks for approval of plaintext.
func newMesh(t *testing.T) *stage {
	t.Helper()
	s := newStage(t, 0)
	installIstio(t, s.lab)
	s.kube("create", "namespace", "istio-system")
	s.kube("label", "namespace", s.ns, "istio-injection=enabled")
	s.apply(people)
	s.publish(map[string]string{
		".mizzen.yaml": "policy:\n  guardrails: {mtls-weakened: approval, others-affected: off}\n",
		"CODEOWNERS":   "app/ @acme/security\n", "app/app.yaml": workload("web"), "app/cm.yaml": configMap("cm", "1"),
		"told/cm.yaml": configMap("told", "1"),
	})
	return s
}

// look has "app" evaluated anew.
func (s *stage) look(n int) {
	s.kube("annotate", "app.mizzen.dev", "app", "-n", s.ns, "--overwrite", fmt.Sprintf("mizzen.dev/reconcile=%d", n))
}

// A team's PERMISSIVE is harmless by all that its repository says, and weakens
// what the platform brought from another one: the gate judges by the cluster.
func TestGateKnowsTheCluster(t *testing.T) {
	t.Parallel()
	s := newMesh(t)
	launch(t, s.lab, s.state).ready()
	platform := s.lab.Repo(t, map[string]string{"mesh/mtls.yaml": strings.Replace(peers("STRICT"), "name: mtls", "name: mtls, namespace: istio-system", 1)})
	s.apply(fmt.Sprintf(`
apiVersion: mizzen.dev/v1alpha1
kind: Repository
metadata: {name: platform, namespace: mizzen-system}
spec: {url: %s, interval: 2s}
---
apiVersion: mizzen.dev/v1alpha1
kind: Application
metadata: {name: mesh, namespace: mizzen-system}
spec:
  source: {repository: platform, path: mesh}
  privileged: true
`, platform.URL))
	s.wait("the platform's mTLS", func(ctx context.Context) bool {
		_, err := s.run(ctx, "get", "peerauthentication", "mtls", "-n", "istio-system")
		return err == nil
	}, func() string { return "it is not there" })
	s.app("app", "app", "sync: {gate: Policy}")
	s.until("app", "Ready", metav1.ConditionTrue, "")

	s.push("Let plaintext in", map[string]string{"app/mtls.yaml": peers("PERMISSIVE"), "app/cm.yaml": configMap("cm", "2")})
	held := s.until("app", "Synced", metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval)
	if message := conditionMessage(held, "Synced"); !strings.Contains(message, "mtls-weakened") || held.Status.Review.Effects.Danger == 0 {
		t.Errorf("%s, %+v", message, held.Status.Review)
	}
	s.stays("1")
	digest := held.Status.Review.Digest

	// What others do beside it is no matter of this approval.
	s.kube("create", "namespace", "beside")
	s.kube("label", "namespace", "beside", "istio-injection=enabled")
	s.kube("create", "deployment", "beside", "-n", "beside", "--image=lab/shop:v1")
	s.wait("another look", func(ctx context.Context) bool {
		s.look(1)
		return s.read(ctx, "app").Status.HandledReconcile == "1"
	}, func() string { return fmt.Sprint(s.read(t.Context(), "app").Status) })
	again := s.read(t.Context(), "app").Status.Review
	if again == nil || again.Digest != digest {
		t.Errorf("the digest was %s, and is that of %+v", digest, again)
	}
	s.stays("1")

	// Without what it weakens nobody has to agree.
	platform.Git(t, "rm", "-q", "mesh/mtls.yaml")
	platform.Push(t, platform.Commit(t, "Take it away", map[string]string{"mesh/cm.yaml": strings.Replace(configMap("cm", "1"), "name: cm", "name: cm, namespace: istio-system", 1)}))
	s.wait("the platform's mTLS to go", func(ctx context.Context) bool {
		_, err := s.run(ctx, "get", "peerauthentication", "mtls", "-n", "istio-system")
		return err != nil
	}, func() string { return "it is there" })
	n := 1
	s.wait("the revision to pass", func(ctx context.Context) bool {
		n++
		s.look(n)
		return s.value(ctx, s.core, s.ns, "cm", "value") == "2"
	}, func() string { return conditionMessage(s.read(t.Context(), "app"), "Synced") })
}

// clusterRole returns the ClusterRole that docs/gate.md shows.
func clusterRole(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/gate.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```yaml\n(apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n.*?)```").FindSubmatch(b)
	if found == nil {
		t.Fatal("docs/gate.md shows no ClusterRole")
	}
	return string(found[1])
}

// An identity that may not read what the cluster has cannot judge: the revision
// waits, and the status says what is missing. The role in the docs is enough.
func TestGateMayNotRead(t *testing.T) {
	t.Parallel()
	s := newMesh(t)
	s.apply(`
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: $NS}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: syncs}
rules:
- {apiGroups: [""], resources: [serviceaccounts], verbs: [impersonate]}
- {apiGroups: ["", apps, security.istio.io], resources: [configmaps, deployments, peerauthentications], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [services], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: syncs}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: syncs}
subjects: [{kind: ServiceAccount, name: reader, namespace: $NS}]
---
apiVersion: mizzen.dev/v1alpha1
kind: Cluster
metadata: {name: here, namespace: $NS}
spec: {kubeconfigSecretRef: {name: here}}
`)
	s.apply(fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: here, namespace: $NS}\ndata: {kubeconfig: %s}\n",
		base64.StdEncoding.EncodeToString(s.kubeconfigOf("reader"))))
	launch(t, s.lab, s.state).ready()
	s.app("app", "app", "sync: {gate: Policy}", "destination: {cluster: here}")
	s.app("told", "told", "sync: {gate: Report}", "destination: {cluster: here}")
	s.shows("cm", "value", "1")
	s.shows("told", "value", "1")
	s.until("app", "Synced", metav1.ConditionTrue, "")
	s.until("told", "Synced", metav1.ConditionTrue, "")

	s.push("Change", map[string]string{"app/cm.yaml": configMap("cm", "2"), "told/cm.yaml": configMap("told", "2")})
	held := s.until("app", "Synced", metav1.ConditionFalse, v1alpha1.ReasonReviewFailed)
	message := conditionMessage(held, "Synced")
	for _, want := range []string{"what cluster here has beside Git cannot be read", "in the whole cluster", "to list "} {
		if !strings.Contains(message, want) {
			t.Errorf("%q is not in %s", want, message)
		}
	}
	s.stays("1")
	// A gate that holds nothing says so, and lets it pass.
	s.shows("told", "value", "2")
	s.wait("the failure to be told", func(ctx context.Context) bool {
		events, err := s.run(ctx, "get", "events", "-n", s.ns)
		return err == nil && strings.Contains(events, "it cannot be told what the revision does: what cluster here has beside Git cannot be read")
	}, func() string { events, _ := s.run(t.Context(), "get", "events", "-n", s.ns); return events })

	s.apply(clusterRole(t))
	s.kube("create", "clusterrolebinding", "reviews", "--clusterrole=mizzen-reviews", "--serviceaccount="+s.ns+":reader")
	s.shows("cm", "value", "2")
}

// kubeconfigOf is that of a service account.
func (s *stage) kubeconfigOf(account string) []byte {
	s.test.Helper()
	token, err := s.core.CoreV1().ServiceAccounts(s.ns).CreateToken(s.test.Context(), account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		s.test.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(s.lab.Kubeconfig)
	if err != nil {
		s.test.Fatal(err)
	}
	for _, user := range config.AuthInfos {
		*user = clientcmdapi.AuthInfo{Token: token.Status.Token}
	}
	b, err := clientcmd.Write(*config)
	if err != nil {
		s.test.Fatal(err)
	}
	return b
}

// A gate that reports says in the status what a revision does and what policy says
// of it, and holds nothing. It may be the default of the controller.
func TestGateReports(t *testing.T) {
	t.Parallel()
	s := newStage(t, 0)
	s.publish(gated("1"))
	p := launchAs(t, s.lab, s.state, "up --default-gate Report").ready()
	s.app("app", "app")
	s.until("app", "Ready", metav1.ConditionTrue, "")
	passes := func(value string, byDefault bool) {
		t.Helper()
		commit := s.push("Change to "+value, map[string]string{"app/cm.yaml": configMap("cm", value)})
		s.shows("cm", "value", value)
		s.wait("the review to be told", func(ctx context.Context) bool {
			app := s.read(ctx, "app")
			return app.Status.Review != nil && app.Status.Review.Revision == commit && app.Status.Revision == commit
		}, func() string { return fmt.Sprint(s.read(t.Context(), "app").Status) })
		r := s.read(t.Context(), "app").Status.Review
		if r.Decision != "needsApproval" || r.Gate != v1alpha1.GateReport || r.Default != byDefault || r.Digest == "" || r.Changes.Updated != 1 {
			t.Errorf("the review is %+v", r)
		}
	}
	passes("2", true)
	s.kube("patch", "app.mizzen.dev", "app", "-n", s.ns, "--type=merge", "-p", `{"spec":{"sync":{"gate":"Report"}}}`)
	passes("3", false)
	out, err := exec.Command("../../bin/mizzen", "approve", "app", "-n", s.ns, "--kubeconfig", s.lab.Kubeconfig, "--yes").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "it has no gate that holds a revision") {
		t.Errorf("an approval of what passed: %v %s", err, out)
	}

	// Without that default nothing is reviewed, and nobody misses it.
	s.kube("patch", "app.mizzen.dev", "app", "-n", s.ns, "--type=json", "-p", `[{"op":"remove","path":"/spec/sync/gate"}]`)
	passes("4", true)
	p.stop()
	launch(t, s.lab, s.state).ready()
	s.push("Change to 5", map[string]string{"app/cm.yaml": configMap("cm", "5")})
	s.shows("cm", "value", "5")
	s.wait("the review to go", func(ctx context.Context) bool { return s.read(ctx, "app").Status.Review == nil },
		func() string { return fmt.Sprint(s.read(t.Context(), "app").Status) })
	p = launchAs(t, s.lab, t.TempDir(), "up --default-gate Sometimes")
	p.says("Sometimes")
}
