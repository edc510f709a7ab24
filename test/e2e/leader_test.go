package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/controller"
	"mizzen.dev/mizzen/internal/labtest"
)

// holder is who has the Lease; "" if nobody.
func (s *stage) holder(ctx context.Context) string {
	lease, err := s.core.CoordinationV1().Leases(mizzen.SystemNamespace).Get(ctx, controller.LeaseName, metav1.GetOptions{})
	if err != nil || lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// many are n ConfigMaps in one file.
func many(prefix string, n int, value string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "---\n%s", configMap(fmt.Sprintf("%s-%03d", prefix, i), value))
	}
	return b.String()
}

// Who ends a process in the middle of a sync waits at most ten seconds; the
// Lease is free, and the next process finishes what is left.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	s := newStage(t, 0)
	const all = 1500 // more than are written while the process is asked to end
	s.publish(map[string]string{"app/all.yaml": many("cm", all, "1")})
	first := launch(t, s.lab, s.state).ready()
	s.app("app", "app")
	labtest.Eventually(t, "the sync is under way", func(ctx context.Context) bool {
		return s.count(ctx) >= 20
	})
	code, took := first.stop()
	written := s.count(t.Context())
	t.Logf("ended after %s with %d of %d objects written", took.Round(time.Millisecond), written, all)
	if code != 0 || took > 10*time.Second {
		t.Errorf("exit code %d after %s, want 0 within 10s", code, took)
	}
	if written >= all {
		t.Error("the sync was over before the process was asked to end: nothing is proved")
	}
	if holder := s.holder(t.Context()); holder != "" {
		t.Errorf("the lease is still held by %s", holder)
	}
	if first.lines("ERROR")+first.lines("WARN") > 0 {
		t.Errorf("an ordinary end is no trouble:\n%s", first.log())
	}
	// Another directory: another identity, which must not wait for a dead one.
	begin := time.Now()
	second := launch(t, s.lab, t.TempDir())
	second.says("msg=leading")
	t.Logf("the next process leads after %s", time.Since(begin).Round(time.Millisecond))
	s.until("app", "Synced", metav1.ConditionTrue, "")
	if n := s.count(t.Context()); n != all {
		t.Errorf("%d objects, want %d", n, all)
	}
}

// count counts the ConfigMaps that are ours.
func (s *stage) count(ctx context.Context) int {
	list, err := s.core.CoreV1().ConfigMaps(s.ns).List(ctx, metav1.ListOptions{LabelSelector: mizzen.LabelManaged})
	if err != nil {
		return -1
	}
	return len(list.Items)
}

// Of two processes one leads, and the other says that it stands by. When the
// leader is killed, the other one takes over and finishes.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	s := newStage(t, 0)
	s.publish(map[string]string{"app/all.yaml": many("cm", 300, "1")})
	s.app("app", "app")
	processes := []*process{launch(t, s.lab, s.state), launch(t, s.lab, t.TempDir())}
	var leader, other *process
	labtest.Eventually(t, "one leads and one stands by", func(context.Context) bool {
		leader, other = nil, nil
		for _, p := range processes {
			switch log := p.log(); {
			case strings.Contains(log, "msg=leading"):
				leader = p
			case strings.Contains(log, "standing by"):
				other = p
			}
		}
		return leader != nil && other != nil
	})
	other.ready()
	if code, _ := other.get(t.Context(), "/webhook"); code != http.StatusMethodNotAllowed {
		t.Errorf("GET /webhook: %d", code)
	}
	labtest.Eventually(t, "the sync is under way", func(ctx context.Context) bool { return s.count(ctx) >= 20 })
	leader.kill()
	begin := time.Now()
	if strings.Contains(other.log(), "msg=leading") {
		t.Fatal("two led at a time")
	}
	other.says("msg=leading")
	t.Logf("the other process leads %s after the death of the first", time.Since(begin).Round(time.Millisecond))
	s.until("app", "Synced", metav1.ConditionTrue, "")
	if n := s.count(t.Context()); n != 300 {
		t.Errorf("%d objects, want 300", n)
	}
}

// A process that was killed is started again in the same directory: it is the
// same holder of the Lease, and goes on at once. A second process in the same
// directory is another holder.
func TestSameDirectory(t *testing.T) {
	t.Parallel()
	s := newStage(t, 0)
	first := launch(t, s.lab, s.state)
	first.says("msg=leading")
	holder := s.holder(t.Context())
	second := launch(t, s.lab, s.state)
	second.says("standing by")
	if now := s.holder(t.Context()); now != holder || strings.Contains(second.log(), "msg=leading") {
		t.Fatalf("two processes with one directory both lead: %s, then %s", holder, now)
	}
	second.kill()
	first.kill()
	begin := time.Now()
	third := launch(t, s.lab, s.state)
	third.says("msg=leading")
	took := time.Since(begin)
	t.Logf("leads again after %s", took.Round(time.Millisecond))
	if now := s.holder(t.Context()); now != holder {
		t.Errorf("the holder was %s and is %s", holder, now)
	}
	// The lease of the killed process was good for 15 seconds.
	if strings.Contains(third.log(), "standing by") {
		t.Errorf("it waited for itself:\n%s", third.log())
	}
}
