package pods

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// TestNothingLeaves: a pod, and one in the node's own network, reach nothing of
// the host, neither at 127.0.0.1 nor at its other addresses, where everybody
// else is answered. Nor does any route lead out: all end at the node's bridge,
// which connects pods.
func TestNothingLeaves(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	addresses, asked := listen(t)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy stands between
	for _, address := range addresses {
		res, err := client.Get("http://" + address)
		if err != nil {
			t.Fatalf("%s does not even answer the host: %v", address, err)
		}
		res.Body.Close()
	}
	if n := asked.Load(); n != int64(len(addresses)) {
		t.Fatalf("the host has asked at %v, and %d requests were seen", addresses, n)
	}
	y.apply(pod("inside", containers(sh("main", "true"+idle))), pod("node", "hostNetwork: true", containers(sh("main", "true"+idle))))
	for _, name := range []string{"inside", "node"} {
		y.ready(name)
		for _, address := range addresses {
			// 7 is a connection that is refused or has no way, 28 one that waits in vain.
			out, _ := y.command("exec", name, "--", "sh", "-c", fmt.Sprintf("curl -sS -m 3 http://%s; echo curl ends with $?", address)).CombinedOutput()
			if !strings.Contains(string(out), "ends with 7") && !strings.Contains(string(out), "ends with 28") {
				t.Errorf("%s at %s: %s", name, address, out)
			}
		}
	}
	if n := asked.Load(); n != int64(len(addresses)) {
		t.Errorf("%d requests have left the lab", n-int64(len(addresses)))
	}
	for name, device := range map[string]string{"node": "lab0", "inside": "eth0"} {
		if got := y.routes(name); len(got) == 0 || slices.ContainsFunc(got, func(d string) bool { return d != device }) {
			t.Errorf("the routes of %s are over %v, want only %s", name, got, device)
		}
	}
}

// listen answers at all addresses of the host, and counts who asks.
func listen(t *testing.T) (addresses []string, asked *atomic.Int64) {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	asked = &atomic.Int64{}
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) })}
	t.Cleanup(func() { _ = server.Shutdown(context.Background()) })
	for _, a := range all {
		ip, ok := a.(*net.IPNet)
		if !ok || ip.IP.To4() == nil {
			continue
		}
		l, err := net.Listen("tcp4", net.JoinHostPort(ip.IP.String(), "0"))
		if err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, l.Addr().String())
		go func() { _ = server.Serve(l) }()
	}
	if !slices.ContainsFunc(addresses, func(a string) bool { return strings.HasPrefix(a, "127.0.0.1:") }) {
		t.Fatalf("the host has the addresses %v, and not 127.0.0.1", addresses)
	}
	return addresses, asked
}

// routes are the devices over which those of the network lead that a pod is in.
func (y *yard) routes(pod string) (devices []string) {
	y.Helper()
	lines := strings.Split(strings.TrimSpace(y.kubectl("exec", pod, "--", "cat", "/proc/net/route")), "\n")
	for _, line := range lines[1:] { // after the head of the table
		devices = append(devices, strings.Fields(line)[0])
	}
	return devices
}
