package cri_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestExecSync(t *testing.T) {
	p := runPod(t, shared)
	ctr := p.run("exec", "echo ready; exec sleep 1000", func(c *runtimeapi.ContainerConfig) {
		c.WorkingDir, c.Envs = "/srv", []*runtimeapi.KeyValue{{Key: "X", Value: []byte("y")}}
	}).ready("ready")
	for _, c := range []struct {
		script, out, err string
		code             int32
	}{
		{"echo out; echo err >&2; exit 4", "out\n", "err\n", 4},
		{"echo $X; pwd; hostname", "y\n/srv\npod\n", "", 0},
		{"ps -o pid= -p 1 | tr -d ' '; readlink /proc/1/ns/pid >/dev/null && ls /proc | grep -qx 1 && kill -0 1", "1\n", "", 0},
		{"kill -9 $$", "", "", 137},
		{"sleep 1000 & echo left", "left\n", "", 0},
	} {
		r := must[*runtimeapi.ExecSyncResponse](t)(ctr.exec(20, "sh", "-c", c.script))
		if string(r.Stdout) != c.out || string(r.Stderr) != c.err || r.ExitCode != c.code {
			t.Errorf("%s: %v", c.script, r)
		}
	}
	r := must[*runtimeapi.ExecSyncResponse](t)(ctr.exec(10, "no-such-program"))
	if r.ExitCode != 127 || !strings.Contains(string(r.Stderr), "no-such-program") {
		t.Errorf("a missing command: %v", r)
	}
	r = must[*runtimeapi.ExecSyncResponse](t)(ctr.exec(20, "sh", "-c", "head -c 20000000 /dev/zero"))
	if len(r.Stdout) != 8<<20-1024 || r.ExitCode != 0 {
		t.Errorf("20 MB of output: %d bytes, exit code %d", len(r.Stdout), r.ExitCode)
	}
	_, err := ctr.exec(1, "sh", "-c", "sleep 56789; true")
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a command that takes too long: %v", err)
	}
	if n := processes("56789"); n != 0 {
		t.Errorf("%d processes of it live on", n)
	}
	ctr.stop(0)
	if _, err := ctr.exec(1, "true"); err == nil {
		t.Error("exec in a container that has ended")
	}
}

// stream runs a command as kubectl does.
func stream(t *testing.T, ctr *ctr, in io.Reader, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	r := must[*runtimeapi.ExecResponse](t)(ctr.r.Exec(t.Context(), &runtimeapi.ExecRequest{
		ContainerId: ctr.id, Cmd: args, Stdin: in != nil, Stdout: true, Stderr: true,
	}))
	u := must[*url.URL](t)(url.Parse(r.Url))
	e := must[remotecommand.Executor](t)(remotecommand.NewSPDYExecutor(&rest.Config{Host: u.Host}, http.MethodPost, u))
	var out, errs bytes.Buffer
	err = e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: in, Stdout: &out, Stderr: &errs})
	return out.String(), errs.String(), err
}

func TestExecStreams(t *testing.T) {
	p := runPod(t, shared)
	ctr := p.run("exec", "echo ready; exec sleep 1000").ready("ready")
	out, errs, err := stream(t, ctr, strings.NewReader("hello"), "sh", "-c", "cat; echo err >&2; exit 5")
	var exit utilexec.CodeExitError
	if out != "hello" || errs != "err\n" || !errors.As(err, &exit) || exit.Code != 5 {
		t.Errorf("got %q, %q, %v", out, errs, err)
	}
	// A command may end before its input does.
	input, writer := io.Pipe()
	t.Cleanup(func() { _ = writer.Close() })
	if out, _, err := stream(t, ctr, input, "echo", "done"); out != "done\n" || err != nil {
		t.Errorf("got %q, %v", out, err)
	}
	_, errs, err = stream(t, ctr, nil, "no-such-program")
	if !errors.As(err, &exit) || exit.Code != 127 || !strings.Contains(errs, "no-such-program") {
		t.Errorf("a missing command: %q, %v", errs, err)
	}
	_, err = ctr.r.Exec(t.Context(), &runtimeapi.ExecRequest{ContainerId: ctr.id, Cmd: []string{"sh"}, Tty: true, Stdin: true, Stdout: true})
	if !strings.Contains(message(err), "without -t") {
		t.Errorf("tty: %v", err)
	}
	_, err = ctr.r.Attach(t.Context(), &runtimeapi.AttachRequest{ContainerId: ctr.id, Stdout: true})
	if !strings.Contains(message(err), "kubectl logs -f") {
		t.Errorf("attach: %v", err)
	}
}

// server runs a pod that answers on port 8080.
func server(t *testing.T, name string, change ...func(*runtimeapi.PodSandboxConfig)) *ctr {
	t.Helper()
	p := runPod(t, shared, change...)
	return p.run(name, "", image("test/tool:v1"), environ(role, "echo", "PORT", "8080"), noArgs).ready("listening")
}

func noArgs(c *runtimeapi.ContainerConfig) { c.Args = nil }

func environ(pairs ...string) change {
	return func(c *runtimeapi.ContainerConfig) {
		for i := 0; i < len(pairs); i += 2 {
			c.Envs = append(c.Envs, &runtimeapi.KeyValue{Key: pairs[i], Value: []byte(pairs[i+1])})
		}
	}
}

// dialed returns what a container of p is answered at an address.
func (p *pod) dialed(name, address string) string {
	p.t.Helper()
	return p.output(name, "", image("test/tool:v1"), environ(role, "dial"), func(c *runtimeapi.ContainerConfig) { c.Args = []string{address} })
}

// TestMorePodsThanAnOctetHas has 260 at once, of which the last answers the
// first. The kubelet takes long for so many; it has no part in their addresses.
func TestMorePodsThanAnOctetHas(t *testing.T) {
	seen := map[string]bool{}
	first := runPod(t, shared)
	for range 258 {
		seen[runPod(t, shared).address()] = true
	}
	last := server(t, "last")
	seen[first.address()], seen[last.address()] = true, true
	if len(seen) != 260 {
		t.Fatalf("260 pods have %d addresses", len(seen))
	}
	if got, want := first.dialed("client", last.address()+":8080"), "hello "+first.address(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPodsReachEachOther(t *testing.T) {
	to := server(t, "server")
	from := runPod(t, shared)
	if got, want := from.dialed("client", to.address()+":8080"), "hello "+from.address(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := to.dialed("own-loopback", "127.0.0.1:8080"), "hello 127.0.0.1"; got != want {
		t.Errorf("containers of a pod: got %q, want %q", got, want)
	}
	if to.address() == from.address() || !strings.HasPrefix(from.address(), "10.244.") {
		t.Errorf("addresses: %s, %s", to.address(), from.address())
	}
	// The node's network: there is no address of the pod's own.
	node := runPod(t, shared, func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.SecurityContext.NamespaceOptions.Network = runtimeapi.NamespaceMode_NODE
	})
	if got := node.dialed("host-network", to.address()+":8080"); got != "hello 10.244.0.1" || node.address() != "" {
		t.Errorf("got %q, address %q", got, node.address())
	}
	if got := node.output("bridge", "test -d /sys/class/net/lab0 && echo yes"); got != "yes\n" {
		t.Errorf("the node's interfaces: %q", got)
	}
}

func TestSysctlOfThePod(t *testing.T) {
	p := runPod(t, shared, func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.Sysctls = map[string]string{"net.ipv4.ip_local_port_range": "20000 30000", "net/ipv4/tcp_syncookies": "0"}
	})
	out := p.output("sysctl", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ip_local_port_range /proc/sys/net/ipv4/tcp_syncookies")
	if out != "0\n20000\t30000\n0\n" {
		t.Errorf("got %q", out)
	}
}

func TestPortForward(t *testing.T) {
	to := server(t, "server")
	r := must[*runtimeapi.PortForwardResponse](t)(shared.PortForward(t.Context(), &runtimeapi.PortForwardRequest{PodSandboxId: to.pod.id, Port: []int32{8080}}))
	u := must[*url.URL](t)(url.Parse(r.Url))
	transport, upgrader, err := spdy.RoundTripperFor(&rest.Config{Host: u.Host})
	if err != nil {
		t.Fatal(err)
	}
	stop, ready := make(chan struct{}), make(chan struct{})
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, u)
	fw := must[*portforward.PortForwarder](t)(portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:8080"}, stop, ready, io.Discard, os.Stderr))
	done := make(chan error, 1)
	go func() { done <- fw.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	ports := must[[]portforward.ForwardedPort](t)(fw.GetPorts())
	conn := must[net.Conn](t)(net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].Local)))
	defer conn.Close()
	got := string(must[[]byte](t)(io.ReadAll(conn)))
	if got != "hello 127.0.0.1" {
		t.Errorf("got %q", got)
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestContainersOfAPodShare(t *testing.T) {
	p := runPod(t, shared)
	one := p.run("one", "echo from one > /dev/shm/file; ipcmk -M 4096 > /dev/null; echo ready; exec sleep 1000").ready("ready")
	two := p.output("two", "cat /dev/shm/file; ipcs -m | grep -c 4096; ! ls -l /proc/*/exe 2>/dev/null | grep sleep")
	if two != "from one\n1\n" {
		t.Errorf("two sees %q", two)
	}
	other := runPod(t, shared)
	if out := other.output("three", "ls /dev/shm; ipcs -m | grep -c 4096 || true"); out != "0\n" {
		t.Errorf("another pod sees %q", out)
	}
	one.stop(0)
}
