package pods

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestLimits has pods use more than they may: of memory, which ends the
// container, and of what they write, which ends the pod.
func TestLimits(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	// Who is evicted and ends well has succeeded: these do not hear the signal.
	const much, deaf = "head -c 20000000 /dev/zero", "; while :; do sleep 1000; done"
	y.apply(
		pod("memory", containers(sh("main", "x=$("+much+" | tr '\\0' x)"+idle, "resources: {limits: {memory: 10Mi}}"))),
		pod("written", never, containers(sh("main", much+" > /tmp/x"+deaf, "resources: {limits: {ephemeral-storage: 10Mi}}"))),
		pod("volume", never, "volumes: [{name: shared, emptyDir: {sizeLimit: 10Mi}}]",
			containers(sh("main", much+" > /shared/x"+deaf, sees))),
		pod("below", never, "volumes: [{name: shared, emptyDir: {medium: Memory, sizeLimit: 10Mi}}]",
			containers(sh("main", much+" > /shared/x 2>/dev/null || stat -c %s /shared/x", sees,
				"resources: {requests: {ephemeral-storage: 10Mi}, limits: {memory: 100Mi}}"))))
	p := y.until("memory", "restarted", func(p *corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].RestartCount > 0
	})
	if end := p.Status.ContainerStatuses[0].LastTerminationState.Terminated; end == nil || end.Reason != "OOMKilled" || end.ExitCode != 137 {
		t.Errorf("the container without memory has ended with %v", end)
	}
	for name, message := range map[string]string{
		"written": "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi.",
		"volume":  `Usage of EmptyDir volume "shared" exceeds the limit "10Mi".`,
	} {
		y.event(name, "Evicted", message)
		p := y.ended(name)
		if p.Status.Reason != "Evicted" || !strings.Contains(p.Status.Message, message) {
			t.Errorf("%s has ended as %s, %s: %q", name, p.Status.Phase, p.Status.Reason, p.Status.Message)
		}
	}
	if got, want := y.succeeded("below"), "10485760\n"; got != want {
		t.Errorf("a volume in memory has %q bytes, want %q", got, want)
	}
}
