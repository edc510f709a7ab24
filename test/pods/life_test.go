package pods

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const shared = "volumes: [{name: shared, emptyDir: {}}]"

const sees = "volumeMounts: [{name: shared, mountPath: /shared}]"

// TestContainersStartAndEndInOrder has init containers before and after a native sidecar,
// which has to be up before those that follow, and to end after the main
// container. All write into one file; the sidecar is the last to read it.
func TestContainersStartAndEndInOrder(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	sidecar := `trap 'echo sidecar ends >> /shared/order; cat /shared/order; exit 0' TERM
echo sidecar starts >> /shared/order; touch /shared/up; while :; do sleep 0.1; done`
	y.apply(pod("ordered", never, shared,
		initContainers(
			sh("first", "sleep 0.3; echo first >> /shared/order", sees),
			sh("sidecar", sidecar, sees, "restartPolicy: Always",
				"startupProbe: {exec: {command: [test, -e, /shared/up]}, periodSeconds: 1, failureThreshold: 60}"),
			sh("second", "test -e /shared/up && echo second >> /shared/order", sees)),
		containers(sh("main", "echo main starts >> /shared/order; sleep 0.3; echo main ends >> /shared/order", sees))))
	y.succeeded("ordered")
	want := "first\nsidecar starts\nsecond\nmain starts\nmain ends\nsidecar ends\n"
	if diff := cmp.Diff(want, y.log("ordered", corev1.PodLogOptions{Container: "sidecar"})); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	deaf := "livenessProbe: {exec: {command: ['false']}, periodSeconds: 1, failureThreshold: 1, terminationGracePeriodSeconds: 1}"
	y.apply(
		pod("three", never, containers(sh("main", "exit 3"))),
		pod("zero", never, containers(sh("main", "true"))),
		pod("child", never, containers(sh("main", "sleep 1000 & kill -9 $!; wait $!"))),
		pod("deadline", never, impatient, "activeDeadlineSeconds: 2", containers(sh("main", "trap '' TERM; while :; do sleep 0.1; done"))),
		pod("killed", impatient, containers(sh("main", "trap '' TERM; while :; do sleep 0.1; done", deaf))),
		pod("handled", containers(sh("main", "trap 'exit 7' TERM; touch /tmp/broken; while :; do sleep 0.1; done", "livenessProbe: "+askShell))))
	for name, want := range map[string]int32{"zero": 0, "three": 3, "child": 137, "deadline": 137} {
		p := y.ended(name)
		if end := p.Status.ContainerStatuses[0].State.Terminated; end == nil || end.ExitCode != want {
			t.Errorf("%s has ended with %v, want %d", name, end, want)
		}
	}
	for name, want := range map[string]int32{"killed": 137, "handled": 7} {
		p := y.until(name, "restarted", func(p *corev1.Pod) bool {
			return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].LastTerminationState.Terminated != nil
		})
		if got := p.Status.ContainerStatuses[0].LastTerminationState.Terminated.ExitCode; got != want {
			t.Errorf("%s has ended with %d, want %d", name, got, want)
		}
	}
}

func TestCrashesBackOff(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.apply(pod("crash", containers(sh("main", "echo I try; exit 3"))))
	p := y.until("crash", "backing off", func(p *corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil &&
			p.Status.ContainerStatuses[0].State.Waiting.Reason == "CrashLoopBackOff"
	})
	if end := p.Status.ContainerStatuses[0].LastTerminationState.Terminated; end == nil || end.ExitCode != 3 || end.Reason != "Error" {
		t.Errorf("the last end is %v, want exit code 3", end)
	}
	y.event("crash", "BackOff", "restarting failed container")
	// It may be started anew just now; then the one before is gone, and the
	// status does not know yet.
	y.eventually("the log of the previous container", func(context.Context) bool {
		return y.log("crash", corev1.PodLogOptions{Previous: true}) == "I try\n"
	})
}

// TestGracefulStop deletes pods while their logs are followed: what they say
// until their end is what the signal and the hook did.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	hook := "lifecycle: {preStop: {exec: {command: [sh, -c, 'sleep 0.3; touch /tmp/asked']}}}"
	y.apply(
		pod("polite", containers(sh("main", `trap 'ls /tmp/asked; sleep 0.3; echo good bye; exit 0' TERM
echo ready; while :; do sleep 0.1; done`, hook))),
		pod("deaf", impatient, containers(sh("main", "trap 'echo ignored' TERM; echo ready; while :; do sleep 0.1; done"))))
	for name, want := range map[string]string{
		"polite": "ready\n/tmp/asked\ngood bye\n",
		"deaf":   "ready\nignored\n",
	} {
		y.says(name, "main", "ready")
		stream, err := y.core.CoreV1().Pods(y.ns).GetLogs(name, &corev1.PodLogOptions{Follow: true}).Stream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		y.remove(name)
		log, err := io.ReadAll(stream)
		if err != nil {
			t.Errorf("the log of %s broke off: %v", name, err)
		}
		if diff := cmp.Diff(want, string(log)); diff != "" {
			t.Errorf("%s, to its end (-want +got):\n%s", name, diff)
		}
	}
}

// TestDaemonsEndWithTheirPod has containers leave processes in sessions of
// their own: one container ends by itself, one is deleted.
func TestDaemonsEndWithTheirPod(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	// A duration that no other process sleeps for.
	mark := strconv.FormatInt(time.Now().UnixNano(), 10)
	daemon := "(setsid sleep " + mark + " >/dev/null 2>&1 &); echo ready"
	y.apply(pod("over", never, containers(sh("main", daemon))), pod("deleted", containers(sh("main", daemon+idle))))
	y.succeeded("over")
	y.says("deleted", "main", "ready")
	y.eventually("only the daemon of the pod that runs", func(context.Context) bool { return count(mark) == 1 })
	y.remove("deleted")
	y.eventually("no daemon", func(context.Context) bool { return count(mark) == 0 })
}

// count counts the processes of this machine, those in the lab included, that
// have an argument.
func count(arg string) (n int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		b, _ := os.ReadFile(f) // it may have ended
		for a := range strings.SplitSeq(string(b), "\x00") {
			if a == arg {
				n++
			}
		}
	}
	return n
}

func TestJobs(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	job := func(name, spec, script string) string {
		return `
---
apiVersion: batch/v1
kind: Job
metadata: {name: ` + name + `}
spec: {` + spec + `, template: {spec: {` + never + ", " + containers(sh("main", script)) + `}}}
`
	}
	y.apply(job("three", "completions: 3, parallelism: 2", "echo done"), job("bad", "backoffLimit: 0", "exit 1"))
	y.eventually("the jobs to end", func(ctx context.Context) bool {
		three, err := y.core.BatchV1().Jobs(y.ns).Get(ctx, "three", metav1.GetOptions{})
		if err != nil || three.Status.Succeeded != 3 || three.Status.CompletionTime == nil {
			return false
		}
		bad, err := y.core.BatchV1().Jobs(y.ns).Get(ctx, "bad", metav1.GetOptions{})
		return err == nil && bad.Status.Failed == 1
	})
}
