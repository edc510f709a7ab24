package pods

import (
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestFields has a pod for each of the fields that no other test is about, and
// what its container prints until its good end.
func TestFields(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	const effective = "grep CapEff /proc/self/status | sed 's/.*\\t0*//'"
	cases := map[string]struct{ spec, want string }{
		"post-start": {
			containers(sh("main", "until test -e /tmp/hook; do sleep 0.1; done; cat /tmp/hook",
				"lifecycle: {postStart: {exec: {command: [sh, -c, 'echo hook > /tmp/h && mv /tmp/h /tmp/hook']}}}")), "hook\n",
		},
		"aliases": {
			"hostAliases: [{ip: 192.0.2.7, hostnames: [alias.example, other.example]}], " +
				containers(sh("main", "getent ahostsv4 other.example | awk '/STREAM/ {print $1}'")), "192.0.2.7\n",
		},
		"read-only": {
			shared + ", " + containers(sh("main", "for d in /etc /run /usr/bin; do ! touch $d/x 2>/dev/null || exit 1; done; touch /tmp/x && echo only /tmp",
				"volumeMounts: [{name: shared, mountPath: /tmp}]", "securityContext: {readOnlyRootFilesystem: true}")), "only /tmp\n",
		},
		"capabilities": {
			// NET_ADMIN is the capability 12.
			containers(sh("main", effective, "securityContext: {capabilities: {add: [NET_ADMIN], drop: [ALL]}}")), "1000\n",
		},
		"no-capabilities": {
			containers(sh("main", effective+"; chown 1 /tmp 2>/dev/null || echo refused", "securityContext: {capabilities: {drop: [ALL]}}")), "\nrefused\n",
		},
	}
	manifests := pod("fails", containers(sh("main", "true"+idle, "lifecycle: {postStart: {exec: {command: ['false']}}}")))
	for name, c := range cases {
		manifests += pod(name, never, c.spec)
	}
	y.apply(manifests)
	for name, c := range cases {
		if got := y.succeeded(name); got != c.want {
			t.Errorf("%s prints %q, want %q", name, got, c.want)
		}
	}
	y.event("fails", "FailedPostStartHook", "PostStartHook failed")
}

// TestLastWords has containers say why they end, and where.
func TestLastWords(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	const fallback = "terminationMessagePolicy: FallbackToLogsOnError"
	cases := map[string]struct {
		container string
		code      int32
		want      string
	}{
		"usual":      {sh("main", "echo out; printf why > /dev/termination-log; exit 3"), 3, "why"},
		"elsewhere":  {sh("main", "printf where > /run/why", "terminationMessagePath: /run/why"), 0, "where"},
		"from-log":   {sh("main", "echo the last words; exit 4", fallback), 4, "the last words\n"},
		"ended-well": {sh("main", "echo nothing to say", fallback), 0, ""},
	}
	for name, c := range cases {
		y.apply(pod(name, never, containers(c.container)))
	}
	for name, c := range cases {
		end := y.ended(name).Status.ContainerStatuses[0].State.Terminated
		if end == nil || end.ExitCode != c.code || end.Message != c.want {
			t.Errorf("%s has ended with %v, want %d and %q", name, end, c.code, c.want)
		}
	}
}

// TestMissingFile asks for an image of which a program was not built: Jaeger,
// unless somebody has asked for it.
func TestMissingFile(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	file := filepath.Join(filepath.Dir(y.lab.Kubectl()), "jaeger")
	y.apply(pod("missing", containers(container("main", "lab/jaeger:v1"))))
	if _, err := os.Stat(file); err == nil {
		y.until("missing", "pulled", func(p *corev1.Pod) bool {
			return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].ImageID != ""
		})
		return
	}
	y.event("missing", "Failed", "Failed to pull image", file+", which is missing", "run `make lab TRACING=1`")
	y.event("missing", "Failed", "ErrImagePull")
	y.waits("missing", "ImagePullBackOff")
}
