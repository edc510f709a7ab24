package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/labtest"
)

// The state directory may be lost at any time: the mirrors, or all of it,
// under a running process or between two.
func TestLostState(t *testing.T) {
	t.Parallel()
	s := newStage(t, 0)
	s.publish(map[string]string{"app/cm.yaml": configMap("cm", "0")})
	p := launch(t, s.lab, s.state).ready()
	s.app("app", "app")
	s.shows("cm", "value", "0")

	for i, lost := range []string{"git", "renders", ""} {
		// The process may write into a directory while it is removed.
		labtest.Eventually(t, "the loss of "+strconv.Quote(lost), func(context.Context) bool {
			return os.RemoveAll(filepath.Join(s.state, lost)) == nil
		})
		value := strings.Repeat("x", i+1)
		commit := s.push("Without "+lost, map[string]string{"app/cm.yaml": configMap("cm", value)})
		s.shows("cm", "value", value)
		s.syncedAt("app", commit)
		s.heals("cm", value)
		p.alive()
	}

	if code, _ := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if err := os.RemoveAll(s.state); err != nil {
		t.Fatal(err)
	}
	before := s.read(t.Context(), "app").ResourceVersion
	audit := s.lab.Audit(t)
	p = launch(t, s.lab, s.state).ready()
	labtest.Eventually(t, "the Application is looked at", func(context.Context) bool {
		return p.metric(`mizzen_sync_total{result="succeeded"}`) > 0
	})
	s.heals("cm", "xxx")
	if now := s.read(t.Context(), "app").ResourceVersion; now != before {
		t.Errorf("the Application was written although nothing changed: %s, now %s", before, now)
	}
	// One write heals.
	if writes := effective(audit.Requests(t), "configmaps", s.ns); len(writes) != 1 {
		t.Errorf("a process that lost its state wrote %v", writes)
	}
}

// effective are Mizzen's writes of a resource that were carried out.
func effective(requests []labtest.Request, resource, namespace string) (writes []labtest.Request) {
	for _, r := range requests {
		reads := r.Verb == "get" || r.Verb == "list" || r.Verb == "watch"
		if strings.HasPrefix(r.UserAgent, agent) && r.Resource == resource && r.Namespace == namespace && r.Code < 300 && !reads && !strings.Contains(r.URI, "dryRun") {
			writes = append(writes, r)
		}
	}
	return writes
}

// A held revision that a force-push took out of history stays readable, for
// as long as our mirror has it. When that is lost too, the Application says
// what is wrong, and the cluster stays as it is.
func TestHeldRevisionLost(t *testing.T) {
	t.Parallel()
	s := newStage(t, 0)
	s.publish(map[string]string{"app/cm.yaml": configMap("cm", "1")})
	base := s.repo.Git(t, "rev-parse", "HEAD")
	held := s.push("To be held", map[string]string{"app/cm.yaml": configMap("cm", "held")})
	p := launch(t, s.lab, s.state).ready()
	s.app("app", "app", "hold: {revision: "+held+", reason: a test}")
	s.until("app", "Synced", metav1.ConditionTrue, v1alpha1.ReasonHeld)
	s.shows("cm", "value", "held")

	s.repo.Git(t, "reset", "--hard", "-q", base)
	s.push("Another history", map[string]string{"app/cm.yaml": configMap("cm", "2")})
	s.forget()
	s.heals("cm", "held")
	p.stop()
	p = launch(t, s.lab, s.state).ready()
	s.heals("cm", "held")
	p.stop()

	if err := os.RemoveAll(s.state); err != nil {
		t.Fatal(err)
	}
	p = launch(t, s.lab, s.state).ready()
	app := s.until("app", "Stalled", metav1.ConditionTrue, v1alpha1.ReasonRevisionNotFound)
	if message := conditionMessage(app, "Ready"); !strings.Contains(message, held[:8]) || !strings.Contains(message, "the cluster stays as it is") {
		t.Errorf("the condition says %q", message)
	}
	if got := s.value(t.Context(), s.core, s.ns, "cm", "value"); got != "held" {
		t.Errorf("the cluster was touched: %q", got)
	}
	// Somebody acts: the Application follows Git again.
	if out, err := s.run(t.Context(), "patch", "app.mizzen.dev", "app", "-n", s.ns, "--type=json", "-p", `[{"op":"remove","path":"/spec/hold"}]`); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.shows("cm", "value", "2")
	s.until("app", "Ready", metav1.ConditionTrue, "")
	p.alive()
}

// forget makes the server lose what no branch has.
func (s *stage) forget() {
	s.test.Helper()
	name := s.repo.URL[strings.LastIndex(s.repo.URL, "/"):]
	for _, args := range [][]string{{"reflog", "expire", "--expire=now", "--all"}, {"gc", "--quiet", "--prune=now"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = filepath.Join(s.lab.Dir, "git", name)
		if out, err := cmd.CombinedOutput(); err != nil {
			s.test.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
}

func conditionMessage(app *v1alpha1.Application, kind string) string {
	for _, c := range app.Status.Conditions {
		if c.Type == kind {
			return c.Message
		}
	}
	return ""
}
