package trial

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"mizzen.dev/mizzen/internal/traffic/match"
	"mizzen.dev/mizzen/test/oracle/internal/generate"
)

// The listeners of a waypoint: for tunnels, and for what they bring.
const (
	connectTerminate = "connect_terminate"
	mainInternal     = "main_internal"
)

// hbone is the port of tunnels, alpnOfTunnels what is said there in TLS.
const (
	hbone         = "15008"
	alpnOfTunnels = "h2"
)

// outside is a call as the listener for tunnels sees it.
func outside(c generate.Call) generate.Call {
	c.ServerName = ""
	return c
}

// inside is a call as it comes out of a tunnel: in plaintext, or in TLS that is
// nothing to the waypoint.
func inside(c generate.Call) generate.Call {
	c.Trust = generate.Plaintext
	if c.ServerName != "" {
		c.Trust = generate.Anonymous
	}
	return c
}

// tunnels tells whether a waypoint takes a caller's tunnel.
func (t *Trial) tunnels(c generate.Call) (bool, error) {
	c.Destination = net.JoinHostPort(t.destination, hbone)
	connection, err := connectionOf(c)
	if err != nil {
		return false, err
	}
	connection.ALPN = []string{alpnOfTunnels}
	chain, _ := match.Chain(t.named(connectTerminate), connection)
	if chain == nil {
		return false, nil
	}
	stack, err := t.open(chain)
	return err == nil && accepts(stack, c.Trust), err
}

// named returns the listener of a name among those of what arrives.
func (t *Trial) named(name string) *listenerv3.Listener {
	for _, l := range t.view.Inbound {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// door is a destination at a waypoint, with the requests of the routes behind
// it; nil where none are.
type door struct {
	destination string
	source      *generate.Source
}

// waypointCalls returns n calls to all that a waypoint's matcher names and to
// what it does not, half of them made for policies and half for routes.
func (t *Trial) waypointCalls(rnd *rand.Rand, n int) ([]generate.Call, error) {
	doors, err := t.doors(rnd)
	if err != nil {
		return nil, err
	}
	var out []generate.Call
	for i := range n {
		d := doors[i%len(doors)]
		call := generate.Tunneled(rnd, d.destination)
		if d.source != nil && rnd.IntN(2) == 0 {
			call.Request = d.source.Next()
		}
		out = append(out, call)
	}
	return out, nil
}

// doors are the destinations that a chain is for, each several times by the
// number of its routes, and a few that none is for.
func (t *Trial) doors(rnd *rand.Rand) ([]door, error) {
	var known, unknown []door
	listener := t.named(mainInternal)
	for _, at := range destinations(listener.GetFilterChainMatcher()) {
		chain, _ := match.Chain(listener, match.Connection{Destination: at, ALPN: []string{"http/1.1"}})
		if chain == nil {
			unknown = append(unknown, door{destination: at.String()})
			continue
		}
		stack, err := t.open(chain)
		if err != nil {
			return nil, err
		}
		d := door{destination: at.String()}
		weight := 1
		if stack.HTTP != nil {
			d.source = generate.NewSource(stack.Routes(t.view), uint32(at.Port()), rnd)
			weight = 1 + d.source.Routes()/2
		}
		known = append(known, slices.Repeat([]door{d}, weight)...)
	}
	rnd.Shuffle(len(unknown), func(i, j int) { unknown[i], unknown[j] = unknown[j], unknown[i] })
	out := slices.Concat(known, unknown[:min(len(unknown), 1+len(known)/10)])
	if len(known) == 0 {
		return nil, fmt.Errorf("%s: its matcher leads nowhere", t.Name)
	}
	rnd.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out, nil
}

// destinations are all addresses that a matcher names, and a stranger, each at
// all ports that it names, and at one more.
func destinations(m *xdsv3.Matcher) []netip.AddrPort {
	w := &names{addresses: map[netip.Addr]bool{netip.MustParseAddr(stranger): true}, ports: map[uint16]bool{7: true}}
	w.matcher(m)
	var out []netip.AddrPort
	for _, ip := range slices.SortedFunc(maps.Keys(w.addresses), netip.Addr.Compare) {
		for _, port := range slices.Sorted(maps.Keys(w.ports)) {
			out = append(out, netip.AddrPortFrom(ip, port))
		}
	}
	return out
}

// names collects what a matcher asks for.
type names struct {
	addresses map[netip.Addr]bool
	ports     map[uint16]bool
}

func (w *names) matcher(m *xdsv3.Matcher) {
	tree := m.GetMatcherTree()
	for key, next := range tree.GetExactMatchMap().GetMap() {
		if port, err := strconv.ParseUint(key, 10, 16); err == nil {
			w.ports[uint16(port)] = true
		}
		w.matcher(next.GetMatcher())
	}
	ranges := &xdsv3.IPMatcher{}
	if custom := tree.GetCustomMatch().GetTypedConfig(); custom != nil && custom.UnmarshalTo(ranges) == nil {
		for _, r := range ranges.GetRangeMatchers() {
			w.ranges(r.GetRanges())
			w.matcher(r.GetOnMatch().GetMatcher())
		}
	}
	if next := m.GetOnNoMatch().GetMatcher(); next != nil {
		w.matcher(next)
	}
}

func (w *names) ranges(list []*xdscorev3.CidrRange) {
	for _, r := range list {
		if ip, err := netip.ParseAddr(r.GetAddressPrefix()); err == nil && ip.Is4() {
			w.addresses[ip] = true
		}
	}
}
