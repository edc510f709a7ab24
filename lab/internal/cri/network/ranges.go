package network

import (
	"fmt"
	"net/netip"
	"sync"
)

// Range hands out the addresses of an IPv4 network, each to one pod at a time.
type Range struct {
	prefix netip.Prefix

	mu   sync.Mutex
	used map[netip.Addr]bool
	last netip.Addr
}

// NewRange returns the addresses of prefix without the network's own, the
// broadcast address, and those reserved.
func NewRange(prefix netip.Prefix, reserved ...netip.Addr) (*Range, error) {
	prefix = prefix.Masked()
	if !prefix.Addr().Is4() || prefix.Bits() > 30 {
		return nil, fmt.Errorf("pod addresses %s: an IPv4 network of at least 4 addresses is needed", prefix)
	}
	r := &Range{prefix: prefix, used: map[netip.Addr]bool{prefix.Addr(): true, broadcast(prefix): true}, last: prefix.Addr()}
	for _, a := range reserved {
		if !prefix.Contains(a) {
			return nil, fmt.Errorf("address %s is not in the pods' network %s", a, prefix)
		}
		r.used[a] = true
	}
	return r, nil
}

func broadcast(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	return netip.AddrFrom4(b)
}

// Take returns a free address. One that was given back comes last: clients
// may remember for a while who had it.
func (r *Range) Take() (netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range 1 << (32 - r.prefix.Bits()) {
		if r.last = r.last.Next(); !r.prefix.Contains(r.last) {
			r.last = r.prefix.Addr()
		}
		if !r.used[r.last] {
			r.used[r.last] = true
			return r.last, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no free address in %s: all are taken by pods", r.prefix)
}

// Give gives an address back.
func (r *Range) Give(a netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.used, a)
}
