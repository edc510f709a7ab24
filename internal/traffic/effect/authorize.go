package effect

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// authorization tells who may call what that might not, and the other way
// round.
func (c *comparison) authorization() {
	known := map[string]matrix{}
	for _, name := range sortedKeys(c.after.proxies) {
		b, a := c.before.proxies[name], c.after.proxies[name]
		if b == nil || c.hash.inbound(b) == c.hash.inbound(a) {
			continue
		}
		if a.Role == traffic.Waypoint {
			c.served(b, a)
			continue
		}
		total := matrix{}
		for _, d := range c.doors(b, a) {
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

// caller is one who may be let in.
type caller struct {
	// identity is "" for clients without a certificate of the mesh.
	identity string
	name     string
}

// The callers that stand for all that no workload of the mesh is.
const (
	anyOther  = "any other workload"
	anonymous = "clients without a certificate"
)

// callersOf returns everyone who could call: the identities of workloads, any
// other one, and nobody in particular.
func (c *comparison) callersOf(d door) []caller {
	const most = 200
	names := map[string][]string{}
	for _, w := range c.after.Workloads {
		if w.Ambient || w.Sidecar && !d.waypoint {
			names[w.Identity] = append(names[w.Identity], w.Name)
		}
	}
	var out []caller
	if d.secured[0] != nil {
		for _, id := range sortedKeys(names) {
			if len(out) < most {
				out = append(out, caller{id, identityName(id, names[id])})
			}
		}
		out = append(out, caller{c.after.TrustDomain + "/ns/any-other/sa/any-other", anyOther})
	}
	if d.plain[0] != nil {
		out = append(out, caller{"", anonymous})
	}
	return out
}

func identityName(id string, workloads []string) string {
	if len(workloads) == 1 {
		return workloads[0]
	}
	_, rest, _ := strings.Cut(id, "/ns/")
	namespace, account, _ := strings.Cut(rest, "/sa/")
	return "service account " + namespace + "/" + account
}

// row is a kind of request and who may make it.
type row struct {
	// requests are in words, the simplest first.
	requests      []string
	http          bool
	before, after string
	wider         bool
	ports         []uint32
	// who gains or loses, by identity.
	moved   []caller
	example match.Request
	by      caller
	verdict [2]match.Verdict
}

// matrix is what differs at a door, or at all of a workload.
type matrix struct {
	rows []row
	// cut tells that not every request was asked about.
	cut bool
}

// matrix asks both sides about every caller and every request that either
// side's policies tell apart.
func (c *comparison) matrix(d door, w *traffic.Workload) matrix {
	callers := c.callersOf(d)
	m := matrix{}
	index := map[string]int{}
	words := map[string]bool{}
	calls, all := c.calls(d, w, len(callers))
	m.cut = !all
	for _, call := range calls {
		r := c.row(d, call, callers)
		words[callWords(call, d)] = true
		for _, wider := range []bool{true, false} {
			one, ok := r.part(d, wider)
			if !ok {
				continue
			}
			key := fmt.Sprint(wider, one.before, one.after)
			if i, seen := index[key]; seen {
				if !slices.Contains(m.rows[i].requests, one.requests[0]) {
					m.rows[i].requests = append(m.rows[i].requests, one.requests[0])
				}
				continue
			}
			index[key] = len(m.rows)
			m.rows = append(m.rows, one)
		}
	}
	for i := range m.rows {
		if m.rows[i].http && len(m.rows[i].requests) == len(words) {
			m.rows[i].requests = []string{"every request"}
		}
	}
	return m
}

// anyHost is the host of requests where policies do not ask for one.
const anyHost = "any.example"

// calls are the requests to ask about for some number of callers, the simplest
// first. all is false if there are more.
func (c *comparison) calls(d door, w *traffic.Workload, callers int) (out []match.Call, all bool) {
	var stacks []*match.Stack
	for _, s := range []*match.Stack{d.secured[0], d.secured[1], d.plain[0], d.plain[1]} {
		if s != nil {
			stacks = append(stacks, s)
		}
	}
	o := match.CandidateOptions{Max: min(c.o.MaxCandidates, maxAsked/max(callers, 1)), TrustDomain: c.after.TrustDomain}
	o.Base.Request.Host = d.host
	candidates, all := match.PolicyCandidates(o, stacks...)
	calls := d.probes(candidates)
	address, err := netip.ParseAddr(w.Address)
	seen := map[string]bool{}
	for _, call := range calls {
		if call.Request.Token != nil && !call.Request.Token.Valid {
			continue // jwt tells of these
		}
		if err == nil {
			call.Peer.Destination = netip.AddrPortFrom(address, d.destination(call))
		}
		if !call.Peer.Source.IsValid() {
			call.Peer.Source = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), 40000)
		}
		key := requestKey(call.Request) + call.Peer.Source.String() + call.Peer.Destination.String() + call.Peer.ServerName
		if !seen[key] {
			seen[key] = true
			out = append(out, call)
		}
	}
	slices.SortStableFunc(out, func(a, b match.Call) int { return simpler(a.Request, b.Request) })
	return out, all
}

// probes adds variations of calls where the sides may take them for different
// ones.
func (d door) probes(calls []match.Call) []match.Call {
	b, a := cmp.Or(d.secured[0], d.plain[0]), cmp.Or(d.secured[1], d.plain[1])
	if b == nil || a == nil || sameManners(b.Options, a.Options) {
		return calls
	}
	out := calls
	for _, call := range calls {
		for _, r := range match.Probes(b.Options, a.Options, call.Request) {
			call.Request = r
			out = append(out, call)
		}
	}
	return out
}

// destination is the port a call goes to: the door's, or for all others the
// one that the policies ask for.
func (d door) destination(call match.Call) uint16 {
	if d.port != others {
		return uint16(d.port)
	}
	return max(call.Peer.Destination.Port(), 1)
}

// asked is what every caller hears about one request.
type asked struct {
	call     match.Call
	callers  []caller
	verdicts [][2]match.Verdict
}

func (c *comparison) row(d door, call match.Call, callers []caller) asked {
	r := asked{call: call, callers: callers}
	for _, who := range callers {
		peer := call.Peer
		peer.Identity, peer.TLS, peer.Internal = who.identity, who.identity != "", d.waypoint
		stacks := d.secured
		if who.identity == "" {
			stacks = d.plain
		}
		r.verdicts = append(r.verdicts, [2]match.Verdict{match.Authorize(stacks[0], call.Request, peer), match.Authorize(stacks[1], call.Request, peer)})
	}
	return r
}

func level(v match.Verdict) int {
	return map[match.Decision]int{match.Denied: 0, match.Undecided: 1, match.Allowed: 2}[v.Decision]
}

// part returns the row of those who gain, or of those who lose.
func (r asked) part(d door, wider bool) (row, bool) {
	out := row{wider: wider, requests: []string{callWords(r.call, d)}, http: d.http(), example: r.call.Request}
	var before, after []letIn
	for i, v := range r.verdicts {
		b, a := level(v[0]), level(v[1])
		if b > 0 {
			before = append(before, letIn{r.callers[i].name, asks(v[0])})
		}
		if a > 0 {
			after = append(after, letIn{r.callers[i].name, asks(v[1])})
		}
		if wider && a > b || !wider && a < b {
			if len(out.moved) == 0 {
				out.by, out.verdict = r.callers[i], v
			}
			out.moved = append(out.moved, r.callers[i])
		}
	}
	out.before, out.after = who(before, r.callers), who(after, r.callers)
	return out, len(out.moved) > 0
}

// asks says who decides where the policies do not.
func asks(v match.Verdict) string {
	if v.Decision == match.Undecided && len(v.Asks) > 0 {
		return " (if " + authorizers(v.Asks) + " agrees)"
	}
	return ""
}

// callWords tells a request as a policy sees it.
func callWords(call match.Call, d door) string {
	if !d.http() {
		return "connections"
	}
	s := call.Request.Method + " " + call.Request.Path
	if call.Request.Host != d.host {
		s += " for " + call.Request.Host
	}
	for _, h := range call.Request.Headers {
		s += fmt.Sprintf(" with %s: %s", h.Name, h.Value)
	}
	if t := call.Request.Token; t != nil {
		s += " with a token of " + t.Issuer + "/" + t.Subject
	}
	return s
}

// join adds the rows of a door. Rows that say the same of another port become
// one.
func (m *matrix) join(other matrix, port uint32) {
	m.cut = m.cut || other.cut
	for _, r := range other.rows {
		i := slices.IndexFunc(m.rows, func(s row) bool {
			return s.wider == r.wider && s.before == r.before && s.after == r.after && slices.Equal(s.requests, r.requests)
		})
		if i < 0 {
			r.ports = nil
			m.rows = append(m.rows, r)
			i = len(m.rows) - 1
		}
		m.rows[i].ports = append(m.rows[i].ports, port)
	}
}

// tellMatrix tells one effect for what widens and one for what narrows of who
// may call the subject, which is the workload of the proxy or a host that it
// serves.
func (c *comparison) tellMatrix(m matrix, p *traffic.Proxy, subject string) {
	w := p.Workload
	if m.cut {
		c.out.add(untriedCalls(subject))
	}
	for _, wider := range []bool{true, false} {
		f := found{code: mizzen.EffectAuthorizationNarrower, impact: mizzen.ImpactWarning, message: "fewer may call it"}
		if wider {
			f.code, f.impact, f.message = mizzen.EffectAuthorizationWider, mizzen.ImpactDanger, "more may call it"
		}
		var before, after []string
		for _, r := range m.rows {
			if r.wider != wider {
				continue
			}
			before = append(before, r.what()+": "+r.before)
			after = append(after, r.what()+": "+r.after)
			f.callers = append(f.callers, c.workloadsOf(r.moved)...)
			if f.witness == nil {
				f.witness = c.callWitness(r, subject)
				f.cause = c.policyCause(r, w)
			}
		}
		if len(before) == 0 {
			continue
		}
		if f.cause.ref.Kind == "" {
			f.cause, _ = c.rebound(subject + clusterDomain)
		}
		f.before, f.after = rows(before), rows(after)
		f.subjects, f.namespace, f.group = []string{subject}, w.Namespace, w.Namespace
		c.out.add(f)
	}
}

// what names the requests of a row, with the port where not all others are
// treated alike.
func (r row) what() string {
	s := list(r.requests, 2)
	if slices.Contains(r.ports, others) && (r.http || len(r.ports) == 1) {
		return s
	}
	var ports []string
	for _, p := range r.ports {
		ports = append(ports, portWords(p))
	}
	return s + " at " + list(ports, 3)
}

// rows joins the lines of a matrix, bounded.
func rows(lines []string) string {
	const most = 5
	if len(lines) > most {
		lines = append(lines[:most:most], fmt.Sprintf("and %d more", len(lines)-most))
	}
	return strings.Join(lines, "; ")
}

// letIn is a caller who passes, and on what condition.
type letIn struct{ name, condition string }

// who names a set of callers.
func who(passing []letIn, all []caller) string {
	names := make([]string, 0, len(passing))
	condition := ""
	for i, p := range passing {
		if i == 0 {
			condition = p.condition
		} else if p.condition != condition {
			condition = " (some only if an authorizer agrees)"
		}
		names = append(names, p.name)
	}
	switch {
	case len(names) == 0:
		return "nobody"
	case len(names) == len(all):
		return "everyone" + condition
	case len(names) == len(all)-1 && !slices.Contains(names, anonymous):
		return "every workload of the mesh" + condition
	}
	return list(names, 4) + condition
}

// workloadsOf returns the workloads that have the identities of callers.
func (c *comparison) workloadsOf(callers []caller) []string {
	var out []string
	for _, w := range c.after.Workloads {
		if (w.Sidecar || w.Ambient) && slices.ContainsFunc(callers, func(who caller) bool { return who.identity == w.Identity }) {
			out = append(out, w.Name)
		}
	}
	return out
}
