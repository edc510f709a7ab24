package effect

import (
	"encoding/binary"
	"reflect"
	"strconv"

	"github.com/cespare/xxhash/v2"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"mizzen.dev/mizzen/internal/traffic"
)

// maxHashed bounds the messages whose hash is remembered, in bytes of their
// encoding: remembering keeps them in memory.
const maxHashed = 16 << 20

// hasher remembers the hash of resources by their address: the views of a mesh
// share most of them.
type hasher struct {
	messages map[proto.Message]uint64
	size     int
	parts    map[*traffic.Part]sums
}

// sums are the hashes of what a Part holds.
type sums struct {
	// all is of everything, accepts of what takes requests to the workload,
	// sent of the listeners for what leaves it, destinations of clusters and
	// endpoints.
	all, accepts, sent, destinations uint64
}

func newHasher() *hasher {
	return &hasher{messages: map[proto.Message]uint64{}, parts: map[*traffic.Part]sums{}}
}

// of returns the hash of a message. What cannot be encoded hashes as empty.
func (h *hasher) of(m proto.Message) uint64 {
	if m == nil || reflect.ValueOf(m).IsNil() {
		return 0
	}
	if sum, ok := h.messages[m]; ok {
		return sum
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	sum := uint64(0)
	if err == nil {
		sum = xxhash.Sum64(b)
	}
	if h.size += len(b); h.size > maxHashed {
		clear(h.messages)
		h.size = len(b)
	}
	h.messages[m] = sum
	return sum
}

// hashMap returns the hash of resources by name.
func hashMap[V proto.Message](h *hasher, m map[string]V) uint64 {
	sum := uint64(0)
	for name, v := range m {
		// A sum does not depend on the order.
		sum += xxhash.Sum64(binary.LittleEndian.AppendUint64([]byte(name), h.of(v)))
	}
	return sum
}

// part returns the hashes of a Part, which is compiled once for that.
func (h *hasher) part(p *traffic.Part, role traffic.Role) sums {
	if sum, ok := h.parts[p]; ok {
		return sum
	}
	v := p.View()
	out, in, routes := h.listeners(v.Outbound), h.listeners(v.Inbound), hashMap(h, v.Routes)
	s := sums{accepts: in, sent: out, destinations: combined(hashMap(h, v.Clusters), hashMap(h, v.Endpoints))}
	s.all = combined(out, in, routes, s.destinations)
	if role == traffic.Sidecar {
		s.accepts = s.all
	}
	h.parts[p] = s
	return s
}

func (h *hasher) listeners(listeners []*listenerv3.Listener) uint64 {
	hashes := make([]uint64, 0, len(listeners))
	for _, l := range listeners {
		hashes = append(hashes, h.of(l))
	}
	return combined(hashes...)
}

func combined(hashes ...uint64) uint64 {
	b := make([]byte, 0, 8*len(hashes))
	for _, sum := range hashes {
		b = binary.LittleEndian.AppendUint64(b, sum)
	}
	return xxhash.Sum64(b)
}

// outbound returns hashes of what decides about requests that leave a proxy. Of
// gateways everything does.
func (h *hasher) outbound(p *traffic.Proxy) sums {
	if p == nil {
		return sums{}
	}
	return h.part(p.Outbound, p.Role)
}

// inbound returns a hash of what takes requests to a proxy.
func (h *hasher) inbound(p *traffic.Proxy) uint64 {
	if p == nil {
		return 0
	}
	return h.part(p.Inbound, p.Role).accepts
}

// fingerprint tells two texts apart without showing them.
func fingerprint(s string) string {
	return strconv.FormatUint(xxhash.Sum64String(s)&0xffffff, 16)
}
