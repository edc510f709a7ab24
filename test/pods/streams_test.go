package pods

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

func TestLogs(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.apply(
		pod("both", never, containers(sh("main", "echo out; echo err >&2; printf 'no newline'"), sh("other", "echo other"))),
		pod("much", never, containers(sh("main", "echo begins; yes 0123456789012345678901234567890123456789012345678 | head -c 100000000; echo ends"))))
	y.ended("both")
	log := y.log("both", corev1.PodLogOptions{Container: "main"})
	// Two pipes: what comes first is not told.
	if log != "out\nerr\nno newline" && log != "err\nout\nno newline" && log != "out\nno newlineerr\n" {
		t.Errorf("the log is %q", log)
	}
	if log := y.log("both", corev1.PodLogOptions{Container: "other"}); log != "other\n" {
		t.Errorf("the other container's log is %q", log)
	}
	// The kubelet may have rotated the log, but the end of it is there.
	y.ended("much")
	tail := y.log("much", corev1.PodLogOptions{TailLines: ptr.To[int64](2)})
	if want := "0123456789012345678901234567890123456789012345678\nends\n"; tail != want {
		t.Errorf("100 MB end with %q, want %q", tail, want)
	}
}

func TestExec(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.apply(pod("exec", containers(sh("main", "true"+idle))))
	y.ready("exec")

	cmd := y.command("exec", "exec", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("exec ends with %v, want exit code 7", err)
	}
	if stdout.String() != "out\n" || !strings.HasPrefix(stderr.String(), "err\n") {
		t.Errorf("exec writes %q and %q", stdout.String(), stderr.String())
	}

	input := strings.Repeat("a megabyte of input\n", 50_000)
	cmd = y.command("exec", "-i", "exec", "--", "cat")
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.Output(); err != nil || string(out) != input {
		t.Errorf("cat returns %d bytes of %d, %v", len(out), len(input), err)
	}
	if out, err := y.command("exec", "exec", "--", "no-such-program").CombinedOutput(); err == nil || !strings.Contains(string(out), "no-such-program") {
		t.Errorf("a program that is not there: %v\n%s", err, out)
	}
	if out, err := y.command("attach", "exec").CombinedOutput(); err == nil || !strings.Contains(string(out), "kubectl logs -f") {
		t.Errorf("attach: %v\n%s", err, out)
	}
}

var forwarding = regexp.MustCompile(`Forwarding from (127\.0\.0\.1:\d+) -> 8080`)

func TestPortForward(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.apply(pod("served", containers(shop("main", "env: [{name: VERSION, value: forwarded}]", "readinessProbe: "+askHTTP))))
	y.ready("served")
	cmd := y.command("port-forward", "pod/served", ":8080")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	found := forwarding.FindStringSubmatch(line)
	if found == nil {
		t.Fatalf("port-forward says %q, %v", line, err)
	}
	for range 3 {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+found[1]+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(body), "forwarded") {
			t.Errorf("the pod answers %s, %v: %s", response.Status, err, body)
		}
	}
}
