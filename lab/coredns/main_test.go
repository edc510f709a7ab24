package main

import (
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// closed is a kubeconfig whose API server refuses connections.
const closed = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c, user: ""}}]
current-context: c
`

func TestAnswers(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte(closed), 0o600); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	o, err := parse([]string{
		"--kubeconfig", kubeconfig, "--port", strconv.Itoa(port), "--ready", "127.0.0.1:" + strconv.Itoa(freePort(t)),
		"--host", "host.lab.internal=10.244.0.9", "--host", "other.lab.internal=10.244.0.10",
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	server, err := start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })

	for _, c := range []struct {
		name  string
		kind  uint16
		rcode int
		a     string
	}{
		{"host.lab.internal.", dns.TypeA, dns.RcodeSuccess, "10.244.0.9"},
		{"Other.Lab.Internal.", dns.TypeA, dns.RcodeSuccess, "10.244.0.10"},
		// The name exists, only without such an address: a resolver goes on.
		{"host.lab.internal.", dns.TypeAAAA, dns.RcodeSuccess, ""},
		{"third.lab.internal.", dns.TypeA, dns.RcodeNameError, ""},
		{"example.com.", dns.TypeA, dns.RcodeNameError, ""},
		{"localhost.", dns.TypeA, dns.RcodeNameError, ""},
		{"web.shop.svc.cluster.local.", dns.TypeA, dns.RcodeServerFailure, ""},
	} {
		m := new(dns.Msg).SetQuestion(c.name, c.kind)
		answer, err := dns.Exchange(m, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var a string
		for _, rr := range answer.Answer {
			if rr, ok := rr.(*dns.A); ok {
				a = rr.A.String()
			}
		}
		if answer.Rcode != c.rcode || a != c.a {
			t.Errorf("%s %s: got %s %q, want %s %q", c.name, dns.TypeToString[c.kind],
				dns.RcodeToString[answer.Rcode], a, dns.RcodeToString[c.rcode], c.a)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"--kubeconfig is missing":   {},
		"unexpected argument":       {"--kubeconfig", "k", "more"},
		"cannot name":               {"--kubeconfig", "k\" {$HOME}"},
		"is not a domain":           {"--kubeconfig", "k", "--domain", "a b"},
		"--ready":                   {"--kubeconfig", "k", "--ready", "8181"},
		"want name=address":         {"--kubeconfig", "k", "--host", "a\n.=1.2.3.4"},
		"is not an IPv4 address":    {"--kubeconfig", "k", "--host", "a=::1"},
		"unable to parse IP":        {"--kubeconfig", "k", "--host", "a=b"},
		"flag provided but not def": {"--conf", "Corefile"},
	} {
		if _, err := parse(args, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want %q", args, err, want)
		}
	}
}

// freePort returns a port of 127.0.0.1 that is free for UDP and TCP.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		tcp, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := netip.MustParseAddrPort(tcp.Addr().String())
		udp, err := net.ListenPacket("udp4", address.String())
		free := err == nil && udp.Close() == nil
		if tcp.Close() == nil && free {
			return int(address.Port())
		}
	}
	t.Fatal("no port of 127.0.0.1 is free for UDP and TCP")
	return 0
}
