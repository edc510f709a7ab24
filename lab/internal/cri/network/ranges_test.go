package network

import (
	"net/netip"
	"testing"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestRangeOfManyPods(t *testing.T) {
	node := addr("10.244.0.1")
	r, err := NewRange(netip.MustParsePrefix("10.244.0.0/16"), node)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[netip.Addr]bool{}
	for range 1<<16 - 3 {
		a, err := r.Take()
		if err != nil {
			t.Fatal(err)
		}
		if seen[a] || a == node || a == addr("10.244.0.0") || a == addr("10.244.255.255") {
			t.Fatalf("%s was handed out", a)
		}
		seen[a] = true
	}
	if a, err := r.Take(); err == nil {
		t.Errorf("there is no free address, but %s was handed out", a)
	}
}

func TestRangeReusesLate(t *testing.T) {
	r, err := NewRange(netip.MustParsePrefix("10.1.0.9/29"), addr("10.1.0.9"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"10.1.0.10", "10.1.0.11", "10.1.0.12", "10.1.0.13", "10.1.0.14", "10.1.0.10"} {
		a, err := r.Take()
		if err != nil {
			t.Fatal(err)
		}
		if a != addr(want) {
			t.Errorf("got %s, want %s", a, want)
		}
		r.Give(a)
	}
}

func TestRangeRefuses(t *testing.T) {
	for _, c := range []struct{ prefix, reserved string }{
		{"fd00::/64", "fd00::1"},
		{"10.1.0.0/31", "10.1.0.1"},
		{"10.1.0.0/24", "10.2.0.1"},
	} {
		if _, err := NewRange(netip.MustParsePrefix(c.prefix), addr(c.reserved)); err == nil {
			t.Errorf("a range of %s with %s was accepted", c.prefix, c.reserved)
		}
	}
}
