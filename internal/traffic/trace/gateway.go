package trace

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// fromOutside follows a request that comes in at a gateway.
func (t *tracer) fromOutside() error {
	var all []*traffic.Proxy
	var names []string
	for _, p := range t.mesh.Proxies {
		if p.Role == traffic.Gateway {
			all, names = append(all, p), append(names, p.Name)
		}
	}
	name := t.request.Gateway
	if len(all) == 0 {
		return &mizzen.Error{
			Kind: mizzen.NotFound, Object: "gateway " + cmp.Or(name, "of the mesh"), Err: errors.New("no workload is a gateway"),
			Remedy: "render the Application that installs it, too; or name a workload with --from",
		}
	}
	if name == "" {
		return t.at(all)
	}
	found := slices.DeleteFunc(all, func(p *traffic.Proxy) bool { return !isGateway(p, name) })
	if len(found) == 0 {
		return &mizzen.Error{
			Kind: mizzen.NotFound, Object: "gateway " + name, Err: errors.New("no gateway has this name"),
			Remedy: suggest(name, names, "there are "+strings.Join(names[:min(len(names), nearest)], ", ")),
		}
	}
	return t.at(found)
}

// isGateway tells whether a name means a gateway: its own, with or without the
// namespace, or the value of its label istio.
func isGateway(p *traffic.Proxy, name string) bool {
	namespace, short, qualified := strings.Cut(name, "/")
	if !qualified {
		short = name
	} else if namespace != p.Workload.Namespace {
		return false
	}
	own := strings.TrimPrefix(p.Name, p.Workload.Namespace+"/")
	return own == short || p.Workload.Labels["istio"] == short || p.Workload.Labels["gateway.networking.k8s.io/gateway-name"] == short
}

// entrance is how far a request gets into a gateway.
type entrance struct {
	proxy    *traffic.Proxy
	listener *listenerv3.Listener
	port     uint32
	// depth is 0 without a listener, 1 without a filter chain, 2 without a rule
	// for the host, else 3.
	depth int
}

// at lets a gateway take the request: the one that knows most of it, else the
// first.
func (t *tracer) at(gateways []*traffic.Proxy) error {
	var entrances []entrance
	for _, p := range gateways {
		entrances = append(entrances, t.entrance(p))
	}
	slices.SortStableFunc(entrances, func(a, b entrance) int { return cmp.Compare(b.depth, a.depth) })
	best := entrances[0]
	if len(entrances) > 1 && entrances[1].depth == best.depth {
		t.note("%s would take it, too: name a gateway with --gateway", entrances[1].proxy.Name)
	}
	r := t.request
	l := &leg{
		view: best.proxy.View(), caller: best.proxy.Workload, percent: 100, seen: r.seen(r.http),
		hop: &mizzen.TraceHop{Workload: best.proxy.Name, Direction: mizzen.TraceGateway, Proxy: true, Percent: 100, Security: plaintext},
	}
	if r.encrypted {
		l.hop.Security = simpleTLS
	}
	if why := t.noWayIn(best); why != "" {
		t.hops = append(t.hops, l.hop)
		t.refuseConnection(l, why)
		return nil
	}
	t.accept(l, best.listener, match.Peer{Connection: r.connection(r.source(), best.proxy.Workload.Address, best.port)})
	return nil
}

// noWayIn says why the request does not get to a gateway, empty if it does.
func (t *tracer) noWayIn(e entrance) string {
	w := e.proxy.Workload
	var reached []traffic.ServicePort
	for _, s := range w.Ports {
		if s.Port == t.request.port {
			reached = append(reached, s)
		}
	}
	switch {
	case len(reached) == 0 && len(w.Ports) > 0 && !w.OnNode:
		return fmt.Sprintf("no Service that leads to it has port %d", t.request.port)
	case e.listener == nil:
		return fmt.Sprintf("it does not listen on port %d", e.port)
	}
	if len(reached) > 0 && !w.OnNode && !slices.ContainsFunc(reached, func(s traffic.ServicePort) bool { return s.Outside != "" }) {
		t.note("the Service %s of the gateway is reached within the cluster only, unless something that is not here leads to it", reached[0].Service)
	}
	return ""
}

// source is the address of a caller outside of the mesh.
func (r *request) source() string {
	if _, err := netip.ParseAddr(r.From); err == nil {
		return r.From
	}
	return unknownAddress
}

// entrance looks how far the request gets.
func (t *tracer) entrance(p *traffic.Proxy) entrance {
	e := entrance{proxy: p, port: t.gatewayPort(p)}
	for _, l := range p.View().Inbound {
		if l.GetAddress().GetSocketAddress().GetPortValue() == e.port {
			e.listener = l
		}
	}
	if e.listener == nil {
		return e
	}
	e.depth = 1
	chain, _ := match.Chain(e.listener, t.request.connection(t.request.source(), p.Workload.Address, e.port))
	if chain == nil {
		return e
	}
	e.depth = 2
	s, err := match.Open(chain)
	if err != nil || s.HTTP == nil {
		e.depth = 3
		return e
	}
	if routes := s.Routes(p.View()); routes != nil {
		o := s.Options
		o.WithoutTried = true
		if k := match.Route(routes, t.httpRequest(t.request.seen(true)), o).Kind; k != match.NoHost && k != match.NoRoute {
			e.depth = 3
		}
	}
	return e
}

// gatewayPort is where a gateway listens for the port of the URL: the target
// port of its Service.
func (t *tracer) gatewayPort(p *traffic.Proxy) uint32 {
	port := t.request.port
	var targets []uint32
	for _, s := range p.Workload.Ports {
		if s.Port == port {
			targets = append(targets, s.Target)
		}
	}
	if len(targets) == 0 {
		return port
	}
	return slices.Min(targets)
}
