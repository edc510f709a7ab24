package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/controller"
	"mizzen.dev/mizzen/internal/labtest"
)

// stage is a lab of one test with a repository, for what a script cannot tell:
// processes that die and clusters that go away.
type stage struct {
	*scenario
	test   *testing.T
	client client.Client
	core   kubernetes.Interface
	// dynamic is for objects of any kind.
	dynamic dynamic.Interface
	state   string
}

// newStage starts a lab of the test's own, whose namespace trusts its default
// service account.
func newStage(t *testing.T, parts labtest.Part) *stage {
	t.Helper()
	lab := labtest.Private(t, parts|labtest.ControlPlane|labtest.Git)
	s := &stage{
		scenario: &scenario{t: t, lab: lab, ns: lab.Namespace}, test: t, state: t.TempDir(),
		client: newClient(t, lab.Config), core: kubernetes.NewForConfigOrDie(lab.Config),
		dynamic: dynamic.NewForConfigOrDie(lab.Config),
	}
	if err := s.admit(); err != nil {
		t.Fatal(err)
	}
	// Before the first process, so that a test can prepare what that finds.
	for _, args := range [][]string{
		{"apply", "--server-side", "--field-manager", "mizzen", "-f", "../../api/crds"},
		{"wait", "--for", "condition=Established", "crd", "--all"},
	} {
		out, err := exec.Command(lab.Kubectl(), append(args, "--kubeconfig", lab.Kubeconfig)...).CombinedOutput()
		if err != nil {
			t.Fatalf("install Mizzen's CRDs: %v\n%s", err, out)
		}
	}
	return s
}

func newClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	scheme, err := controller.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// apply applies YAML with the namespace filled in. A CRD that was just
// established is not yet served by all handlers, which say so.
func (s *stage) apply(yaml string) {
	s.test.Helper()
	var err error
	s.wait("kubectl apply", func(context.Context) bool {
		err = s.kubectl(s.fill(yaml))
		return err == nil || !strings.Contains(err.Error(), "ServiceUnavailable")
	}, func() string { return err.Error() })
	if err != nil {
		s.test.Fatal(err)
	}
}

// publish creates the repository, and a Repository "demo" for it that is asked
// every two seconds.
func (s *stage) publish(files map[string]string) {
	s.test.Helper()
	s.repo = s.lab.Repo(s.test, files)
	s.declare(s.repo.URL)
}

func (s *stage) declare(url string) {
	s.test.Helper()
	s.apply(fmt.Sprintf(`
apiVersion: mizzen.dev/v1alpha1
kind: Repository
metadata: {name: demo, namespace: $NS}
spec: {url: %s, interval: 2s}
`, url))
}

// app creates an Application of a path; spec is merged into its spec.
func (s *stage) app(name, path string, spec ...string) {
	s.test.Helper()
	s.apply(fmt.Sprintf(`
apiVersion: mizzen.dev/v1alpha1
kind: Application
metadata: {name: %s, namespace: $NS}
spec:
  source: {repository: demo, path: %s}
  %s
`, name, path, strings.Join(spec, "\n  ")))
}

// push commits files and pushes them; no content removes a file.
func (s *stage) push(message string, files map[string]string) (commit string) {
	s.test.Helper()
	for path, content := range files {
		if content == "" {
			s.repo.Git(s.test, "rm", "-qf", "--ignore-unmatch", path)
			delete(files, path)
		}
	}
	return s.repo.Push(s.test, s.repo.Commit(s.test, message, files))
}

// read returns an Application.
func (s *stage) read(ctx context.Context, name string) *v1alpha1.Application {
	var app v1alpha1.Application
	if err := s.client.Get(ctx, client.ObjectKey{Namespace: s.ns, Name: name}, &app); err != nil {
		return &v1alpha1.Application{}
	}
	return &app
}

// until waits, for as long as a scenario may, until a condition of an
// Application has a status and a reason. An empty reason is any.
func (s *stage) until(name, kind string, status metav1.ConditionStatus, reason string) *v1alpha1.Application {
	s.test.Helper()
	var app *v1alpha1.Application
	s.wait(fmt.Sprintf("%s of %s to be %s %s", kind, name, status, reason), func(ctx context.Context) bool {
		app = s.read(ctx, name)
		c := meta.FindStatusCondition(app.Status.Conditions, kind)
		return c != nil && c.Status == status && (reason == "" || c.Reason == reason)
	}, func() string { return fmt.Sprint(app.Status.Conditions) })
	return app
}

// syncedAt waits until an Application is synced at a commit.
func (s *stage) syncedAt(name, commit string) *v1alpha1.Application {
	s.test.Helper()
	var app *v1alpha1.Application
	s.wait(fmt.Sprintf("%s to be synced at %.8s", name, commit), func(ctx context.Context) bool {
		app = s.read(ctx, name)
		return app.Status.Revision == commit && meta.IsStatusConditionTrue(app.Status.Conditions, v1alpha1.ConditionSynced)
	}, func() string { return app.Status.Revision + fmt.Sprint(app.Status.Conditions) })
	return app
}

// wait polls a condition; last says what was seen in the end.
func (s *stage) wait(what string, condition func(context.Context) bool, last func() string) {
	s.test.Helper()
	for deadline := time.Now().Add(*patience); ; time.Sleep(pause) {
		if condition(s.test.Context()) {
			return
		}
		if time.Now().After(deadline) {
			s.test.Fatalf("waited in vain for %s; last: %s", what, last())
		}
	}
}

// value is a key of a ConfigMap; "" if there is none.
func (s *stage) value(ctx context.Context, core kubernetes.Interface, namespace, name, key string) string {
	found, err := core.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return ""
	}
	return found.Data[key]
}

// shows waits until a ConfigMap of the stage's namespace has a value.
func (s *stage) shows(name, key, value string) {
	s.test.Helper()
	got := ""
	s.wait(fmt.Sprintf("%s.%s to be %q", name, key, value), func(ctx context.Context) bool {
		got = s.value(ctx, s.core, s.ns, name, key)
		return got == value
	}, func() string { return got })
}

// configMap is the manifest of a ConfigMap with one value.
func configMap(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {value: %q}\n", name, value)
}

// run runs kubectl and returns what it wrote to standard output.
func (s *stage) run(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, s.lab.Kubectl(), append(args, "--kubeconfig", s.lab.Kubeconfig)...).Output()
	return string(out), err
}
