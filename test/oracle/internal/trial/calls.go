package trial

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"mizzen.dev/mizzen/test/oracle/internal/generate"
	"mizzen.dev/mizzen/test/oracle/internal/runnable"
)

// Calls returns n calls to a side: to a workload or a waypoint from all kinds of
// callers, or to each of the addresses that a proxy listens at.
func (t *Trial) Calls(rnd *rand.Rand, n int) ([]generate.Call, error) {
	var out []generate.Call
	switch t.side {
	case runnable.Waypoint:
		return t.waypointCalls(rnd, n)
	case runnable.Inbound:
		for range n {
			out = append(out, generate.Inbound(rnd, t.destination, []int{8080, 8080, 8080, 9000, 7777}))
		}
		return out, nil
	}
	listeners := t.view.Outbound
	if t.side == runnable.Gateway {
		listeners = t.view.Inbound
	}
	hosts := t.hosts()
	for i := range n {
		l := listeners[i%len(listeners)]
		ip := l.GetAddress().GetSocketAddress().GetAddress()
		if ip == "0.0.0.0" {
			ip = stranger
		}
		destination := fmt.Sprintf("%s:%d", ip, l.GetAddress().GetSocketAddress().GetPortValue())
		call := generate.Outbound(rnd, destination, serverNames(l), hosts)
		if t.side == runnable.Gateway {
			generate.AddToken(rnd, &call)
		}
		out = append(out, call)
	}
	return out, nil
}

// hosts returns domains of the routes, and one that there is none of.
func (t *Trial) hosts() []string {
	out := []string{"unknown.example.org"}
	for _, target := range t.Targets {
		for _, host := range target.Config.VirtualHosts {
			for _, d := range host.Domains {
				out = append(out, strings.Replace(d, "*", "a", 1))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func serverNames(l *listenerv3.Listener) []string {
	var out []string
	for _, chain := range l.FilterChains {
		out = append(out, chain.GetFilterChainMatch().GetServerNames()...)
	}
	return out
}
