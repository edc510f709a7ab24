package effect

import (
	"cmp"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// front is a workload at a port of a Service.
type front struct {
	service, workload string
	port              uint32
}

// exposures tells of Services that clients outside of the cluster reach, or no
// longer: by their type, or as a port comes or goes. Which hosts a gateway serves
// at its ports, routes tell.
func (c *comparison) exposures() {
	before, after := fronts(c.before), fronts(c.after)
	keys := make([]front, 0, len(after))
	for key := range after {
		keys = append(keys, key)
	}
	for key := range before {
		if _, both := after[key]; !both {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b front) int {
		return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(a.workload, b.workload), cmp.Compare(a.port, b.port))
	})
	for _, key := range keys {
		b, had := before[key]
		a, has := after[key]
		if (b.Outside == "") == (a.Outside == "") {
			continue
		}
		w, was := c.after.workload(key.workload), c.before.workload(key.workload)
		if gateway := c.isGateway(key.workload); w != nil && was != nil && (!gateway || had && has) {
			c.exposed(key, w, gateway, [2]string{b.Outside, a.Outside})
		}
	}
}

// fronts are the ports of Services with the workloads behind them.
func fronts(s *side) map[front]traffic.ServicePort {
	out := map[front]traffic.ServicePort{}
	for _, w := range s.Workloads {
		for _, p := range w.Ports {
			out[front{p.Service, w.Name, p.Port}] = p
		}
	}
	return out
}

func (c *comparison) isGateway(workload string) bool {
	p := cmp.Or(c.after.proxies[workload], c.before.proxies[workload])
	return p != nil && p.Role == traffic.Gateway
}

// exposed tells of one port. by is how it is reached from outside, before and
// after.
func (c *comparison) exposed(key front, w *traffic.Workload, gateway bool, by [2]string) {
	f := found{
		code: mizzen.EffectExposed, impact: mizzen.ImpactWarning, subject: "Service " + key.service, namespace: w.Namespace, parts: []string{portWords(key.port)},
		message: "clients outside of the cluster reach the gateway by it", before: outsideWords(by[0]), after: outsideWords(by[1]),
		cause: c.frontCause(key),
	}
	switch closes := by[1] == ""; {
	case closes && gateway:
		f.code, f.impact, f.message = mizzen.EffectWithdrawn, mizzen.ImpactDanger, "clients outside of the cluster no longer reach the gateway by it"
	case closes:
		f.code, f.message = mizzen.EffectWithdrawn, "clients outside of the cluster no longer reach the workload by it"
	case !gateway:
		f.impact, f.message = mizzen.ImpactDanger, "clients outside of the cluster reach the workload by it, past every gateway"
		f.after += ": " + c.openTo(w, key.port)
	}
	c.out.add(f)
}

func outsideWords(by string) string {
	if by == "" {
		return "within the cluster"
	}
	return "from outside, by " + by
}

// openTo tells what a workload takes from those who come in at a port of a
// Service.
func (c *comparison) openTo(w *traffic.Workload, port uint32) string {
	p := c.after.proxies[w.Name]
	if p == nil || !p.Role.ForWorkload() {
		return "plaintext, and no policy applies"
	}
	for _, s := range w.Ports {
		if s.Port == port {
			return "the port takes " + c.after.accepting(p, s.Target).words()
		}
	}
	return "the port takes what the workload does"
}

// frontCause names the Service, or the Gateway that istiod makes it for.
func (c *comparison) frontCause(key front) cause {
	namespace, name, _ := strings.Cut(key.service, "/")
	ref := mizzen.Ref{Kind: "Service", Namespace: namespace, Name: name}
	if c.changes.changed(ref) {
		return c.cause(traffic.Rule{Ref: ref}, hints{"spec.type", "externalIPs", "ports"})
	}
	return c.oneOf(c.changes.ofKind("Gateway", namespace), namespace, hints{"service-type", "annotations"})
}

// reachable returns what a gateway takes, without the listeners that none of its
// Services leads to. Who knows no Service of it takes all to be reached. moved
// tells that Services lead to other listeners on the other side: clients know the
// port of the Service, and so the listeners are named by it.
func reachable(p *traffic.Proxy, v *traffic.View, moved bool) *traffic.View {
	if p == nil || p.Role != traffic.Gateway || len(p.Workload.Ports) == 0 || p.Workload.OnNode {
		return v
	}
	out := *v
	out.Inbound = nil
	changes := false
	for _, l := range v.Inbound {
		port := l.GetAddress().GetSocketAddress().GetPortValue()
		i := slices.IndexFunc(p.Workload.Ports, func(s traffic.ServicePort) bool { return s.Target == port })
		switch {
		case i < 0:
			changes = true
			continue
		case moved && p.Workload.Ports[i].Port != port:
			changes = true
			l = proto.Clone(l).(*listenerv3.Listener)
			l.GetAddress().GetSocketAddress().PortSpecifier = &corev3.SocketAddress_PortValue{PortValue: p.Workload.Ports[i].Port}
		}
		out.Inbound = append(out.Inbound, l)
	}
	if !changes {
		return v
	}
	return &out
}

// moved tells whether the Services of a gateway lead to other ports of it.
func (p *pair) moved() bool {
	if p.before == nil || p.after == nil || p.role != traffic.Gateway {
		return false
	}
	target := func(s traffic.ServicePort) [2]uint32 { return [2]uint32{s.Port, s.Target} }
	b, a := p.before.Workload.Ports, p.after.Workload.Ports
	return !slices.EqualFunc(b, a, func(x, y traffic.ServicePort) bool { return target(x) == target(y) })
}
