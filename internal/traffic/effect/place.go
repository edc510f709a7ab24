package effect

import (
	"cmp"
	"fmt"
	"net"
	"strconv"

	"mizzen.dev/mizzen/internal/traffic"
)

// place is a port of a workload, or of an address that no workload has. The
// address of a workload counts where it is a real one.
type place struct {
	name, address string
	port          uint32
}

// at tells the place within a workload whose name is told.
func (p place) at() string {
	if p.address == "" {
		return fmt.Sprintf("port %d", p.port)
	}
	return net.JoinHostPort(p.address, strconv.FormatUint(uint64(p.port), 10))
}

func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.address, b.address), cmp.Compare(a.port, b.port))
}

// place tells what is at an address.
func (s *side) place(address string, port uint32) place {
	p := place{address: address, port: port}
	w := s.byAddress[address]
	if w == nil {
		return p
	}
	if p.name = w.Name; !w.Entry {
		p.address = ""
	}
	if proxy := s.proxies[w.Name]; proxy != nil && proxy.Role == traffic.Gateway {
		p.port = 0 // istiod lets it listen wherever its Services lead to
	}
	return p
}
