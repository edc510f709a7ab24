package cli_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"mizzen.dev/mizzen/lab/internal/state"
)

// bin has the programs of a live node, as lab/build.sh leaves them.
func bin(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../../bin")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lab-cri", "kubelet", "kube-proxy", "coredns"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Fatalf("%v: run lab/build.sh first", err)
		}
	}
	return dir
}

// upLive starts a lab with live nodes.
func (l lab) upLive(t *testing.T, args ...string) state.Cluster {
	t.Helper()
	l.must(t, append([]string{"up", "--live", "--bin", bin(t)}, args...)...)
	return l.status(t).Clusters[0]
}

func TestLiveCluster(t *testing.T) {
	mounts := hostMounts(t)
	l := newLab(t)
	table := filepath.Join(t.TempDir(), "images.yaml")
	if err := os.WriteFile(table, []byte("example/own:v1: {entrypoint: [/bin/true]}"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := l.upLive(t, "--images", table)
	checkLive(t, l, c)
	own := sleeper("own")
	own.Spec.RestartPolicy = corev1.RestartPolicyNever
	own.Spec.Containers[0].Image, own.Spec.Containers[0].Command = "example/own:v1", nil
	run(t, c, own, corev1.PodSucceeded)
	refused(t, l, table, "up", "--live", "--bin", bin(t), "--images", "/dev/null")
	l.must(t, "up")
	if again := l.status(t).Clusters[0]; again.Process != c.Process || !again.Live {
		t.Error("a plain up has changed a live lab")
	}
	if code, _, stderr := l.command(t, "up", "--live", "--bin", bin(t), "--pod-cidr", "10.50.0.0/16"); code != 2 || !strings.Contains(stderr, "lab down") {
		t.Errorf("up with other addresses: exit code %d, %q", code, stderr)
	}
	l.downLeavesNothing(t)
	if after := hostMounts(t); after != mounts {
		t.Errorf("mounts of the host before:\n%s\nafter:\n%s", mounts, after)
	}
}

// checkLive checks what a live cluster is for.
func checkLive(t *testing.T, l lab, c state.Cluster) {
	t.Helper()
	api := client(t, c)
	greeting := echo(t)
	l.must(t, "expose", "mizzen", greeting)
	run(t, c, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "caller"},
		Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{
			Name: "c", Image: "lab/sh:v1",
			// The host's address is let out to, the host's files are not to be changed.
			Command: []string{"/bin/bash", "-c", `exec 3<>/dev/tcp/host.lab.internal/9402 && echo from inside >&3 && cat <&3
				for f in /etc/lab-test /mnt/var/lab-test /mnt/opt/lab-test /mnt` + c.Kubeconfig + `; do touch $f && echo "wrote $f"; done; true`},
			VolumeMounts: []corev1.VolumeMount{{Name: "host", MountPath: "/mnt"}},
		}}, Volumes: []corev1.Volume{{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}}},
	}, corev1.PodSucceeded)
	for _, name := range []string{"caller", "default/caller"} {
		if log := l.must(t, "logs", name); !strings.Contains(log, "from inside") || strings.Contains(log, "wrote /mnt") {
			t.Errorf("log of %s: %q", name, log)
		}
	}
	if log := l.must(t, "logs", "cluster-1/kubelet"); !strings.Contains(log, "kubelet") {
		t.Errorf("log of the kubelet: %q", log)
	}

	// A name of a Service, its address, the kubelet, through one relay.
	node, err := api.CoreV1().Nodes().Get(t.Context(), "lab-1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	prometheusIs(t, c, node.Status.Addresses[0].Address, 10250)
	if code := get(t, c.URLs["prometheus"]); code != http.StatusUnauthorized {
		t.Errorf("the kubelet answers %d to somebody without a name, want 401", code)
	}
	fake, err := api.CoreV1().Nodes().Get(t.Context(), "kwok-0", metav1.GetOptions{})
	if err != nil || len(fake.Spec.Taints) != 1 {
		t.Errorf("taints of a kwok node: %v, %v", fake.Spec.Taints, err)
	}
}

// echo answers each connection with its first bytes.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			data := make([]byte, 100)
			n, _ := conn.Read(data)
			_, _ = conn.Write(data[:n])
			conn.Close()
		}
	}()
	return listener.Addr().String()
}

// run creates the pod and waits until it is in phase.
func run(t *testing.T, c state.Cluster, pod *corev1.Pod, phase corev1.PodPhase) {
	t.Helper()
	pods := client(t, c).CoreV1().Pods(metav1.NamespaceDefault)
	if _, err := pods.Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var last corev1.PodStatus
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("status of %s: %+v", pod.Name, last)
		}
	})
	eventually(t, pod.Name+" to be "+string(phase), func() bool {
		now, err := pods.Get(t.Context(), pod.Name, metav1.GetOptions{})
		if err != nil {
			return false
		}
		last = now.Status
		return now.Status.Phase == phase
	})
}

// prometheusIs makes that Service lead to an address.
func prometheusIs(t *testing.T, c state.Cluster, address string, port int32) {
	t.Helper()
	const namespace = "monitoring"
	api := client(t, c)
	createNamespace(t, c, namespace)
	_, err := api.CoreV1().Services(namespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "prometheus"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "web", Port: 9090}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = api.DiscoveryV1().EndpointSlices(namespace).Create(t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "prometheus-1", Labels: map[string]string{discoveryv1.LabelServiceName: "prometheus"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{address}}},
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To("web"), Port: ptr.To(port), Protocol: ptr.To(corev1.ProtocolTCP)}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// get asks the kubelet behind a relay for its pods, and returns the status.
func get(t *testing.T, url string) (code int) {
	t.Helper()
	anyone := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
	eventually(t, "an answer through the relay", func() bool {
		answer, err := anyone.Get(strings.Replace(url, "http:", "https:", 1) + "/pods")
		if err != nil {
			return false
		}
		answer.Body.Close()
		code = answer.StatusCode
		return true
	})
	return code
}

// hostMounts is what is mounted where this test runs.
func hostMounts(t *testing.T) string {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	return string(table)
}

func TestComponentsOfANodeComeBack(t *testing.T) {
	l := newLab(t)
	c := l.upLive(t)
	for _, name := range []string{"kubelet", "kube-proxy", "coredns"} {
		victim, ok := component(t, c, name)
		if !ok {
			t.Fatalf("there is no %s", name)
		}
		if err := victim.Signal(unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "another "+name, func() bool {
			now, ok := component(t, c, name)
			return ok && now != victim
		})
	}
	if now := l.status(t).Clusters[0]; now.Process != c.Process {
		t.Error("a component has taken the cluster with it")
	}
	run(t, c, sleeper("after"), corev1.PodRunning)
	l.downLeavesNothing(t)
}

func sleeper(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{TerminationGracePeriodSeconds: ptr.To[int64](0), Containers: []corev1.Container{{
			Name: "c", Image: "lab/sh:v1", Command: []string{"/bin/sleep", "1d"},
		}}},
	}
}

// TestOneLife kills what everything else depends on. All of it ends, and what
// comes back has the data, and runs the pods that there were.
func TestOneLife(t *testing.T) {
	l := newLab(t)
	c := l.upLive(t)
	run(t, c, sleeper("before"), corev1.PodRunning)
	for _, name := range []string{"__cluster", "lab-cri", ""} {
		victim, ok := c.Process, true
		if name != "" {
			victim, ok = component(t, c, name)
		}
		if !ok {
			t.Fatalf("there is no %s", name)
		}
		inside := descendants(t, c.Process.PID)
		if err := victim.Signal(unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "everything to end with "+name, func() bool {
			alive := c.Process.Alive()
			for _, p := range inside {
				alive = alive || p.id.Alive()
			}
			return !alive
		})
		eventually(t, "the cluster to be back", func() bool {
			now := l.status(t).Clusters[0]
			back := now.State == state.Ready && now.Process != c.Process
			if back {
				c = now
			}
			return back
		})
		if !hasNamespace(t, c, "default") {
			t.Error("the data is lost")
		}
		eventually(t, "the pod to run again", func() bool {
			_, ok := component(t, c, "sleep")
			return ok
		})
	}
	s := l.status(t)
	inside := descendants(t, c.Process.PID)
	kill(t, s, "supervisor")
	gone(t, s)
	for _, p := range inside {
		if p.id.Alive() {
			t.Errorf("%s outlives the supervisor", p.name)
		}
	}
	c = l.upLive(t, "--resume")
	eventually(t, "the pod to run in the lab that resumes", func() bool {
		_, ok := component(t, c, "sleep")
		return ok
	})
	l.downLeavesNothing(t)
}

func TestSecondLiveClusterHasOtherAddresses(t *testing.T) {
	l := newLab(t)
	l.upLive(t, "--clusters", "2", "--pod-cidr", "10.40.0.0/16", "--service-cidr", "10.50.0.0/16")
	for i, c := range l.status(t).Clusters {
		service, err := client(t, c).CoreV1().Services(metav1.NamespaceDefault).Get(t.Context(), "kubernetes", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"10.50.0.1", "10.51.0.1"}[i]; service.Spec.ClusterIP != want {
			t.Errorf("%s has the Service kubernetes at %s, want %s", c.Name, service.Spec.ClusterIP, want)
		}
	}
	l.must(t, "stop", "cluster-2")
	l.must(t, "start", "cluster-2")
	if s := l.status(t); s.State != state.Ready {
		t.Errorf("after an outage the lab is %s", s.State)
	}
}

// TestJoinedClusters asks, in a pod of one cluster, for a port of a pod of the
// other that nobody serves: its refusal has come all the way back.
func TestJoinedClusters(t *testing.T) {
	l := newLab(t)
	l.upLive(t, "--clusters", "2", "--joined")
	clusters := l.status(t).Clusters
	run(t, clusters[1], sleeper("there"), corev1.PodRunning)
	pod, err := client(t, clusters[1]).CoreV1().Pods(metav1.NamespaceDefault).Get(t.Context(), "there", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	here := sleeper("here")
	here.Spec.RestartPolicy = corev1.RestartPolicyNever
	here.Spec.Containers[0].Command = []string{"/bin/bash", "-c", "echo >/dev/tcp/" + pod.Status.PodIP + "/1 || true"}
	run(t, clusters[0], here, corev1.PodSucceeded)
	if log := l.must(t, "logs", "here"); !strings.Contains(log, "Connection refused") {
		t.Errorf("from one cluster to a pod of the other: %q", log)
	}
	if code, _, stderr := l.command(t, "up", "--clusters", "3"); code != 2 || !strings.Contains(stderr, "lab down") {
		t.Errorf("a third cluster: exit code %d, %q", code, stderr)
	}
}

func TestLiveIsRefusedBesideALabThatIsNot(t *testing.T) {
	l := newLab(t)
	l.must(t, "up")
	before := l.status(t)
	code, _, stderr := l.command(t, "up", "--live", "--bin", bin(t))
	if code != 2 || !strings.Contains(stderr, "lab down") {
		t.Errorf("up --live of a lab without live nodes: exit code %d, %q", code, stderr)
	}
	if after := l.status(t); after.Clusters[0].Process != before.Clusters[0].Process {
		t.Error("it has not been left alone")
	}
}
