package effect

import (
	"fmt"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// authorization tells who may call what that might not, and the other way
// round: where policies differ, and where callers are others than they were.
func (c *comparison) authorization() {
	known := map[string]matrix{}
	movers := c.movers()
	for _, name := range sortedKeys(c.after.proxies) {
		b, a := c.before.proxies[name], c.after.proxies[name]
		same := c.hash.inbound(b) == c.hash.inbound(a)
		if b == nil || same && !movers {
			continue
		}
		if a.Role == traffic.Waypoint {
			c.served(b, a)
			if movers {
				c.servedAsBefore(b, a)
			}
			continue
		}
		var doors []door
		if !same {
			doors = c.doors(b, a)
		}
		if movers {
			doors = append(doors, c.guarded(b, a, doors)...)
		}
		total := matrix{}
		for _, d := range doors {
			m, ok := known[d.key]
			if !ok {
				m = c.matrix(d, a.Workload)
				known[d.key] = m
			}
			total.join(m, d.port)
		}
		c.tellMatrix(total, a, a.Name)
	}
}

// guarded returns the ways into a workload whose policies ask who calls, and are
// the same on both sides, beside those that are asked about anyway.
func (c *comparison) guarded(b, a *traffic.Proxy, beside []door) []door {
	lb, la := inbound(b), inbound(a)
	if lb == nil || la == nil {
		return nil
	}
	var out []door
	for _, port := range inboundPorts(la) {
		if slices.ContainsFunc(beside, func(d door) bool { return d.port == port }) {
			continue
		}
		x, y := gateOf(b, port), gateOf(a, port)
		d := door{port: port, host: anyHost}
		secured, key := c.pair(x.secured, y.secured)
		if key == "" && secured[1] != nil && match.IdentitiesOf(secured[:]...).TellApart() {
			d.secured, d.key = secured, fmt.Sprintf("%d as before %s", port, c.policies(y.secured))
			out = append(out, d)
		}
	}
	return out
}

// servedAsBefore is guarded for the hosts that a waypoint serves.
func (c *comparison) servedAsBefore(b, a *traffic.Proxy) {
	before, after := servedChains(b, ""), servedChains(a, "")
	totals := map[string]matrix{}
	for _, name := range sortedKeys(after) {
		if before[name] == nil {
			continue
		}
		n, _ := parseCluster(name)
		d, differs := c.servedDoor(name, before[name], after[name])
		if !differs && d.secured[1] != nil && match.IdentitiesOf(d.secured[:]...).TellApart() {
			total := totals[n.host]
			total.join(c.matrix(d, a.Workload), d.port)
			totals[n.host] = total
		}
	}
	for _, host := range sortedKeys(totals) {
		c.tellMatrix(totals[host], a, shortHost(host))
	}
}

// tellMatrix tells for each reason one effect for what widens and one for what
// narrows of who may call the subject, which is the workload of the proxy or a
// host that it serves.
func (c *comparison) tellMatrix(m matrix, p *traffic.Proxy, subject string) {
	w := p.Workload
	if m.cut {
		c.out.add(untriedCalls(subject))
	}
	for _, why := range reasons {
		for _, wider := range []bool{true, false} {
			of := slices.DeleteFunc(slices.Clone(m.rows), func(r row) bool { return r.wider != wider || r.reason != why })
			if len(of) == 0 {
				continue
			}
			f := c.admission(of, w, subject)
			f.subjects, f.namespace, f.group = []string{subject}, w.Namespace, w.Namespace
			c.out.add(f)
		}
	}
}

// admission tells rows of one kind.
func (c *comparison) admission(rows []row, w *traffic.Workload, subject string) found {
	first := rows[0]
	f := found{code: mizzen.EffectAuthorizationNarrower, impact: mizzen.ImpactWarning, message: "fewer may call it"}
	if first.wider {
		f.code, f.impact, f.message = mizzen.EffectAuthorizationWider, mizzen.ImpactDanger, "more may call it"
	}
	var before, after []string
	for _, r := range rows {
		before, after = append(before, r.what()+": "+r.before), append(after, r.what()+": "+r.after)
		for _, k := range r.moved {
			f.callers = append(f.callers, k.workloads...)
		}
	}
	f.before, f.after = lines(before), lines(after)
	f.witness = c.callWitness(first, subject)
	switch first.reason {
	case byPolicy:
		f.cause = c.policyCause(first, w)
	case byTrust:
		// A witness is a claim about Envoy, which ends the handshake.
		f.cause, f.witness = c.policyCause(first, w), nil
		if first.wider {
			f.impact = mizzen.ImpactWarning
		}
	case byIdentity:
		f.cause = c.identityCause(first.by)
		f.message += ", since callers have another service account"
		if first.by.fresh {
			f.message = "more may call it: a new workload has a service account that may"
		}
	}
	if f.cause.ref.Kind == "" {
		f.cause, _ = c.rebound(subject + clusterDomain)
	}
	return f
}

// what names the requests of a row, with the port where not all others are
// treated alike.
func (r row) what() string {
	s := list(r.requests, 2) + r.from
	if slices.Contains(r.ports, others) && (r.http || len(r.ports) == 1) {
		return s
	}
	var ports []string
	for _, p := range r.ports {
		ports = append(ports, portWords(p))
	}
	return s + " at " + list(ports, 3)
}

// lines joins the lines of a matrix, bounded.
func lines(all []string) string {
	const most = 5
	if len(all) > most {
		all = append(all[:most:most], fmt.Sprintf("and %d more", len(all)-most))
	}
	return strings.Join(all, "; ")
}
