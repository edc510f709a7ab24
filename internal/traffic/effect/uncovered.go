package effect

import (
	"errors"
	"fmt"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// uncovered tells which calls fail of workloads that have lost their proxy, or
// whose calls leave past it: they speak plaintext now, and show no identity.
func (c *comparison) uncovered() {
	u := &bareCalls{comparison: c, asked: map[at][]match.Call{}}
	for _, name := range sortedKeys(c.before.proxies) {
		b := c.before.proxies[name]
		if !b.Role.ForWorkload() {
			continue
		}
		caller, bare := c.bared(b)
		if caller == nil {
			continue
		}
		v := b.Outbound.View()
		for _, cluster := range sortedKeys(v.Clusters) {
			var port uint32
			n, known := parseCluster(cluster)
			if _, err := fmt.Sscan(n.port, &port); !known || n.subset != "" || err != nil || !bare(port) {
				continue
			}
			u.callsFail(caller, v, cluster, n)
		}
	}
}

// bared returns a caller that sends something in plaintext that its proxy took
// before, and to which ports; nil if it does not.
func (c *comparison) bared(b *traffic.Proxy) (caller *traffic.Workload, bare func(port uint32) bool) {
	a := c.after.proxies[b.Name]
	if a == nil {
		w := c.after.workload(b.Name)
		if w == nil || w.Sidecar || w.Ambient {
			return nil, nil // it is gone, or its proxy is not about the change
		}
		return w, func(port uint32) bool { return !b.Workload.Bypass.Out.Has(port) }
	}
	if a.Role != traffic.Sidecar || !a.Workload.Bypass.Out.Beyond(b.Workload.Bypass.Out) {
		return nil, nil
	}
	return a.Workload, func(port uint32) bool { return a.Workload.Bypass.Out.Has(port) && !b.Workload.Bypass.Out.Has(port) }
}

// bareCalls asks what servers make of callers without an identity.
type bareCalls struct {
	*comparison
	// asked are the calls that the policies of a server's port tell apart.
	asked map[at][]match.Call
}

// callsFail tells of the servers behind a cluster that refuse a caller who
// speaks plaintext. v is what the caller's proxy knew.
func (u *bareCalls) callsFail(caller *traffic.Workload, v *traffic.View, cluster string, n clusterName) {
	had := u.before.refusals(v, cluster)
	for _, place := range u.before.index(v).destination(cluster).places {
		server := u.before.workload(place.name)
		if server == nil || had[server.Name].refused || server.Name == caller.Name {
			continue
		}
		p := u.after.proxies[server.Name]
		if p == nil || !p.Role.ForWorkload() {
			continue
		}
		f := found{
			subjects: []string{n.subject()}, noun: "hosts", namespace: namespaceOf(n.host), callers: []string{caller.Name}, cause: u.captureCause(caller),
			witness: &mizzen.Witness{From: caller.Name, Method: "GET", URL: "http://" + n.subject() + "/"},
		}
		port := place.port
		if gate := u.after.accepting(p, port); !gate.plain {
			f.code, f.impact, f.message = mizzen.EffectTLSMismatch, mizzen.ImpactDanger, "calls fail: the callers have no proxy that speaks mTLS, and the server refuses plaintext"
			f.before, f.after = had[server.Name].words(), talk{speaks: plaintext, accepts: gate.words()}.words()
			f.witness.Before, f.witness.After = "reaches the server", "the connection is closed"
			u.out.add(f)
			continue
		}
		u.refused(f, caller, p, port)
	}
}

// refused tells of requests that a policy lets pass for the identity of the
// caller alone.
func (u *bareCalls) refused(f found, caller *traffic.Workload, server *traffic.Proxy, port uint32) {
	s, ok := u.stacks(server, port)
	if !ok {
		return
	}
	lost, kept := 0, false
	for _, call := range u.asks(server, port, s) {
		peer := call.Peer
		peer.Identity, peer.TLS = caller.Identity, true
		x := match.Authorize(s.secured, call.Request, peer)
		peer.Identity, peer.TLS = "", false
		y := match.Authorize(s.plain, call.Request, peer)
		if level(y) >= level(x) {
			kept = kept || level(x) > 0
		} else if lost++; lost == 1 {
			f.witness.Method, f.witness.URL = call.Request.Method, f.witness.URL+call.Request.Path[1:]
			f.witness.Before, f.witness.After = verdictWords(x), verdictWords(y)
		}
	}
	if lost == 0 {
		return
	}
	f.code, f.impact, f.message = mizzen.EffectAuthorizationNarrower, mizzen.ImpactWarning, "requests are refused: the callers show no identity any more"
	if kept {
		f.message = "some " + f.message
	}
	f.before, f.after = "allowed for "+serviceAccount(caller.Identity), "denied without an identity"
	u.out.add(f)
}

func serviceAccount(identity string) string {
	id := match.ParseIdentity(identity)
	return "service account " + id.Namespace + "/" + id.Account
}

// bothWays are those into a server that a caller has with a proxy, and without.
type bothWays struct{ secured, plain *match.Stack }

// stacks opens the filter chains before the change, with mTLS, and after it,
// without; not ok where no policy is asked, or there was no mTLS.
func (u *bareCalls) stacks(server *traffic.Proxy, port uint32) (s bothWays, ok bool) {
	was := u.before.proxies[server.Name]
	if was == nil {
		return s, false
	}
	b, a := gateOf(was, port), gateOf(server, port)
	if b.secured == nil || u.policies(a.plain) == "" {
		return s, false
	}
	var errs [2]error
	s.secured, errs[0] = match.Open(b.secured)
	s.plain, errs[1] = match.Open(a.plain)
	return s, errors.Join(errs[:]...) == nil
}

// asks are the calls that a server's policies tell apart. The first show whether
// anything is refused.
func (u *bareCalls) asks(server *traffic.Proxy, port uint32, s bothWays) []match.Call {
	key := at{server.Name, port}
	if known, ok := u.asked[key]; ok {
		return known
	}
	d := door{port: port, host: hostOf(server.Workload), secured: [2]*match.Stack{s.secured, s.secured}, plain: [2]*match.Stack{s.plain, s.plain}}
	calls, _ := u.calls(d, server.Workload, 1)
	for _, p := range calls[:min(len(calls), maxAskedBare)] {
		u.asked[key] = append(u.asked[key], p.Call)
	}
	return u.asked[key]
}

// maxAskedBare bounds the requests that are asked about for a caller and a port
// of a server.
const maxAskedBare = 50
