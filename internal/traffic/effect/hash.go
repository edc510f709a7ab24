package effect

import (
	"encoding/binary"
	"reflect"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/proto"

	"mizzen.dev/mizzen/internal/traffic"
)

// hasher remembers the hash of resources by their address: the views of a mesh
// share most of them, so that each is hashed once.
type hasher struct {
	messages map[proto.Message]uint64
	maps     map[uintptr]uint64
	out, in  map[*traffic.View]uint64
}

func newHasher() *hasher {
	return &hasher{
		messages: map[proto.Message]uint64{}, maps: map[uintptr]uint64{},
		out: map[*traffic.View]uint64{}, in: map[*traffic.View]uint64{},
	}
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
	h.messages[m] = sum
	return sum
}

// hashMap returns the hash of resources by name. Maps are not changed once they
// are in a View, so their address stands for them.
func hashMap[V proto.Message](h *hasher, m map[string]V) uint64 {
	at := reflect.ValueOf(m).Pointer()
	if sum, ok := h.maps[at]; ok && at != 0 {
		return sum
	}
	sum := uint64(0)
	for name, v := range m {
		// A sum does not depend on the order.
		sum += xxhash.Sum64(binary.LittleEndian.AppendUint64([]byte(name), h.of(v)))
	}
	h.maps[at] = sum
	return sum
}

// outbound returns a hash of all that decides about requests that leave a
// proxy. Of gateways everything does.
func (h *hasher) outbound(p *traffic.Proxy) uint64 {
	if p == nil || p.View == nil {
		return 0
	}
	v := p.View()
	if sum, ok := h.out[v]; ok {
		return sum
	}
	listeners := v.Outbound
	if !p.Role.ForWorkload() {
		listeners = slices.Concat(v.Outbound, v.Inbound)
	}
	b := make([]byte, 0, 8*(len(listeners)+3))
	for _, l := range listeners {
		b = binary.LittleEndian.AppendUint64(b, h.of(l))
	}
	b = binary.LittleEndian.AppendUint64(b, hashMap(h, v.Routes))
	b = binary.LittleEndian.AppendUint64(b, hashMap(h, v.Clusters))
	b = binary.LittleEndian.AppendUint64(b, hashMap(h, v.Endpoints))
	h.out[v] = xxhash.Sum64(b)
	return h.out[v]
}

// inbound returns a hash of what takes requests to a proxy.
func (h *hasher) inbound(p *traffic.Proxy) uint64 {
	v := viewOf(p)
	if sum, ok := h.in[v]; ok {
		return sum
	}
	b := []byte{}
	for _, l := range v.Inbound {
		b = binary.LittleEndian.AppendUint64(b, h.of(l))
	}
	h.in[v] = xxhash.Sum64(b)
	return h.in[v]
}

// fingerprint tells two texts apart without showing them.
func fingerprint(s string) string {
	return strconv.FormatUint(xxhash.Sum64String(s)&0xffffff, 16)
}
