package cli

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/labtest"
	"mizzen.dev/mizzen/internal/report"
)

// must runs a command that has to answer with an exit code.
func must(t *testing.T, code int, command string, args ...string) said {
	t.Helper()
	got := run(t, append(strings.Fields(command), args...)...)
	if got.code != code {
		t.Fatalf("%s: exit code %d, want %d\n%s%s", command, got.code, code, got.out, got.err)
	}
	return got
}

func mentions(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in:\n%s", part, text)
		}
	}
}

func (s *stage) value(t *testing.T, name string) string {
	t.Helper()
	var cm corev1.ConfigMap
	if err := s.client.Get(t.Context(), client.ObjectKey{Namespace: s.lab.Namespace, Name: name}, &cm); err != nil {
		t.Fatal(err)
	}
	return cm.Data["v"]
}

// TestRollback: back to the revision before, to stay there whatever Git and a
// parent say, until it is resumed.
func TestRollback(t *testing.T) {
	s := newStage(t)
	first := s.get(t, "good").Status.Revision
	second := s.repo.Push(t, s.repo.Commit(t, "Raise it", map[string]string{
		"good/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\ndata: {v: \"2\"}\n",
	}))
	must(t, ExitYes, "sync good --yes")
	if got := s.value(t, "good"); got != "2" {
		t.Fatalf("after the sync it is %s", got)
	}
	mentions(t, must(t, ExitYes, "history good").out, second[:8], "Raise it", "data.v 1 → 2", first[:8])

	mentions(t, must(t, ExitUnknown, "rollback good").err, "--yes")
	back := must(t, ExitYes, "rollback good --yes --reason", "two is too many")
	mentions(t, back.out, "data.v: 2 -> 1", "held at "+first[:8]+": two is too many")
	if got := s.value(t, "good"); got != "1" {
		t.Errorf("after the rollback it is %s", got)
	}
	app := s.get(t, "good")
	if hold := app.Spec.Hold; hold == nil || hold.Revision != first || hold.By == "" {
		t.Errorf("the hold is %+v", hold)
	}
	mentions(t, must(t, ExitYes, "status good").out, "✓ Held", "two is too many", "mizzen resume good")
	mentions(t, must(t, ExitUnknown, "sync good --yes").err, "held", "mizzen resume good")
	s.reapply(t, "good")
	if s.get(t, "good").Spec.Hold == nil {
		t.Error("a parent that applies the Application undoes the hold")
	}

	// Suspending beside a hold keeps the hold, and resuming takes both back.
	must(t, ExitYes, "suspend good")
	if app = s.get(t, "good"); app.Spec.Hold == nil || !app.Spec.Suspend {
		t.Errorf("spec is %+v", app.Spec)
	}
	mentions(t, must(t, ExitUnknown, "sync good --yes").err, "suspended")
	must(t, ExitYes, "resume good")
	labtest.Eventually(t, "good follows Git again", func(context.Context) bool { return s.value(t, "good") == "2" })
	mentions(t, must(t, ExitYes, "status good --wait --timeout 5m").out, second[:8])
	mentions(t, must(t, ExitYes, "resume good").out, "neither held nor suspended")

	// A revision may be named as the history shows it.
	mentions(t, must(t, ExitYes, "rollback good "+first[:8]+" --yes").out, "held at "+first[:8])
}

// reapply applies an Application as a parent does.
func (s *stage) reapply(t *testing.T, name string) {
	t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"source": map[string]any{"repository": "demo", "path": "good"}, "privileged": true,
		"destination": map[string]any{"namespace": s.lab.Namespace},
	}}}
	s.apply(t, u, name)
}

func (s *stage) apply(t *testing.T, u *unstructured.Unstructured, name string) {
	t.Helper()
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Application"))
	u.SetNamespace(s.ns)
	u.SetName(name)
	err := s.client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(mizzen.Manager("")), client.ForceOwnership)
	if err != nil {
		t.Fatal(err)
	}
}

// TestSuspendedInGit: what Git decides is changed in Git.
func TestSuspendedInGit(t *testing.T) {
	s := newStage(t)
	u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"source": map[string]any{"repository": "demo", "path": "good"}, "suspend": true,
	}}}
	u.SetAnnotations(map[string]string{mizzen.AnnotationOwner: "mizzen-system/parent"})
	s.apply(t, u, "child")
	s.await(t, "child", report.Suspended)
	mentions(t, must(t, ExitYes, "suspend child").out, "suspended already", "in Git, by application mizzen-system/parent")
	mentions(t, must(t, ExitNo, "resume child").err, "in Git, by application mizzen-system/parent")
}

// TestLookAround: the verbs that only look agree about what is there.
func TestLookAround(t *testing.T) {
	s := newStage(t)
	mentions(t, must(t, ExitNo, "status bad").out, "✗ Stalled", "cannot be rendered", "bad/cm.yaml:", "correct it in Git")
	list := must(t, ExitYes, "get apps").out
	if strings.Index(list, "bad ") > strings.Index(list, "good ") {
		t.Errorf("the worst is not first:\n%s", list)
	}
	mentions(t, must(t, ExitYes, "get apps -o name").out, "application.mizzen.dev/good\n")
	must(t, ExitYes, "status application.mizzen.dev/good")
	must(t, ExitYes, "status "+s.ns+"/good -n elsewhere")
	mentions(t, must(t, ExitYes, "__complete status", "").out, "good\tReady", "bad\tStalled")
	mentions(t, must(t, ExitYes, "events good -o json").out, "mizzen.dev/events/v1")

	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.lab.Namespace, Name: "drift"}}
	if err := s.client.Delete(t.Context(), cm); err != nil {
		t.Fatal(err)
	}
	mentions(t, must(t, ExitNo, "tree drift").out, "ConfigMap "+s.lab.Namespace+"/drift ✗ Missing")
	s.await(t, "drift", report.OutOfSync)
	must(t, ExitYes, "sync drift --yes")
	must(t, ExitYes, "tree drift")
}
