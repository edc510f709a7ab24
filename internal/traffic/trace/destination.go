package trace

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// send follows a request to each of the places that a rule names.
func (t *tracer) send(l *leg, route *routev3.Route, shares []match.Destination) {
	lines := t.lines(route, len(shares))
	for i, s := range shares {
		d := mizzen.TraceDestination{Percent: round(s.Percent), Cluster: s.Cluster}
		if i < len(lines) {
			d.Origin = lines[i]
		}
		d.Headers = append(mutations("request", s.RequestHeaders), mutations("response", s.ResponseHeaders)...)
		if to, ok := targetOf(s.Cluster); ok {
			d.Host, d.Port, d.Subset = to.host, to.port, to.subset
		}
		part := *l
		part.percent = l.percent * s.Percent / 100
		part.seen.authority = cmp.Or(s.Host, l.seen.authority)
		part.seen.headers = match.Mutate(l.seen.headers, s.RequestHeaders)
		if s.ClusterHeader != "" {
			d.Cluster, d.Fails = s.ClusterHeader, "the header "+s.ClusterHeader+" of the request names the destination"
			t.end(&part, mizzen.TraceOutcome{Fate: mizzen.FateUnknown, By: l.hop.Workload, Message: d.Fails})
			l.hop.Destinations = append(l.hop.Destinations, d)
			continue
		}
		c := l.view.Clusters[s.Cluster]
		if rule, ok := traffic.RuleOfCluster(c); ok {
			d.Rule = t.rule(rule)
		}
		t.deliver(&part, c, &d)
		l.hop.Destinations = append(l.hop.Destinations, d)
	}
}

// deliver follows a request to the addresses behind one cluster.
func (t *tracer) deliver(l *leg, c *clusterv3.Cluster, d *mizzen.TraceDestination) {
	switch {
	case d.Cluster == blackHole:
		t.lose(l, d, 502, "no Service or ServiceEntry has the host, and the mesh lets nothing else out (REGISTRY_ONLY)")
		return
	case d.Cluster == passthrough || d.Cluster == inboundPassthrough:
		t.pass(l, d)
		return
	case c == nil:
		t.lose(l, d, l.missing, t.missing(d))
		return
	case c.GetType() == clusterv3.Cluster_ORIGINAL_DST:
		t.leave(l, d, transportOf(c, nil))
		return
	}
	behind := places(l.view, c)
	if len(behind) == 0 {
		t.idle(d.Host)
		t.lose(l, d, 503, noEndpoints(d))
		return
	}
	t.spread(l, c, d, behind)
}

// lose ends the requests of one destination.
func (t *tracer) lose(l *leg, d *mizzen.TraceDestination, status int, why string) {
	d.Fails = why
	if !l.seen.http {
		status = 0
	}
	t.end(l, mizzen.TraceOutcome{Fate: mizzen.FateFails, Status: status, By: l.hop.Workload, Message: why, Rule: d.Rule})
}

// missing says why there is no such cluster.
func (t *tracer) missing(d *mizzen.TraceDestination) string {
	ports := t.mesh.Hosts[d.Host]
	switch {
	case d.Cluster == unknownService:
		return "the backend of the rule is not there, or no ReferenceGrant lets the rule refer to it"
	case len(ports) == 0:
		return fmt.Sprintf("no Service or ServiceEntry has the host %s", d.Host)
	case !slices.Contains(ports, d.Port):
		return hasNoPort(d.Host, d.Port, ports)
	case d.Subset != "":
		return fmt.Sprintf("no DestinationRule of %s has a subset %s", d.Host, d.Subset)
	}
	return fmt.Sprintf("the proxy does not know %s: a Sidecar or exportTo hides it", d.Host)
}

func hasNoPort(host string, port uint32, ports []uint32) string {
	return fmt.Sprintf("%s has no port %d, but %s", host, port, list(ports))
}

// idle notes workloads without pods, where nothing is behind a destination.
func (t *tracer) idle(host string) {
	_, rest, _ := strings.Cut(host, ".")
	namespace, _, _ := strings.Cut(rest, ".")
	for _, w := range t.mesh.Workloads {
		if w.Idle && w.Namespace == namespace {
			t.note("%s has no pods: it is scaled to none (%s)", w.Name, w.Origin)
		}
	}
}

func noEndpoints(d *mizzen.TraceDestination) string {
	if d.Subset != "" {
		return fmt.Sprintf("subset %s of %s selects no workload", d.Subset, d.Host)
	}
	return fmt.Sprintf("%s selects no workload", d.Host)
}

// spread follows a request to each workload behind a cluster, by weight.
func (t *tracer) spread(l *leg, c *clusterv3.Cluster, d *mizzen.TraceDestination, behind []place) {
	t.noteBypass(l, d, behind)
	var total float64
	for _, p := range behind {
		total += p.weight
	}
	workloads := 0
	for _, p := range behind {
		via := transportOf(c, p.endpoint)
		percent := 100 * p.weight / total
		name := cmp.Or(p.waypoint, p.address)
		if w := t.addresses[cmp.Or(p.waypoint, p.address)]; w != nil {
			name, workloads = w.Name, workloads+1
		}
		d.Workloads = merge(d.Workloads, mizzen.TraceEndpoint{Workload: name, Percent: percent, Security: l.security(via)})
		part := *l
		part.percent = l.percent * percent / 100
		t.arrive(&part, p, via, d)
	}
	for i := range d.Workloads {
		d.Workloads[i].Percent = round(d.Workloads[i].Percent)
	}
	slices.SortStableFunc(d.Workloads, func(a, b mizzen.TraceEndpoint) int { return cmp.Compare(a.Workload, b.Workload) })
	if workloads > 1 {
		t.note("workloads behind one host or subset get shares by their number of pods; the answer takes one pod for each")
	}
}

func merge(all []mizzen.TraceEndpoint, e mizzen.TraceEndpoint) []mizzen.TraceEndpoint {
	for i := range all {
		if all[i].Workload == e.Workload && all[i].Security == e.Security {
			all[i].Percent += e.Percent
			return all
		}
	}
	return append(all, e)
}

// pass follows a connection that a proxy lets through to where the caller
// wanted to go.
func (t *tracer) pass(l *leg, d *mizzen.TraceDestination) {
	via := transport{security: plaintext}
	d.Host, d.Port = l.to.host, t.request.port
	if w := t.addresses[l.to.address]; w != nil {
		d.Workloads = []mizzen.TraceEndpoint{{Workload: w.Name, Percent: 100, Security: l.security(via)}}
		t.arrive(l, place{address: l.to.address, port: t.request.port}, via, d)
		return
	}
	if !l.to.known {
		t.leave(l, d, via)
		return
	}
	// The address is a Service's: the node's kube-proxy chooses a pod.
	t.byNode(l, d)
}

// byNode follows a connection to the address of a Service without the help of
// a proxy.
func (t *tracer) byNode(l *leg, d *mizzen.TraceDestination) {
	host, port := cmp.Or(l.to.alias, l.to.host), t.request.port
	if _, known := t.mesh.Hosts[host]; !known {
		d.Host = host
		t.leave(l, d, transport{security: plaintext})
		return
	}
	if ports := t.mesh.Hosts[host]; len(ports) > 0 && !slices.Contains(ports, port) {
		t.lose(l, d, 503, hasNoPort(host, port, ports))
		return
	}
	if behind := t.nearest(host, port); len(behind) > 0 {
		t.spread(l, &clusterv3.Cluster{Name: clusterName(port, "", host)}, d, behind)
		return
	}
	if len(t.mesh.Proxies) == 0 {
		why := fmt.Sprintf("what is behind %s is known to proxies alone, and nothing here has one", host)
		d.Fails = why
		t.end(l, mizzen.TraceOutcome{Fate: mizzen.FateUnknown, By: l.hop.Workload, Message: why})
		return
	}
	t.lose(l, d, 503, fmt.Sprintf("%s selects no workload", host))
}

// nearest are the pods behind a port of a Service, as any of the proxies knows
// them that does not send through a waypoint, without what it says of the
// connection to them.
func (t *tracer) nearest(host string, port uint32) []place {
	names := []string{clusterName(port, "", host), waypointCluster(port, "http", host), waypointCluster(port, "tcp", host)}
	for _, p := range t.mesh.Proxies {
		for _, name := range names {
			c := p.View().Clusters[name]
			if c == nil {
				continue
			}
			behind := places(p.View(), c)
			if slices.ContainsFunc(behind, func(p place) bool { return p.waypoint != "" }) {
				continue
			}
			for i := range behind {
				behind[i].endpoint = nil
			}
			return behind
		}
	}
	return nil
}

// direct follows the request of a workload without a sidecar, or one that is led
// past it.
func (t *tracer) direct(caller *traffic.Workload, to resolved) {
	r := t.request
	security := plaintext
	if r.encrypted {
		security = simpleTLS
	}
	l := &leg{
		caller: caller, to: to, percent: 100,
		seen: r.seen(false),
		hop:  &mizzen.TraceHop{Workload: caller.Name, Direction: mizzen.TraceOutbound, Percent: 100, Security: security},
	}
	t.hops = append(t.hops, l.hop)
	d := mizzen.TraceDestination{Percent: 100}
	t.pass(l, &d)
	l.hop.Destinations = append(l.hop.Destinations, d)
	why := "has no sidecar"
	if caller.Sidecar {
		why = "sends this past its sidecar"
	}
	t.note("%s %s: no rule for callers applies, and it shows no identity", caller.Name, why)
}

// leave ends at a server outside of the mesh.
func (t *tracer) leave(l *leg, d *mizzen.TraceDestination, via transport) {
	host := cmp.Or(d.Host, l.to.host, l.seen.authority)
	security := l.security(via)
	d.Workloads = append(d.Workloads, mizzen.TraceEndpoint{Workload: host, Percent: 100, Security: security})
	t.end(l, mizzen.TraceOutcome{
		Fate: mizzen.FateServed, By: host,
		Message: fmt.Sprintf("it leaves the mesh to %s (%s)", host, security), Rule: d.Rule,
	})
}
