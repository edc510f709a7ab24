// Package trace follows one request through a mesh: from the caller's proxy, or
// a gateway, to the workloads that get it and through their own proxies. It
// says who decides what, which line of which file wrote the rule, and which
// rules were tried before.
//
// A compiled mesh and a Question come in, a mizzen.Trace goes out. What a proxy
// does with a request is decided by package match; here is what happens between
// the proxies.
package trace

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// tracer follows one request.
type tracer struct {
	mesh    *traffic.Mesh
	request *request
	answer  mizzen.Trace
	// hops become those of the answer when it is complete.
	hops []*mizzen.TraceHop
	// proxies and addresses find a workload's proxy by its name, and a workload
	// by its address.
	proxies   map[string]*traffic.Proxy
	addresses map[string]*traffic.Workload
}

// Trace says what becomes of a request. An error means that the question makes
// no sense in this mesh: a caller, host or gateway does not exist (NotFound),
// or the request is malformed (Invalid). A request that fails is an answer.
func Trace(mesh *traffic.Mesh, q Question) (*mizzen.Trace, error) {
	r, err := parse(q)
	if err != nil {
		return nil, err
	}
	t := &tracer{mesh: mesh, request: r, proxies: map[string]*traffic.Proxy{}, addresses: map[string]*traffic.Workload{}}
	for _, p := range mesh.Proxies {
		t.proxies[p.Name] = p
	}
	for _, w := range mesh.Workloads {
		if w.Address != "" {
			t.addresses[w.Address] = w
		}
	}
	t.answer.Request = mizzen.TraceRequest{
		From: cmp.Or(q.From, Outside), Method: r.Method, URL: q.URL, Headers: r.Headers, Host: r.host, Port: r.port,
	}
	if _, noAddress := netip.ParseAddr(q.From); q.From == "" || q.From == Outside || noAddress == nil {
		err = t.fromOutside()
	} else {
		err = t.fromInside()
	}
	if err != nil {
		return nil, err
	}
	t.noteRejected()
	t.conclude()
	return &t.answer, nil
}

// fromInside follows the request of a workload.
func (t *tracer) fromInside() error {
	family, err := callers(t.mesh, t.request.From)
	if err != nil {
		return err
	}
	caller := family[0]
	if len(family) > 1 {
		t.note("%s is %s; the answer is for the first", t.request.From, enumerate(family))
	}
	p := t.proxies[caller.Name]
	if p != nil && !p.Role.ForWorkload() {
		return t.at([]*traffic.Proxy{p})
	}
	t.answer.Request.Caller = caller.Name
	var view *traffic.View
	if p != nil && (caller.Sidecar || caller.Ambient) {
		view = p.View()
	}
	to, err := t.resolve(caller.Namespace, view)
	if err != nil {
		return err
	}
	t.answer.Request.Host = to.host
	if view == nil || t.leavesPast(caller, to) {
		t.direct(caller, to)
		return nil
	}
	t.outbound(p, to)
	return nil
}

func enumerate(workloads []*traffic.Workload) string {
	var names []string
	for _, w := range workloads {
		names = append(names, w.Name)
	}
	if len(names) > nearest {
		names = append(names[:nearest], fmt.Sprintf("%d more", len(workloads)-nearest))
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// note adds a sentence once.
func (t *tracer) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(t.answer.Notes, text) {
		t.answer.Notes = append(t.answer.Notes, text)
	}
}

// noteRejected says what istiod ignores: rules that a reader expects to see.
func (t *tracer) noteRejected() {
	for i, r := range t.mesh.Rejected {
		if i == nearest {
			t.note("istiod ignores %d more objects: 'mizzen lint' tells them", len(t.mesh.Rejected)-i)
			return
		}
		at := t.origin(r.Ref, r.Path).String()
		if at != "" {
			at = " (" + at + ")"
		}
		t.note("istiod ignores %s%s: %s", r.Ref, at, r.Reason)
	}
}

// end says what the requests of a leg end in. Equal ends are told once.
func (t *tracer) end(l *leg, o mizzen.TraceOutcome) {
	if l.percent <= 0 {
		return
	}
	o.Percent = l.percent
	if l.doubt != "" {
		t.note("cannot tell: %s", l.doubt)
		if o.Fate == mizzen.FateServed {
			o.Fate, o.Message = mizzen.FateUnknown, o.Message+", unless it is refused before"
		}
	}
	for i := range t.answer.Outcomes {
		if have := &t.answer.Outcomes[i]; have.Fate == o.Fate && have.Status == o.Status && have.By == o.By && have.Message == o.Message {
			have.Percent += o.Percent
			return
		}
	}
	t.answer.Outcomes = append(t.answer.Outcomes, o)
}

// conclude sorts the outcomes and sums them up.
func (t *tracer) conclude() {
	outcomes := t.answer.Outcomes
	slices.SortStableFunc(outcomes, func(a, b mizzen.TraceOutcome) int {
		return cmp.Or(cmp.Compare(b.Percent, a.Percent), cmp.Compare(a.By, b.By), cmp.Compare(a.Message, b.Message))
	})
	seen := map[mizzen.TraceFate]bool{}
	for i := range outcomes {
		outcomes[i].Percent = round(outcomes[i].Percent)
		seen[outcomes[i].Fate] = true
	}
	for _, h := range t.hops {
		h.Percent = round(h.Percent)
		t.answer.Hops = append(t.answer.Hops, *h)
	}
	switch {
	case seen[mizzen.FateUnknown], len(seen) == 0: // nothing is known of any request
		t.answer.Fate = mizzen.FateUnknown
	case seen[mizzen.FateFails] && len(seen) > 1:
		t.answer.Fate = mizzen.FatePartly
	case seen[mizzen.FateFails]:
		t.answer.Fate = mizzen.FateFails
	default:
		t.answer.Fate = mizzen.FateServed
	}
}

// round leaves two digits behind the point: shares are told, not computed with.
func round(percent float64) float64 { return float64(int64(percent*100+0.5)) / 100 }

// rule adds the place to what wrote a route, a policy or a cluster.
func (t *tracer) rule(r traffic.Rule) mizzen.TraceRule {
	return mizzen.TraceRule{Ref: r.Ref, Path: r.Path, Origin: t.origin(r.Ref, r.Path)}
}

func (t *tracer) origin(ref mizzen.Ref, path mizzen.Path) mizzen.Origin {
	origins, ok := t.mesh.Origins[ref]
	if !ok {
		return mizzen.Origin{}
	}
	if path == "" {
		return origins.Object
	}
	return origins.Of(path)
}
