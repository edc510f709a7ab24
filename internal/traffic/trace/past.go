package trace

import (
	"net/netip"

	"mizzen.dev/mizzen/internal/traffic"
)

// leavesPast tells whether the caller's pod leads a connection past its sidecar.
// Where that hangs on an address that Git does not hold, it is taken to pass it,
// and a note says so.
func (t *tracer) leavesPast(caller *traffic.Workload, to resolved) bool {
	address, err := netip.ParseAddr(to.address)
	if err != nil || traffic.Invented(address) || to.address == unknownAddress {
		address = netip.Addr{}
	}
	past, known := caller.Bypass.Leaves(address, t.request.port)
	if !known {
		t.note("the pods of %s lead some addresses past the sidecar, and that of %s is not known here: the answer takes it for one that passes it", caller.Name, to.host)
	}
	return past
}
